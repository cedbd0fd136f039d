"""Configurations: named sizes, round trip through JSON, and what is refused; all without torch."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from toy_models import toy_config

from blip.config import (
    PARTS,
    READINGS,
    SHARE_ALL_BUT_SA,
    SHARING,
    SIZE_NAMES,
    blip_config_from_json,
    named,
    to_json,
)
from blip.errors import InputError


@pytest.mark.parametrize(
    "size, vision, text",
    [
        ("base", (224, 16, 768, 12, 12, 0.0), (768, 12, 12, 3072, 768)),
        ("large", (224, 16, 1024, 24, 16, 0.1), (768, 12, 12, 3072, 1024)),
    ],
)
def test_published_sizes(size, vision, text):
    config = named(size)
    v, t = config.vision, config.text
    assert (v.image_size, v.patch_size, v.width, v.depth, v.heads, v.drop_path) == vision
    assert (t.width, t.depth, t.heads, t.mlp_width, t.memory_width) == text
    assert (t.vocab_size, t.max_positions, t.dropout, t.eps) == (30_524, 512, 0.1, 1e-12)
    assert (v.mlp_ratio, v.eps, v.tokens, config.embed_dim) == (4, 1e-6, 197, 256)
    assert t.shared == SHARE_ALL_BUT_SA and t.readings == READINGS


@pytest.mark.parametrize("pixels, tokens", [(224, 197), (384, 577), (480, 901)])
def test_tokens_of_an_image(pixels, tokens):
    assert named("base", image_size=pixels).vision.tokens == tokens


@pytest.mark.parametrize("size", SIZE_NAMES)
@pytest.mark.parametrize("sharing", SHARING)
def test_a_configuration_comes_back_from_json(size, sharing):
    config = named(size, image_size=None, vocab_size=99, shared=SHARING[sharing])
    text = json.dumps(to_json(config))
    assert blip_config_from_json(json.loads(text)) == config
    captioner = config.reading("decode")
    assert blip_config_from_json(json.loads(json.dumps(to_json(captioner)))) == captioner


def test_sharing_rows_are_subsets_of_the_parts():
    assert SHARING["all"] == PARTS and SHARING["none"] == frozenset()
    assert PARTS - SHARING["all-but-sa"] == {"self_attention"}
    assert PARTS - SHARING["all-but-ca"] == {"cross_attention"}


def test_roles_follow_from_readings():
    config = toy_config()
    assert config.text.roles == config.text.grounded_roles == ("encoder", "decoder")
    for readings, roles, grounded in [
        (("encode",), ("encoder",), ()),
        (("encode", "fuse"), ("encoder",), ("encoder",)),
        (("decode",), ("decoder",), ("decoder",)),
        (("encode", "decode"), ("encoder", "decoder"), ("decoder",)),
    ]:
        text = config.reading(*readings).text
        assert (text.roles, text.grounded_roles) == (roles, grounded)


def test_configurations_are_frozen_and_hashable():
    config = toy_config()
    with pytest.raises(FrozenInstanceError):
        config.embed_dim = 3
    assert len({config, toy_config(), replace(config, embed_dim=3)}) == 2


def test_it_needs_no_torch():
    code = "import sys, blip.config; blip.config.named('base'); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_impossible_models_are_refused():
    for values, sentence in [
        ({"image_size": 17}, "image_size must be a multiple of patch_size 8, and 17 is not; the nearest: 16 and 24."),
        ({"image_size": 3}, "image_size must be a multiple of patch_size 8, and 3 is not; the nearest: 8."),
        ({"heads": 5}, "vision width must be a multiple of heads"),
    ]:
        with pytest.raises(InputError, match=sentence):
            replace(toy_config().vision, **values)
    for values, sentence in [
        ({"heads": 5}, "text width must be a multiple of heads"),
        ({"shared": frozenset({"mlp", "memory"})}, "shared names 'memory'; choose from cross"),
        ({"readings": frozenset({"speak"})}, "readings names 'speak'"),
    ]:
        with pytest.raises(InputError, match=sentence):
            replace(toy_config().text, **values)
    with pytest.raises(InputError, match="no model size 'huge'; choose one of nano, tiny"):
        named("huge")
    with pytest.raises(InputError, match="image_size"):
        named("base", image_size=225)


def test_json_that_does_not_fit_is_refused_by_name():
    data = to_json(toy_config())
    with pytest.raises(InputError, match="the model .* embed_dim"):
        blip_config_from_json({k: v for k, v in data.items() if k != "embed_dim"})
    with pytest.raises(InputError, match="the image encoder .* pixels"):
        blip_config_from_json({**data, "vision": {**data["vision"], "pixels": 3}})
    short = {k: v for k, v in data["text"].items() if k != "shared"}
    with pytest.raises(InputError, match="the text model .* shared"):
        blip_config_from_json({**data, "text": short})
    with pytest.raises(InputError, match="shared names 'everything'"):
        blip_config_from_json({**data, "text": {**data["text"], "shared": ["everything"]}})
