"""`lab bench capfilt`: both sides compute the same, and what is told of them is what they did. No times."""

import json
from contextlib import contextmanager

import pytest
import torch
from data_files import encoded, picture, write_tar
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blip.config import named
from blip.data.readers import read_pairs
from blip.errors import InputError
from blip.model import BLIP
from blip.tokenizer import Tokenizer
from lab.bench import capfilt as bench
from lab.bench import capfilt_flops, clock
from lab.bench.capfilt_setting import ENCODER, PARTS
from lab.bench.capfilt_weights import BERT_WORDS, vocabulary

IMAGES = 3
CAPTIONS = ["Two dogs on a beach", "a red car", "Green trees in the rain, seen from a hill"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three random pictures with captions, one without, and one that cannot be opened."""
    members = {"empty.jpg": encoded(picture(9)), "empty.txt": b"", "broken.jpg": b"no", "broken.txt": b"a cup"}
    for number, caption in enumerate(CAPTIONS):
        members |= {f"{number}.jpg": encoded(picture(number, (40, 32))), f"{number}.txt": caption.encode()}
    return str(write_tar(tmp_path_factory.mktemp("photos") / "web.tar", members))


def options(data, folder, **given):
    small = {"size": "nano", "image_size": 32, "images": IMAGES, "batch": 2, "rounds": 2, "device": "cpu"}
    return bench.Options(data=data, out=folder / "record.json", **(small | given))


@contextmanager
def in_this_process(kind, setting):
    side = kind(setting)
    yield lambda name, *values: getattr(side, name)(*values)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    """The exit status and the record of a small run."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "_apart", in_this_process)
        status = bench.main(options(data, folder))
    return status, json.loads((folder / "record.json").read_text())["result"]


def test_both_sides_say_and_score_the_same(found):
    agreement = found[1]["agreement"]
    assert agreement["greedy_captions"] == agreement["greedy_captions_the_same"] == IMAGES
    assert agreement["greedy_captions_distinct"] > 1  # pictures differ to these weights
    assert agreement["pairs_scored"] == 2 * IMAGES
    assert agreement["largest_difference"] < 1e-5
    assert agreement["match_probability"]["min"] < agreement["match_probability"]["max"]
    assert agreement["agree"] is True


def test_both_sides_did_the_same_work(found):
    result = found[1]
    for name in ("ours", "peer"):
        side = result[name]
        assert side["captions"] == [4 * IMAGES] * 2
        assert side["texts_scored"] == [5 * IMAGES] * 2
        assert side["tokens_generated"] == [4 * IMAGES * 16] * 2  # 20 less [DEC] and the prompt
        assert set(side["parts"]) == {*PARTS, "everything else"} and all(side["parts"][part] > 0 for part in PARTS)
        assert len(side["rounds"]) == 2 and sum(side["parts"].values()) <= 2 * side["seconds"]["max"]
        assert side["peak_mib"] > 0
    assert sum(result["ours"]["tokens_scored"]) == pytest.approx(sum(result["peer"]["tokens_scored"]), rel=0.2)


def test_the_record_compares_medians_and_names_its_target(found):
    status, result = found
    ratio = result["peer"]["seconds"]["median"] / result["ours"]["seconds"]["median"]
    assert result["ratio"] == pytest.approx(ratio, abs=1e-3)
    assert result["spread"]["min"] <= result["spread"]["median"] <= result["spread"]["max"]
    assert (result["device"], result["precision"], result["target"]) == ("cpu", "float32", 2.0)
    assert result["reached"] is (ratio >= 2)
    assert status == (0 if result["reached"] else 1)
    assert 1 < result["limit"]["ratio"] < 6


def test_bf16_runs_on_both_sides(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "_apart", in_this_process)
    bench.main(options(data, tmp_path, precision="bf16", rounds=1, images=2))
    result = json.loads((tmp_path / "record.json").read_text())["result"]
    assert result["precision"] == "bf16"
    assert 0 < result["agreement"]["largest_difference"] <= result["agreement"]["tolerance"]
    assert "match probabilities differ by at most" in capsys.readouterr().out


def test_pictures_without_use_are_passed_over(data):
    assert [pair.caption for pair in bench.chosen(data, 2)] == CAPTIONS[:2]
    assert len(read_pairs(data).images) == 5
    with pytest.raises(InputError, match="holds 3 usable pictures with captions, not 4; give fewer --images"):
        bench.chosen(data, 4)


def test_the_vocabulary_has_bert_s_places_and_the_captions_words():
    words = vocabulary(CAPTIONS)
    assert len(words) == len(set(words)) == BERT_WORDS
    places = {"[PAD]": 0, "[unused0]": 1, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "[unused993]": 998}
    assert {word: words.index(word) for word in places} == places
    tokenizer = Tokenizer(words)
    assert (tokenizer.special.dec, tokenizer.special.enc) == (30522, 30523)
    assert tokenizer(["two dogs on a beach", "xq7"]).keep.sum(dim=1).tolist() == [7, 5]  # words whole, others spelled
    assert len(tokenizer.prompt("a picture of ")) == 4


def counted(call):
    """Floating-point operations as torch counts them, attention as plain products."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return counter.get_total_flops()


def test_operations_are_those_that_torch_counts():
    config = named("nano", vocab_size=100)
    model = BLIP(config).eval()
    image, memory = config.vision.tokens, None
    assert counted(lambda: model.encode_image(torch.zeros(3, 3, 32, 32))) == 3 * capfilt_flops.image_flops(config.vision)
    states = torch.zeros(2, image, 64)
    assert counted(lambda: model.remember(states, "decoder")) == 2 * capfilt_flops.memory_flops(config)
    memory = model.remember(states, "encoder")
    ids, keep = torch.zeros(4, 9, dtype=torch.int64), torch.ones(4, 9, dtype=torch.bool)
    alone = counted(lambda: model.text(ids, keep, "encoder"))
    assert alone == 4 * capfilt_flops.text_flops(config.text, 9, 9, 0)
    grounded = counted(lambda: model.text(ids, keep, "encoder", memory=memory))
    assert grounded == 4 * capfilt_flops.text_flops(config.text, 9, 9, image)


def test_a_caption_costs_its_prompt_and_one_token_after_the_other():
    config = named("nano", vocab_size=100)
    shapes = capfilt_flops.Shapes(candidates=2, texts=3, prompt=3, length=6, scored=8)
    head = 2 * (64 * 64 + 64 * 100)
    image = config.vision.tokens
    steps = [capfilt_flops.text_flops(config.text, 1, keys, image) + head for keys in (4, 5)]  # the sixth is not fed
    prompt = capfilt_flops.text_flops(config.text, 3, 3, image) + head
    assert capfilt_flops.decoding_flops(config, shapes, prompts=2) == 2 * prompt + 2 * sum(steps)
    ours, peer = capfilt_flops.ours(config, shapes), capfilt_flops.straightforward(config, shapes)
    assert peer[ENCODER] == 2 * ours[ENCODER]  # 1 + 3 readings of an image to 2


def test_a_part_within_a_part_counts_for_itself(monkeypatch):
    times = iter([0, 1, 4, 10, 20, 25])
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(times))
    used = clock.Clock("cpu")
    layer = torch.nn.Linear(1, 1)
    with used.following("inner", layer):
        with used.part("outer"):  # 0 to 10, of which 1 to 4 is inner
            layer(torch.zeros(1))
        layer(torch.zeros(1))  # 20 to 25, within nothing
    assert used.seconds == {"outer": 7, "inner": 8}
    layer(torch.zeros(1))  # no longer followed: the times are used up


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"images": 0}, "--images 0 cannot be; give 1 or more"),
        ({"batch": 0}, "--batch 0 cannot be; give 1 or more"),
        ({"rounds": -1}, "--rounds -1 cannot be; give 1 or more"),
        ({"precision": "fp8"}, "no precision 'fp8'; choose one of float32, bf16"),
        ({"device": "tpu"}, "no device 'tpu'; choose cpu or cuda"),
        ({"size": "giant"}, "no model size 'giant'"),
        ({"images": 4}, "give fewer --images"),
    ],
)
def test_bad_options_are_one_sentence(given, words, data, tmp_path):
    with pytest.raises(InputError, match=words):
        bench.main(options(data, tmp_path, **given))
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_of_another_size_is_refused(data, tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ndog")
    with pytest.raises(InputError, match=r"vocabulary has 7 words with .* needs 30,524; .* --vocab"):
        bench.main(options(data, tmp_path, vocab=tmp_path / "vocab.txt"))
