"""The image encoder and MED: shapes, ownership, masks, and which weights each reading touches."""

import copy
import math

import pytest
import torch
from toy_models import SPECIAL, VOCAB, toy_config, toy_images, toy_model, toy_tokens

from blip.config import (
    SHARE_ALL,
    SHARE_ALL_BUT_CA,
    SHARE_ALL_BUT_SA,
    SHARE_NONE,
    SHARING,
    SIZE_NAMES,
    named,
)
from blip.errors import InputError
from blip.layers import PerRole, start_std
from blip.memory import Cache
from blip.model import BLIP, count_parameters, narrowed
from blip.precision import precision
from blip.tasks.video import clip_features
from blip.vision import ImageEncoder, resize_positions

ROWS = [pytest.param(shared, id=name) for name, shared in SHARING.items()]


# ---- size and ownership ----


@pytest.mark.parametrize(
    "size, shared, expected",
    [
        ("base", SHARE_ALL, 224_075_070),
        ("base", SHARE_ALL_BUT_CA, 252_441_918),
        ("base", SHARE_ALL_BUT_SA, 252_441_918),
        ("base", SHARE_NONE, 361_333_566),
        ("large", SHARE_ALL_BUT_SA, 474_729_022),
    ],
)
def test_parameters_are_those_of_table_3(size, shared, expected):
    assert count_parameters(named(size, shared=shared)) == expected


@pytest.mark.parametrize("shared", ROWS)
def test_the_state_dict_holds_each_tensor_once(shared):
    model = toy_model(config=toy_config(shared=shared))
    state = model.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)
    assert sum(t.numel() for t in state.values()) == sum(p.numel() for p in model.parameters())
    assert set(state) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("shared", ROWS)
def test_a_shared_part_is_one_module_for_both_roles(shared):
    block = toy_model(config=toy_config(shared=shared)).text.blocks[0]
    for name in ("self_attention", "cross_attention", "mlp"):
        part = getattr(block, name)
        assert (part["encoder"] is part["decoder"]) == (name in shared)
        assert part["encoder"].norm is not part["decoder"].norm or name in shared
    embeddings = toy_model(config=toy_config(shared=shared)).text.embeddings
    assert (embeddings["encoder"] is embeddings["decoder"]) == ("embeddings" in shared)


@pytest.mark.parametrize("shared", ROWS)
def test_a_deep_copy_shares_within_itself_and_not_with_its_origin(shared):
    model = toy_model(config=toy_config(shared=shared), spread=0.2)
    twin = copy.deepcopy(model)
    assert list(twin.state_dict()) == list(model.state_dict())
    one, other = model.text.blocks[1].mlp, twin.text.blocks[1].mlp
    assert (other["encoder"] is other["decoder"]) == ("mlp" in shared)
    assert one["encoder"] is not other["encoder"]
    with torch.no_grad():
        before = model.encode_text(toy_tokens([5, 7]))
        twin.text.blocks[1].mlp["encoder"].mlp.up.weight.add_(1.0)
        assert torch.equal(model.encode_text(toy_tokens([5, 7])), before)
        assert not torch.equal(twin.encode_text(toy_tokens([5, 7])), before)


def test_parts_that_no_reading_needs_do_not_exist():
    config = toy_config()
    whole = set(BLIP(config).state_dict())
    contrastive = set(BLIP(config.reading("encode")).state_dict())
    matcher = set(BLIP(config.reading("encode", "fuse")).state_dict())
    captioner = set(BLIP(config.reading("decode")).state_dict())
    assert contrastive < matcher < whole
    assert not any("cross_attention" in n or "lm_head" in n or "itm_head" in n for n in contrastive)
    assert any("itm_head" in n for n in matcher) and not any("decoder" in n for n in matcher)
    assert not any(".encoder." in n for n in captioner if n.startswith("text."))
    assert not {"itm_head.weight", "text_projection.weight", "temperature"} & captioner


@pytest.mark.parametrize("shared", ROWS)
def test_a_narrowed_model_reads_as_the_whole_one(shared):
    model = toy_model(config=toy_config(shared=shared), spread=0.2)
    images, tokens = toy_images(2), toy_tokens([6, 8])
    contrastive, captioner = narrowed(model, "encode").eval(), narrowed(model, "decode").eval()
    matcher = narrowed(model, "encode", "fuse").eval()

    def heard(reader):
        return reader.text_features(reader.encode_text(tokens))

    def matched(reader):
        memory = reader.remember(reader.encode_image(images), "encoder")
        return reader.match_logits(tokens.led_by("ENC"), memory)

    def told(reader):
        memory = reader.remember(reader.encode_image(images), "decoder")
        return reader.decode(tokens.led_by("DEC"), memory)

    with torch.no_grad():
        assert torch.equal(heard(contrastive), heard(model))
        assert torch.equal(heard(matcher), heard(model))
        assert torch.equal(matched(matcher), matched(model))
        assert torch.equal(told(captioner), told(model))
        captioner.text.lm_head.bias.add_(1.0)
        assert not torch.equal(told(captioner), told(model)), "a narrowed model is a copy"


def test_a_model_refuses_a_role_it_does_not_have():
    captioner = BLIP(toy_config().reading("decode")).eval()
    with pytest.raises(InputError, match="encoder"):
        captioner.encode_text(toy_tokens([5, 7]))
    with pytest.raises(InputError, match="decoder"):
        BLIP(toy_config().reading("encode", "fuse")).remember(torch.zeros(1, 5, 24), "decoder")


def test_a_part_per_role():
    part = PerRole(lambda: torch.nn.Linear(1, 1), ("encoder", "decoder"), shared=False)
    assert part["encoder"] is not part["decoder"] and len(part) == 2
    part = PerRole(lambda: torch.nn.Linear(1, 1), ("encoder", "decoder"), shared=True)
    assert part["encoder"] is part["decoder"] and list(part.state_dict()) == [
        "encoder.weight",
        "encoder.bias",
    ]


# ---- shapes ----


def test_shapes_and_unit_features():
    model = toy_model()
    with torch.no_grad():
        states = model.encode_image(toy_images(3))
        texts = model.encode_text(toy_tokens([4, 9, 6]))
        memory = model.remember(states, "encoder")
        image, text = model.image_features(states), model.text_features(texts)
    assert states.shape == (3, 5, 24) and texts.shape == (3, 9, 32)
    assert image.shape == text.shape == (3, 16)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))
    assert len(memory) == 3 and len(memory.keys) == 2
    assert memory.keys[0].shape == memory.values[1].shape == (3, 2, 5, 16)
    assert model.fuse(toy_tokens([4, 9, 6], "ENC"), memory).shape == (3, 9, 32)
    assert model.match_logits(toy_tokens([4, 9, 6], "ENC"), memory).shape == (3, 2)
    assert model.decode(toy_tokens([4, 9, 6], "DEC"), memory).shape == (3, 9, VOCAB)


@pytest.mark.parametrize("size", SIZE_NAMES)
def test_every_named_size_is_whole(size):
    config = named(size)
    with torch.device("meta"):
        model = BLIP(config)
        states = model.encode_image(
            torch.zeros(2, 3, config.vision.image_size, config.vision.image_size)
        )
    assert states.shape == (2, config.vision.tokens, config.vision.width)
    assert config.text.memory_width == config.vision.width


def test_patches_stand_in_row_order_behind_cls():
    encoder = ImageEncoder(toy_config(depth=0).vision)
    with torch.no_grad():
        encoder.patches.weight.fill_(1.0)
        encoder.positions.zero_()
        encoder.norm = torch.nn.Identity()
        image = torch.zeros(1, 3, 16, 16)
        image[0, :, 0, 9] = 1.0  # upper right patch
        image[0, :, 12, 3] = 2.0  # lower left patch
        sums = encoder(image)[0, 1:, 0] - encoder.patches.bias[0]
    torch.testing.assert_close(sums, torch.tensor([0.0, 3.0, 6.0, 0.0]))


def test_weights_start_small_and_biases_at_zero():
    model = toy_model(config=toy_config(width=48))
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all()
        elif name.endswith("bias") and "patches" not in name:
            assert (parameter == 0).all(), name
        elif name == "temperature":
            assert parameter.item() == pytest.approx(0.07)
        elif parameter.dim() > 1 and "patches" not in name and parameter.numel() > 200:
            width = 48 if "image_" in name else 32
            assert parameter.std().item() == pytest.approx(0.02 * (768 / width) ** 0.5, rel=0.15), name


@pytest.mark.parametrize(("width", "std"), [(64, 0.0693), (192, 0.04), (768, 0.02), (1024, 0.02)])
def test_narrow_models_start_wider_and_the_published_sizes_as_published(width, std):
    assert start_std(width) == pytest.approx(std, rel=1e-3)


def test_dropout_and_stochastic_depth_act_in_training_only():
    config = toy_config(drop_path=0.5)
    model = toy_model(spread=0.2, config=config)
    images, tokens = toy_images(4), toy_tokens([6, 8, 7, 8])
    with torch.no_grad():
        assert torch.equal(model.encode_image(images), model.encode_image(images))
        assert torch.equal(model.encode_text(tokens), model.encode_text(tokens))
        still = model.encode_image(images)
        model.train()
        assert not torch.equal(model.encode_text(tokens), model.encode_text(tokens))
        trained = torch.stack([model.encode_image(images) for _ in range(40)])
    # The first block never drops (rate 0), the last drops whole samples at the configured rate.
    rates = [block.drop_path.rate for block in model.image_encoder.blocks]
    assert rates == [0.0, 0.5]
    assert not torch.allclose(trained[0], still)


# ---- what each reading sees ----


def test_the_decoder_sees_nothing_behind_a_token_bit_for_bit():
    model = toy_model(spread=0.2)
    tokens = toy_tokens([9, 9], "DEC")
    changed = tokens.ids.clone()
    changed[:, 5] = (changed[:, 5] + 7) % VOCAB
    with torch.no_grad():
        memory = model.remember(model.encode_image(toy_images(2)), "decoder")
        before = model.text(tokens.ids, None, "decoder", memory=memory)
        after = model.text(changed, None, "decoder", memory=memory)
        assert torch.equal(before[:, :5], after[:, :5])
        assert not torch.isclose(before[:, 5:], after[:, 5:]).all(-1).any()
        read = model.text(tokens.ids, tokens.keep, "encoder")
        reread = model.text(changed, tokens.keep, "encoder")
        assert not torch.isclose(read, reread).all(-1).any()


@pytest.mark.parametrize("shared", ROWS)
def test_readings_give_no_gradient_to_what_they_do_not_use(shared):
    def touched(reading):
        model = toy_model(config=toy_config(shared=shared))
        reading(model).square().sum().backward()
        return {name for name, p in model.named_parameters() if p.grad is not None}

    def memory(model, role):
        return model.remember(model.encode_image(toy_images(2)), role)

    encode = touched(lambda m: m.encode_text(toy_tokens([5, 6])))
    fuse = touched(lambda m: m.match_logits(toy_tokens([5, 6], "ENC"), memory(m, "encoder")))
    decode = touched(lambda m: m.decode(toy_tokens([5, 6], "DEC"), memory(m, "decoder")))
    assert not any("cross_attention" in n or "lm_head" in n or "image" in n for n in encode)
    assert any("cross_attention" in n for n in fuse) and any("cross_attention" in n for n in decode)
    assert not any("lm_head" in n or "projection" in n for n in fuse)
    assert not any("itm_head" in n or "projection" in n for n in decode)
    for part in ("embeddings", "self_attention", "cross_attention", "mlp"):
        names = {n for n in fuse & decode if part in n and n.startswith("text.")}
        assert bool(names) == (part in shared), part
    if shared != SHARE_ALL:
        assert not any(".decoder." in n for n in encode | fuse)


def test_padding_changes_nothing():
    model = toy_model(spread=0.2)
    long, short = toy_tokens([9, 5]), toy_tokens([9, 5]).rows(torch.tensor([1]))
    short = type(short)(short.ids[:, :5], short.keep[:, :5], short.lead, short.special)
    with torch.no_grad():
        memory = model.remember(model.encode_image(toy_images(2)), "encoder")
        second = memory.rows(torch.tensor([1]))
        for whole, cut in [
            (model.encode_text(long), model.encode_text(short)),
            (model.fuse(long.led_by("ENC"), memory), model.fuse(short.led_by("ENC"), second)),
            (model.decode(long.led_by("DEC"), memory), model.decode(short.led_by("DEC"), second)),
        ]:
            torch.testing.assert_close(whole[1:, :5], cut, atol=1e-5, rtol=1e-5)


def test_masked_memory_changes_nothing():
    model = toy_model(spread=0.2)
    states = torch.randn(2, 5, 24)
    longer = torch.cat([states, 9 * torch.randn(2, 2, 24)], dim=1)
    keep = torch.arange(7).expand(2, -1) < 5
    tokens = toy_tokens([5, 6, 7, 8], "ENC")
    with torch.no_grad():
        plain = model.fuse(tokens, model.remember(states, "encoder"))
        masked = model.fuse(tokens, model.remember(longer, "encoder", keep))
        seen = model.fuse(tokens, model.remember(longer, "encoder"))
    torch.testing.assert_close(masked, plain, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(seen, plain, atol=1e-2)


@pytest.mark.parametrize("masked", [False, True])
def test_several_texts_of_an_image_equal_a_repeated_memory(masked):
    model = toy_model(spread=0.2)
    tokens = toy_tokens([5, 9, 7, 6, 8, 9], "ENC")
    keep = torch.arange(5).expand(2, -1) < torch.tensor([[5], [3]]) if masked else None
    with torch.no_grad():
        memory = model.remember(model.encode_image(toy_images(2)), "encoder", keep)
        folded = model.fuse(tokens, memory)
        repeated = model.fuse(tokens, memory.rows(torch.tensor([0, 0, 0, 1, 1, 1])))
        wrong = model.fuse(tokens, memory.rows(torch.tensor([0, 1, 0, 1, 0, 1])))
    torch.testing.assert_close(folded, repeated, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(folded, wrong, atol=1e-2)


def test_memory_rows_gather_images():
    model = toy_model(spread=0.2)
    states = torch.randn(3, 5, 24)
    keep = torch.rand(3, 5) < 0.7
    index = torch.tensor([2, 0, 2])
    with torch.no_grad():
        picked = model.remember(states, "decoder", keep).rows(index)
        direct = model.remember(states[index], "decoder", keep[index])
    assert len(picked) == 3 and torch.equal(picked.keep, direct.keep)
    for one, other in zip(picked.keys + picked.values, direct.keys + direct.values, strict=True):
        torch.testing.assert_close(one, other)
    assert model.remember(states, "decoder").rows(index).keep is None
    packed = model.remember(states, "decoder", keep).packed()
    assert packed.keep is keep and all(t.is_contiguous() for t in packed.keys + packed.values)
    assert torch.equal(packed.values[1][index], direct.values[1])


@pytest.mark.parametrize("shared", ROWS)
def test_the_decoder_takes_the_encoders_memory_where_cross_attention_is_shared(shared):
    model = toy_model(spread=0.2, config=toy_config(shared=shared))
    states = torch.randn(2, 5, 24)
    with torch.no_grad():
        memory = model.remember(states, "encoder")
        taken = model.remember_for_decoder(states, memory)
        own = model.remember(states, "decoder")
    assert (taken is memory) == ("cross_attention" in shared)
    torch.testing.assert_close(taken.keys[1], own.keys[1])
    torch.testing.assert_close(taken.values[1], own.values[1])


def test_tokens_fed_in_pieces_equal_tokens_fed_at_once():
    model = toy_model(spread=0.2)
    ids = toy_tokens([9, 9, 9, 9], "DEC").ids
    with torch.no_grad():
        memory = model.remember(model.encode_image(toy_images(2)), "decoder")
        whole = model.text(ids, None, "decoder", memory=memory)
        cache = Cache(model.config.text, 4, 12, like=memory.keys[0])
        pieces = [
            model.text(part, None, "decoder", memory=memory, cache=cache)
            for part in ids.split([3, 1, 4, 1], dim=1)
        ]
    assert cache.length == 9
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_a_cache_reorders_and_repeats_what_is_filled():
    cache = Cache(toy_config().text, 3, 4, like=torch.zeros(1))
    new = torch.randn(3, 2, 2, 16)
    for layer in range(2):
        cache.extend(layer, new + layer, new - layer)
    cache.length = 2
    wide = cache.repeated(2, 6)
    assert wide.length == 2 and wide.keys[0].shape == (6, 2, 6, 16)
    index = torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.equal(wide.keys[1][:, :, :2], (new + 1)[index])
    assert torch.equal(wide.values[1][:, :, :2], (new - 1)[index])
    cache.reorder(torch.tensor([2, 0, 0]))
    assert torch.equal(cache.keys[0][:, :, :2], new[[2, 0, 0]])
    assert torch.equal(cache.values[1][:, :, :2], (new - 1)[[2, 0, 0]])
    assert (cache.keys[0][:, :, 2:] == 0).all()
    assert torch.equal(wide.keys[1][:, :, :2], (new + 1)[index]), "the wide cache is its own"


# ---- refusals ----


def test_a_text_with_the_wrong_first_token_is_refused():
    model = toy_model()
    memory = model.remember(torch.zeros(1, 5, 24), "encoder")
    with pytest.raises(InputError, match=r"text encoder reads texts that begin with \[CLS\]"):
        model.encode_text(toy_tokens([5], "ENC"))
    with pytest.raises(InputError, match=r"\[ENC\], these begin with \[CLS\]"):
        model.match_logits(toy_tokens([5], "CLS"), memory)
    with pytest.raises(InputError, match=r"\[ENC\], these begin with \[DEC\]"):
        model.fuse(toy_tokens([5], "DEC"), memory)
    with pytest.raises(InputError, match=r"led_by\('DEC'\)"):
        model.decode(toy_tokens([5], "ENC"), memory)


def test_texts_that_do_not_fit_are_refused():
    model = toy_model()
    memory = model.remember(torch.zeros(2, 5, 24), "encoder")
    with pytest.raises(InputError, match="3 texts cannot be grouped over 2 images"):
        model.fuse(toy_tokens([5, 5, 5], "ENC"), memory)
    with pytest.raises(InputError, match="25 tokens is longer than this model's 24 positions"):
        model.encode_text(toy_tokens([25]))


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match="16"):
        toy_model().encode_image(toy_images(2, side=24))


# ---- positions, temperature, recomputation ----


def slow_bicubic(grid, side):
    """Cubic convolution (a = -0.75) at pixel centres: the textbook sum over 16 neighbours."""

    def weight(x, a=-0.75):
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    old = len(grid)
    out = torch.zeros(side, side, grid.shape[-1], dtype=torch.float64)
    for row in range(side):
        for column in range(side):
            y, x = ((i + 0.5) * old / side - 0.5 for i in (row, column))
            for j in range(math.floor(y) - 1, math.floor(y) + 3):
                for i in range(math.floor(x) - 1, math.floor(x) + 3):
                    cell = grid[min(max(j, 0), old - 1), min(max(i, 0), old - 1)].double()
                    out[row, column] += weight(y - j) * weight(x - i) * cell
    return out


@pytest.mark.parametrize("old, new", [(2, 3), (4, 6), (5, 3), (3, 3)])
def test_positions_are_resized_bicubically(old, new):
    positions = torch.randn(1, old * old + 1, 3)
    resized = resize_positions(positions, new * new + 1)
    assert resized.shape == (1, new * new + 1, 3)
    assert torch.equal(resized[:, 0], positions[:, 0])
    expected = slow_bicubic(positions[0, 1:].view(old, old, 3), new).flatten(0, 1)
    torch.testing.assert_close(resized[0, 1:].double(), expected, atol=1e-5, rtol=1e-5)
    assert (resized is positions) == (old == new)


def read_by_heads(model):
    """ITM logits and the features of images, texts and clips, of many texts that are much alike."""
    images, tokens = toy_images(2), toy_tokens([6] * 40)
    states = model.encode_image(images)
    memory = model.remember(states, "encoder")
    return {
        "itm": model.match_logits(tokens.led_by("ENC"), memory),
        "image": model.image_features(states),
        "text": model.text_features(model.encode_text(tokens)),
        "clip": clip_features(model, states[None]),
    }


def test_bf16_rounds_no_output_of_the_small_heads():
    model = toy_model(2)
    exact = read_by_heads(model)
    with precision(torch.device("cpu"), "bf16"):
        found = read_by_heads(model)
    for name, values in found.items():
        assert values.dtype == torch.float32, name
        assert not torch.equal(values, values.bfloat16().float()), name
        assert not torch.equal(values, exact[name]), "the towers below compute in bf16"
        torch.testing.assert_close(values, exact[name], atol=0.05, rtol=0.05)
    alike = found["itm"][:, 1]
    assert len(alike.unique()) > len(alike.bfloat16().unique()), "rounded, texts would tie"
    sum(values.sum() for values in found.values()).backward()
    assert all(head.weight.grad.isfinite().all() for head in (model.itm_head, model.image_projection, model.text_projection))


def test_in_float32_the_heads_are_plain_maps_bit_for_bit():
    model, tokens = toy_model(2), toy_tokens([4, 6])
    states = model.encode_image(toy_images(2))
    memory = model.remember(states, "encoder")
    enc = tokens.led_by("ENC")
    assert torch.equal(model.match_logits(enc, memory), model.itm_head(model.fuse(enc, memory)[:, 0]))
    plain = torch.nn.functional.normalize(model.image_projection(states[:, 0]), dim=-1)
    assert torch.equal(model.image_features(states), plain)


def test_the_temperature_is_clamped():
    model = toy_model()
    for value, kept in [(0.9, 0.5), (1e-5, 0.001), (0.07, 0.07)]:
        with torch.no_grad():
            model.temperature.fill_(value)
        model.clamp_temperature()
        assert model.temperature.item() == pytest.approx(kept)


@pytest.mark.parametrize("last", [1, 2])
def test_gradient_checkpointing_changes_no_gradient(last):
    gradients = []
    for recomputed in (0, last):
        encoder = ImageEncoder(toy_config(drop_path=0.4).vision).train()
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.normal_(0, 0.2)
        encoder.checkpoint_gradients(recomputed)
        torch.manual_seed(4)
        encoder(toy_images(3)).square().sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_special_ids_fit_the_toy_vocabulary():
    assert max(vars(SPECIAL).values()) < VOCAB
