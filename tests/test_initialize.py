"""Starting from ViT and BERT weights, against timm and transformers as witnesses."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from blip.config import BlipConfig, TextConfig, VisionConfig
from blip.errors import InputError
from blip.initialize import start_from
from blip.model import BLIP, narrowed


def small() -> BLIP:
    vision = VisionConfig(image_size=32, patch_size=8, width=48, depth=2, heads=3)
    text = TextConfig(
        vocab_size=60, width=48, depth=2, heads=3, mlp_width=96, memory_width=48, max_positions=20
    )
    return BLIP(BlipConfig(vision=vision, text=text, embed_dim=16)).eval()


def timm_vit() -> torch.nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, num_classes=10
    ).eval()


def bert_config() -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=58,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        max_position_embeddings=20,
        hidden_act="gelu",
    )


def bert() -> torch.nn.Module:
    from transformers import BertModel

    model = BertModel(bert_config(), add_pooling_layer=False).eval()
    torch.nn.init.zeros_(model.embeddings.token_type_embeddings.weight)
    return model


def test_image_states_equal_timm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    witness, model, images = timm_vit(), small(), torch.randn(2, 3, 32, 32)
    torch.save({"model": witness.state_dict()}, tmp_path / "vit.pth")
    before = model.encode_image(images)
    start_from(model, vision=tmp_path / "vit.pth")
    after = model.encode_image(images)
    assert (before - after).abs().max() > 0.1
    torch.testing.assert_close(after, witness.forward_features(images), atol=1e-5, rtol=1e-5)


def test_text_states_equal_bert(tmp_path: Path) -> None:
    torch.manual_seed(0)
    witness, model = bert(), small()
    ids, keep = torch.randint(5, 58, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    keep[1, 4:] = False
    save_file(witness.state_dict(), tmp_path / "model.safetensors")
    start_from(model, text=tmp_path)
    ours = model.text(ids, keep, "encoder")
    theirs = witness(input_ids=ids, attention_mask=keep.long()).last_hidden_state
    torch.testing.assert_close(ours[keep], theirs[keep], atol=1e-5, rtol=1e-5)
    decoder = model.text.blocks[0].self_attention["decoder"].qkv.weight
    torch.testing.assert_close(decoder, model.text.blocks[0].self_attention["encoder"].qkv.weight)


def masked_bert() -> torch.nn.Module:
    """BERT with its head of masked language modelling, none of whose values are those of a new one."""
    from transformers import BertForMaskedLM

    model = BertForMaskedLM(bert_config()).eval()
    torch.nn.init.zeros_(model.bert.embeddings.token_type_embeddings.weight)
    for value in model.cls.predictions.parameters():
        torch.nn.init.normal_(value)
    return model


def test_next_words_come_from_berts_own_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    witness, model = masked_bert(), small()
    torch.nn.init.normal_(model.text.lm_head.bias)
    new_words = model.text.lm_head.bias[58:].clone()
    witness.save_pretrained(tmp_path)
    start_from(model, text=tmp_path)
    ids, keep = torch.randint(5, 58, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    ours = model.text.logits(model.text(ids, keep, "encoder"))
    theirs = witness(input_ids=ids, attention_mask=keep.long()).logits
    torch.testing.assert_close(ours[..., :58], theirs, atol=1e-4, rtol=1e-4)
    assert torch.equal(model.text.lm_head.bias[58:], new_words), "[DEC] and [ENC] keep their start"


def test_a_bert_without_a_head_leaves_ours_and_half_a_head_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = small()
    before = {name: value.clone() for name, value in model.text.lm_head.state_dict().items()}
    torch.save(bert().state_dict(), tmp_path / "bare.pth")
    start_from(model, text=tmp_path / "bare.pth")
    assert all(torch.equal(value, before[name]) for name, value in model.text.lm_head.state_dict().items())
    whole = masked_bert().state_dict()
    start_from(narrowed(model, "encode", "fuse"), text=saved(whole, tmp_path / "whole.pth"))
    del whole["cls.predictions.transform.dense.bias"]
    with pytest.raises(InputError, match=r"half\.pth lacks 'cls\.predictions\.transform\.dense\.bias'"):
        start_from(model, text=saved(whole, tmp_path / "half.pth"))


def saved(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    save_file({"pos_embed": torch.zeros(1, 17, 48)}, tmp_path / "cut.safetensors")
    with pytest.raises(InputError, match="cls_token"):
        start_from(small(), vision=tmp_path / "cut.safetensors")
    with pytest.raises(InputError, match=r"no weights file .*absent\.pth"):
        start_from(small(), vision=tmp_path / "absent.pth")
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 not a whole file")
    with pytest.raises(InputError, match=r"torn\.pth"):
        start_from(small(), vision=tmp_path / "torn.pth")
    wide = bert().state_dict()
    wide["embeddings.word_embeddings.weight"] = torch.zeros(99, 48)
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match="99 words"):
        start_from(small(), text=tmp_path / "wide.safetensors")
