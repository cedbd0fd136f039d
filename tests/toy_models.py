"""Small random models and texts that the tests of the core share."""

import torch

from blip.config import SHARE_ALL_BUT_SA, BlipConfig, TextConfig, VisionConfig
from blip.model import BLIP
from blip.tokenizer import SpecialIds, Tokens

VOCAB = 40
SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, dec=VOCAB - 2, enc=VOCAB - 1)


def toy_config(*, shared=SHARE_ALL_BUT_SA, memory_width=24, dropout=0.1, **vision) -> BlipConfig:
    """Two layers each, 16 px, five image tokens, a vocabulary of 40."""
    return BlipConfig(
        vision=VisionConfig(
            **{"image_size": 16, "patch_size": 8, "width": 24, "depth": 2, "heads": 2, **vision}
        ),
        text=TextConfig(
            vocab_size=VOCAB,
            width=32,
            depth=2,
            heads=2,
            mlp_width=64,
            memory_width=memory_width,
            max_positions=24,
            dropout=dropout,
            shared=shared,
        ),
        embed_dim=16,
    )


def toy_model(seed=0, *, spread=None, config=None) -> BLIP:
    """A random model in eval mode; `spread` draws its weights wide, so that outputs differ."""
    torch.manual_seed(seed)
    model = BLIP(config or toy_config()).eval()
    if spread is not None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0.0, spread)
                elif name != "temperature":
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def toy_images(count, seed=0, side=16) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def toy_tokens(lengths, lead="CLS", seed=0) -> Tokens:
    """Random texts of these lengths, first token and [SEP] included, padded to the longest."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCAB - 2, (len(lengths), max(lengths)), generator=generator)
    keep = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids[:, 0] = SPECIAL.of(lead)
    ids[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = SPECIAL.sep
    return Tokens(ids.masked_fill(~keep, SPECIAL.pad), keep, lead, SPECIAL)
