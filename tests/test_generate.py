"""Decoding against slow truths: texts encoded anew at every step, searched with Python lists."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from scipy import stats
from toy_models import SPECIAL, VOCAB, toy_images, toy_model

from blip.draws import uniform
from blip.errors import InputError
from blip.generate import Decoding, captions, generate
from blip.generate.sampling import draw, forbid, penalize, truncated
from blip.tasks.captioning import EVALUATION
from blip.tokenizer import Tokenizer, Tokens

PROMPT = (SPECIAL.dec, 5, 6, 7)
IMAGES = 6
HASHES = torch.tensor([(-1) ** i * (i * 7_919 + 2**40) for i in range(IMAGES)])


@pytest.fixture(scope="module")
def model():
    """Random weights wide enough that images matter, and [SEP] likely enough that captions end."""
    model = toy_model(8, spread=0.2)
    with torch.no_grad():
        model.text.lm_head.bias[SPECIAL.sep] += 1.2
    return model


@pytest.fixture(scope="module")
def memory(model):
    with torch.no_grad():
        return model.remember(model.encode_image(toy_images(IMAGES)), "decoder")


def run(model, memory, decoding, prompt=PROMPT, hashes=HASHES, **keys):
    return generate(
        model, memory, decoding, prompt_ids=prompt, special=SPECIAL, image_hashes=hashes, **keys
    )


def ids_of(found):
    return [[caption.ids for caption in image] for image in found]


# ---- slow truths ----


def slow_logits(model, memory, image, ids):
    """Next-token logits after ids, the whole text encoded anew, float64 numbers in a list."""
    row = torch.tensor([ids])
    tokens = Tokens(row, torch.ones_like(row, dtype=torch.bool), "DEC", SPECIAL)
    with torch.no_grad():
        return model.decode(tokens, memory.rows(torch.tensor([image])))[0, -1].double().tolist()


def slow_log_softmax(logits):
    top = max(logits)
    total = math.log(sum(math.exp(x - top) for x in logits)) + top
    return [x - total for x in logits]


def slow_penalized(scores, ids, decoding):
    scores = list(scores)
    for token in set(ids):
        factor = decoding.repetition_penalty
        scores[token] = scores[token] * factor if scores[token] < 0 else scores[token] / factor
    if len(ids) < decoding.min_length:
        scores[SPECIAL.sep] = -math.inf
    return scores


def slow_pick(scores, decoding, u):
    """The most probable token, or the one at u of the truncated ones in vocabulary order."""
    if decoding.strategy == "greedy":
        return max(range(VOCAB), key=scores.__getitem__)
    weights = [math.exp(x) for x in slow_log_softmax([s / decoding.temperature for s in scores])]
    ranked = sorted(range(VOCAB), key=lambda i: -weights[i])
    if decoding.top_k:
        ranked = ranked[: decoding.top_k]
    if decoding.strategy == "nucleus":
        wanted, mass, kept = decoding.top_p * sum(weights[i] for i in ranked), 0.0, []
        for token in ranked:
            if mass < wanted:
                kept.append(token)
                mass += weights[token]
        ranked = kept
    left = u * sum(weights[i] for i in ranked)
    for token in sorted(ranked):
        left -= weights[token]
        if left < 0:
            return token
    return max(ranked)


def slow_sample(model, memory, image, decoding, candidate=0, seed=0, round=0):
    ids, logprobs = list(PROMPT), []
    while len(ids) < decoding.max_length:
        logits = slow_logits(model, memory, image, ids)
        step = len(ids) - len(PROMPT)
        u = uniform(seed, int(HASHES[image]), round, candidate, step).item()
        ids.append(slow_pick(slow_penalized(logits, ids, decoding), decoding, u))
        logprobs.append(slow_log_softmax(logits)[ids[-1]])
        if ids[-1] == SPECIAL.sep:
            break
    return tuple(ids[len(PROMPT) :]), logprobs


def slow_options(model, memory, image, decoding, running):
    """The 2K best continuations of (score, ids), best first."""
    options = []
    for score, ids in running:
        logprobs = slow_log_softmax(slow_logits(model, memory, image, ids))
        scores = slow_penalized(logprobs, ids, decoding)
        options += [(score + scores[t], [*ids, t]) for t in range(VOCAB)]
    return sorted(options, key=lambda option: -option[0])[: 2 * decoding.num_beams]


def slow_beam_of_4_15(model, memory, image, decoding):
    """Beam search as transformers 4.15 ranked and stopped: the whole text counts, without [SEP]."""
    beams, running, finished = decoding.num_beams, [(0.0, list(PROMPT))], []
    for length in range(len(PROMPT), decoding.max_length):
        options = slow_options(model, memory, image, decoding, running)
        finished += [(s / length, ids) for s, ids in options[:beams] if ids[-1] == SPECIAL.sep]
        finished = sorted(finished, key=lambda option: -option[0])[:beams]
        running = [option for option in options if option[1][-1] != SPECIAL.sep][:beams]
        if len(finished) == beams and options[0][0] / length <= finished[-1][0]:
            break
    else:
        finished += [(s / decoding.max_length, ids) for s, ids in running]
    finished.sort(key=lambda option: -option[0])
    return [tuple(ids[len(PROMPT) :]) for _, ids in finished[: decoding.candidates]]


def slow_beam(model, memory, image, decoding):
    """Beam search by lists of (score, ids): the textbook loop, stopping as transformers does."""
    beams, running, finished = decoding.num_beams, [(0.0, list(PROMPT))], []
    while True:
        options = slow_options(model, memory, image, decoding, running)
        generated = len(options[0][1]) - len(PROMPT)
        at_end = len(options[0][1]) == decoding.max_length
        ended = [at_end or ids[-1] == SPECIAL.sep for _, ids in options]
        finished += [
            (s / generated, ids)
            for (s, ids), end in list(zip(options, ended, strict=True))[:beams]
            if end
        ]
        finished = sorted(finished, key=lambda option: -option[0])[:beams]
        running = [o for o, end in zip(options, ended, strict=True) if not end][:beams]
        full = len(finished) == beams
        if at_end or (full and running[0][0] / generated <= finished[-1][0]):
            return [tuple(ids[len(PROMPT) :]) for _, ids in finished[: decoding.candidates]]


DRAWN = [
    Decoding(strategy="greedy"),
    Decoding(strategy="greedy", repetition_penalty=1.3, min_length=8, max_length=14),
    Decoding(candidates=3),
    Decoding(top_p=0.7, temperature=1.5, repetition_penalty=1.1, candidates=2),
    Decoding(top_p=0.8, top_k=6, min_length=9),
    Decoding(strategy="top_k", top_k=4, max_length=12),
    Decoding(top_p=1.0, temperature=0.5),
]


@pytest.mark.parametrize("decoding", DRAWN, ids=str)
def test_cached_sampling_equals_encoding_everything_anew(model, memory, decoding):
    found = run(model, memory, decoding, seed=3, round=2)
    for image in range(IMAGES):
        for candidate, caption in enumerate(found[image]):
            ids, logprobs = slow_sample(model, memory, image, decoding, candidate, seed=3, round=2)
            assert caption.ids == ids
            assert caption.logprobs == pytest.approx(logprobs, abs=1e-5)
            assert caption.mean_logprob == pytest.approx(sum(logprobs) / len(ids), abs=1e-5)


BEAMS = [
    Decoding(strategy="beam"),
    Decoding(strategy="beam", num_beams=5, candidates=5),
    Decoding(strategy="beam", num_beams=2, min_length=10, max_length=12, candidates=2),
    Decoding(strategy="beam", num_beams=4, repetition_penalty=1.4, candidates=3),
]


@pytest.mark.parametrize("decoding", BEAMS, ids=str)
def test_ranked_by_the_whole_text_beams_are_those_of_transformers_4_15(model, memory, decoding):
    whole = replace(decoding, rank_whole_text=True)
    found = ids_of(run(model, memory, whole))
    assert found == [slow_beam_of_4_15(model, memory, image, whole) for image in range(IMAGES)]


def test_the_whole_text_favours_shorter_captions(model, memory):
    """A prompt counts as good tokens that a short caption shares with a long one."""
    many = Decoding(strategy="beam", num_beams=5, min_length=0)
    lengths = [
        [len(ids[0]) for ids in ids_of(run(model, memory, replace(many, rank_whole_text=whole)))] for whole in (True, False)
    ]
    assert all(short <= long for short, long in zip(*lengths, strict=True)) and lengths[0] != lengths[1]


@pytest.mark.parametrize("decoding", BEAMS, ids=str)
def test_cached_beam_search_equals_encoding_everything_anew(model, memory, decoding):
    found = run(model, memory, decoding)
    for image in range(IMAGES):
        assert [c.ids for c in found[image]] == slow_beam(model, memory, image, decoding)
        for caption in found[image]:
            ids, logprobs = list(PROMPT), []
            for token in caption.ids:
                logits = slow_logits(model, memory, image, ids)
                logprobs.append(slow_log_softmax(logits)[token])
                ids.append(token)
            assert caption.logprobs == pytest.approx(logprobs, abs=1e-5)


def test_the_cases_above_tell_images_lengths_and_strategies_apart(model, memory):
    greedy = ids_of(run(model, memory, Decoding(strategy="greedy")))
    beam = ids_of(run(model, memory, Decoding(strategy="beam")))
    nucleus = ids_of(run(model, memory, Decoding()))
    for found in (greedy, beam, nucleus):
        assert len({image[0] for image in found}) >= 4
        assert len({len(image[0]) for image in found}) >= 3
    assert greedy != beam != nucleus


# ---- equalities between strategies ----


def test_limits_meet_greedy(model, memory):
    greedy = ids_of(run(model, memory, Decoding(strategy="greedy")))
    assert ids_of(run(model, memory, Decoding(strategy="beam", num_beams=1))) == greedy
    assert ids_of(run(model, memory, Decoding(top_p=1e-6))) == greedy
    assert ids_of(run(model, memory, Decoding(strategy="top_k", top_k=1))) == greedy
    assert ids_of(run(model, memory, Decoding(top_k=1))) == greedy
    assert ids_of(run(model, memory, Decoding(temperature=1e-3))) == greedy


def test_more_candidates_begin_with_the_same_ones(model, memory):
    for few, many in [
        (Decoding(candidates=2), Decoding(candidates=5)),
        (
            Decoding(strategy="beam", num_beams=4),
            Decoding(strategy="beam", num_beams=4, candidates=4),
        ),
    ]:
        some, all_ = run(model, memory, few), run(model, memory, many)
        assert str(few) == str(many)
        for image in range(IMAGES):
            assert ids_of(some)[image] == ids_of(all_)[image][: few.candidates]
            assert len(set(ids_of(all_)[image])) == many.candidates


# ---- lengths and prompts ----


def test_lengths_count_the_prompt_and_the_end(model, memory):
    for decoding in (
        Decoding(strategy="greedy", max_length=9, min_length=7),
        Decoding(strategy="beam", max_length=9, min_length=7),
        Decoding(max_length=9, min_length=7, candidates=4),
    ):
        for image in run(model, memory, decoding):
            for caption in image:
                ended = caption.ids[-1] == SPECIAL.sep
                assert SPECIAL.sep not in caption.ids[:-1]
                assert len(PROMPT) + len(caption.ids) - ended >= 7
                assert len(PROMPT) + len(caption.ids) <= 9
                assert ended or len(PROMPT) + len(caption.ids) == 9


def test_a_model_that_always_ends_says_nothing_once_it_may(memory):
    model = toy_model(0, spread=0.2)
    with torch.no_grad():
        model.text.lm_head.bias[SPECIAL.sep] = 100.0
    for strategy in ("greedy", "nucleus"):
        soon = run(model, memory, Decoding(strategy=strategy, min_length=0))
        assert ids_of(soon) == [[(SPECIAL.sep,)]] * IMAGES
        later = run(model, memory, Decoding(strategy=strategy, min_length=7))
        assert {len(c.ids) for image in later for c in image} == {4}


def test_it_stops_feeding_tokens_when_every_caption_has_ended(model, memory, monkeypatch):
    fed = []
    step = type(model.text).forward
    monkeypatch.setattr(
        type(model.text), "forward", lambda *a, **k: fed.append(a[1].shape) or step(*a, **k)
    )
    for decoding in (
        Decoding(strategy="greedy", max_length=20),
        Decoding(max_length=20, candidates=2),
    ):
        fed.clear()
        two = torch.tensor([1, 3])
        found = run(model, memory.rows(two), decoding, hashes=HASHES[two])
        longest = max(len(c.ids) for image in found for c in image)
        assert longest < 16, "this case must end early"
        rows = 2 * decoding.candidates
        assert fed == [(2, len(PROMPT))] + [(rows, 1)] * (longest - 1)


def test_prompts_are_read_and_not_returned(model, memory):
    one = run(model, memory, Decoding(strategy="greedy"), prompt=(SPECIAL.dec,))
    other = run(model, memory, Decoding(strategy="greedy"), prompt=(SPECIAL.dec, 30, 31))
    assert ids_of(one) != ids_of(other)
    assert all(c.ids[:2] != (30, 31) for image in other for c in image)


def test_masked_memory_is_not_read(model):
    with torch.no_grad():
        states = model.encode_image(toy_images(2))
        longer = torch.cat([states, torch.randn(2, 3, 24)], dim=1)
        keep = torch.arange(8).expand(2, -1) < 5
        plain, masked = model.remember(states, "decoder"), model.remember(longer, "decoder", keep)
    for decoding in (Decoding(strategy="beam"), Decoding(candidates=2)):
        assert ids_of(run(model, plain, decoding, hashes=HASHES[:2])) == ids_of(
            run(model, masked, decoding, hashes=HASHES[:2])
        )


@pytest.mark.parametrize("strategy", ["greedy", "beam", "nucleus"])
def test_bf16_says_nearly_the_same(model, memory, strategy):
    decoding = Decoding(strategy=strategy)
    exact = run(model, memory, decoding)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.remember(model.encode_image(toy_images(IMAGES)), "decoder")
        assert half.keys[0].dtype == torch.bfloat16
        rough = run(model, half, decoding)
    firsts = zip(exact, rough, strict=True)
    agreeing = [
        (a[0].logprobs[0], b[0].logprobs[0]) for a, b in firsts if a[0].ids[0] == b[0].ids[0]
    ]
    assert len(agreeing) >= IMAGES - 1
    assert all(a == pytest.approx(b, abs=0.1) for a, b in agreeing)


# ---- draws ----


def test_draws_belong_to_the_image_not_to_the_batch(model, memory):
    decoding = Decoding(candidates=2)
    whole = ids_of(run(model, memory, decoding))
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    shuffled = ids_of(run(model, memory.rows(order), decoding, hashes=HASHES[order]))
    assert shuffled == [whole[i] for i in order]
    for image in range(IMAGES):
        index = torch.tensor([image])
        alone = run(model, memory.rows(index), decoding, hashes=HASHES[index])
        assert ids_of(alone) == [whole[image]]


def test_draws_change_with_seed_round_candidate_and_image(model, memory):
    first = ids_of(run(model, memory, Decoding(candidates=2)))
    assert first == ids_of(run(model, memory, Decoding(candidates=2)))
    assert first != ids_of(run(model, memory, Decoding(candidates=2), seed=1))
    assert first != ids_of(run(model, memory, Decoding(candidates=2), round=1))
    assert first != ids_of(run(model, memory, Decoding(candidates=2), hashes=HASHES + 1))
    assert all(one != two for one, two in first)


def drawn_counts(probabilities, draws=20_000):
    """How often each token falls, over draws keyed by as many images."""
    u = uniform(7, torch.arange(draws) * 104_729, 0, 0, 0)
    tokens = draw(probabilities.expand(draws, -1), u)
    return torch.bincount(tokens, minlength=probabilities.shape[1]).double()


@pytest.mark.parametrize(
    "cut",
    [
        {"top_p": 0.9, "top_k": 0},
        {"top_p": 1.0, "top_k": 0},
        {"top_p": 1.0, "top_k": 5},
        {"top_p": 0.8, "top_k": 8},
    ],
    ids=str,
)
def test_frequencies_agree_with_the_truncated_distribution(cut):
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(1)) * 1.5
    for temperature in (1.0, 0.6):
        kept = truncated(logits, **cut, temperature=temperature)
        expected = slow_truncated(logits[0].tolist(), **cut, temperature=temperature)
        expected = torch.tensor(expected, dtype=torch.float64)
        counts = drawn_counts(kept)
        inside = expected > 0
        assert counts[~inside].sum() == 0
        share = expected[inside]
        result = stats.chisquare(counts[inside].numpy(), (share * counts.sum()).numpy())
        assert result.pvalue > 1e-3


def slow_truncated(logits, top_p, top_k, temperature):
    weights = [math.exp(x) for x in slow_log_softmax([x / temperature for x in logits])]
    ranked = sorted(range(len(logits)), key=lambda i: -weights[i])[: top_k or None]
    total, mass, kept = sum(weights[i] for i in ranked), 0.0, []
    for token in ranked:
        if mass < top_p * total:
            kept.append(token)
            mass += weights[token]
    return [weights[i] / mass if i in kept else 0.0 for i in range(len(logits))]


@pytest.mark.parametrize("spread", [0.3, 1.0, 6.0])
def test_a_nucleus_is_found_in_a_large_vocabulary_whatever_its_width(spread):
    logits = torch.randn(3, 5_000, generator=torch.Generator().manual_seed(2)) * spread
    kept = truncated(logits, top_p=0.9, top_k=0, temperature=1.0)
    for row, probabilities in zip(kept, logits.double().softmax(1), strict=True):
        ranked = probabilities.sort(descending=True).values
        width = int((ranked.cumsum(0) < 0.9).sum()) + 1
        assert int((row > 0).sum()) == width
        assert row.sum() >= 0.9 - 1e-6 > (row.sum() - row[row > 0].min()) - 2e-6


def test_truncation_keeps_equals_together():
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, -3.0]])
    assert (truncated(logits, top_p=1.0, top_k=2, temperature=1.0) > 0).tolist() == [
        [True, True, True, True, False]
    ]
    assert (truncated(logits, top_p=0.6, top_k=0, temperature=1.0) > 0).tolist() == [
        [True, True, True, True, False]
    ]


def test_a_draw_takes_the_token_whose_interval_holds_it():
    weights = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])
    for u, token in [(0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (1 - 2**-53, 4)]:
        assert draw(weights, torch.tensor([u], dtype=torch.float64)).item() == token
        assert draw(weights * 0.3, torch.tensor([u], dtype=torch.float64)).item() == token


def test_penalties_of_scores():
    scores = torch.tensor([[2.0, -2.0, 1.0, 0.0]])
    ids = torch.tensor([[0, 1, 1]])
    assert penalize(scores, ids, 2.0).tolist() == [[1.0, -4.0, 1.0, 0.0]]
    assert penalize(scores, ids, 1.0) is scores
    assert forbid(scores, 2).tolist() == [[2.0, -2.0, -math.inf, 0.0]]
    assert scores.tolist() == [[2.0, -2.0, 1.0, 0.0]]


def test_a_very_large_vocabulary_draw_is_the_same_for_one_row_and_for_many():
    logits = torch.randn(8, 30_524, generator=torch.Generator().manual_seed(3)) * 3
    u = uniform(0, torch.arange(8))
    together = draw(truncated(logits, top_p=0.9, top_k=0, temperature=1.0), u)
    alone = [
        draw(truncated(logits[i : i + 1], top_p=0.9, top_k=0, temperature=1.0), u[i : i + 1])
        for i in range(8)
    ]
    assert together.tolist() == torch.cat(alone).tolist()


# ---- the front door ----


def test_captions_have_text(model):
    tokenizer = Tokenizer(
        [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            "a",
            "picture",
            "of",
            *"bcdefghijklmnopqrstuvwxyz",
            "##s",
        ]
        + ["red", "dog", "cat", "sun", "sky"]
    )
    assert len(tokenizer) <= VOCAB
    with torch.no_grad():
        states = model.encode_image(toy_images(2))
    found = captions(
        model, states, Decoding(prompt="a picture of "), tokenizer, image_hashes=HASHES[:2]
    )
    with torch.no_grad():
        memory = model.remember(states, "decoder")
    same = generate(
        model,
        memory,
        Decoding(),
        prompt_ids=tokenizer.prompt("a picture of "),
        special=tokenizer.special,
        image_hashes=HASHES[:2],
    )
    assert ids_of(found) == ids_of(same)
    for image in found:
        for caption in image:
            assert caption.text == tokenizer.decode(caption.ids)
            assert caption.text
    assert all(c.text == "" for image in same for c in image)


def test_decoding_needs_no_torch():
    code = (
        "import sys; from blip.generate import Decoding; print(Decoding(), 'torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "nucleus(p=0.9,length=5-20,prompt='a picture of ') False"


@pytest.mark.parametrize(
    "decoding, text",
    [
        (Decoding(prompt=""), "nucleus(p=0.9,length=5-20,prompt='')"),
        (
            Decoding(top_p=0.95, top_k=40, temperature=0.7, repetition_penalty=1.1, prompt="it's"),
            'nucleus(p=0.95,k=40,t=0.7,length=5-20,penalty=1.1,prompt="it\'s")',
        ),
        (Decoding(strategy="top_k", top_k=8), "top_k(k=8,length=5-20,prompt='a picture of ')"),
        (
            Decoding(strategy="beam", num_beams=5, candidates=3, min_length=1, max_length=10),
            "beam(beams=5,length=1-10,prompt='a picture of ')",
        ),
        (EVALUATION, "beam(beams=3,rank=whole,length=5-20,prompt='a picture of ')"),
        (Decoding(rank_whole_text=True), "nucleus(p=0.9,length=5-20,prompt='a picture of ')"),
        (Decoding(strategy="greedy", top_p=0.5), "greedy(length=5-20,prompt='a picture of ')"),
    ],
)
def test_a_decoding_names_itself(decoding, text):
    assert str(decoding) == text
    assert len({decoding, decoding}) == 1


@pytest.mark.parametrize(
    "values, word",
    [
        ({"strategy": "magic"}, "greedy, beam, nucleus, top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.2}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"strategy": "top_k"}, "top_k"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 1e-39}, "temperature 1e-39 cannot be; give 1e-15 to 1e"),
        ({"temperature": 1e39}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"num_beams": 0}, "num_beams"),
        ({"max_length": 1}, "max_length"),
        ({"min_length": -1}, "min_length"),
        ({"min_length": 21}, "min_length"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"repetition_penalty": 1e-39}, "repetition_penalty"),
        ({"repetition_penalty": 1e39}, "repetition_penalty"),
        ({"candidates": 0}, "candidates"),
        ({"strategy": "greedy", "candidates": 2}, "candidates"),
        ({"strategy": "beam", "candidates": 4}, "num_beams, 3"),
    ],
    ids=str,
)
def test_impossible_decodings_are_refused(values, word):
    with pytest.raises(InputError, match=word):
        Decoding(**values)


@pytest.mark.parametrize(("temperature", "penalty"), [(1e-15, 1e-15), (1e-15, 1e15), (1e15, 1e15)])
def test_the_widest_values_draw_possible_tokens(model, memory, temperature, penalty):
    for image in run(model, memory, Decoding(temperature=temperature, repetition_penalty=penalty, max_length=7)):
        assert all(0 <= token < VOCAB for token in image[0].ids) and math.isfinite(image[0].mean_logprob)


@pytest.mark.parametrize("whole", [False, True])
def test_beams_that_no_text_can_fill_are_not_returned(model, memory, whole):
    """Behind a prompt of four tokens there is place for one more, any of the vocabulary but [SEP]."""
    short = {"strategy": "beam", "num_beams": VOCAB + 5, "max_length": 5, "min_length": 5, "rank_whole_text": whole}
    for image in ids_of(run(model, memory, Decoding(candidates=VOCAB - 1, **short))):
        assert sorted(image) == [(token,) for token in range(VOCAB) if token != SPECIAL.sep]
    with pytest.raises(InputError, match=f"fewer than {VOCAB} texts of at most 5 tokens"):
        run(model, memory, Decoding(candidates=VOCAB, **short))


def test_impossible_calls_are_refused(model, memory):
    with pytest.raises(InputError, match="prompt takes 4 of max_length 4"):
        run(model, memory, Decoding(max_length=4, min_length=0))
    with pytest.raises(InputError, match="24 positions"):
        run(model, memory, Decoding(max_length=25))
    with pytest.raises(InputError, match="6 images"):
        run(model, memory, Decoding(), hashes=None)
    with pytest.raises(InputError, match="6 images"):
        run(model, memory, Decoding(), hashes=HASHES[:2])
    with pytest.raises(InputError, match="eval"):
        run(toy_model().train(), memory, Decoding())


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999])
def test_the_nucleus_found_by_sums_is_that_of_a_sort(top_p):
    scores = torch.randn(40, 3_000, generator=torch.Generator().manual_seed(4)) * torch.linspace(0.1, 9, 40)[:, None]
    scores[3] = 0.0  # all equal
    scores[4, :20] = 5.0  # equals at the edge
    found = [truncated(scores, top_p=top_p, top_k=0, temperature=1.0, by_sums=by_sums) for by_sums in (False, True)]
    kept = [(one > 0).sum(dim=1) for one in found]
    apart = (kept[0] != kept[1]).sum()
    assert apart <= 1 and (kept[0] - kept[1]).abs().max() <= 1, "where a sum lies at the edge, rounding decides"
    assert kept[1].min() >= 1
    if top_p < 0.9:
        assert torch.equal(*found)


def test_only_given_values_that_a_strategy_does_not_read_are_refused():
    for decoding in (*DRAWN, *BEAMS, Decoding(strategy="greedy"), Decoding(strategy="beam", top_p=0.9, num_beams=7)):
        decoding.refuse_unread()
    whole = Decoding(strategy="beam", rank_whole_text=True)
    replace(whole, strategy="nucleus").refuse_unread(whole)  # as by a command whose own default that is
    with pytest.raises(InputError, match="rank_whole_text True cannot be; give strategy beam, for nucleus does not read it"):
        replace(whole, strategy="nucleus").refuse_unread()
