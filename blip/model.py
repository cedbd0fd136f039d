"""BLIP: image encoder, MED text transformer, the projections of ITC, the head of ITM, the temperature.

Axes: B images, R texts, N image tokens, L text tokens, D width, E embedding, V vocabulary.
`states` are a tower's token-level output; `features` are projected unit vectors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.config import BlipConfig
from blip.layers import full_precision, start_weights
from blip.memory import Cache, Memory
from blip.text import TextTransformer
from blip.tokenizer import Tokens
from blip.vision import ImageEncoder

TEMPERATURE_START = 0.07  # published start of the learned temperature
TEMPERATURE_RANGE = (0.001, 0.5)  # published clamp


class BLIP(nn.Module):
    """Two towers and the heads that their readings need (paper 3.1, Figure 2)."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoder(config.vision)
        self.text = TextTransformer(config.text)
        if "encode" in config.text.readings:
            self.image_projection = nn.Linear(config.vision.width, config.embed_dim)
            self.text_projection = nn.Linear(config.text.width, config.embed_dim)
            self.temperature = nn.Parameter(torch.tensor(TEMPERATURE_START))
            start_weights(self.image_projection, config.vision.width)
            start_weights(self.text_projection, config.text.width)
        if "fuse" in config.text.readings:
            self.itm_head = nn.Linear(config.text.width, 2)
            start_weights(self.itm_head, config.text.width)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to image states (B, N, D)."""
        return self.image_encoder(images)

    def image_features(self, image_states: Tensor) -> Tensor:
        """Image states (B, N, D) to unit vectors (B, E)."""
        return F.normalize(full_precision(self.image_projection, image_states[:, 0]), dim=-1)

    def encode_text(self, tokens: Tokens) -> Tensor:
        """Texts led by [CLS] to text states (R, L, D); no image is read."""
        tokens.require("CLS", "The text encoder")
        return self.text(tokens.ids, tokens.keep, "encoder")

    def text_features(self, text_states: Tensor) -> Tensor:
        """Text states (R, L, D) to unit vectors (R, E)."""
        return F.normalize(full_precision(self.text_projection, text_states[:, 0]), dim=-1)

    def remember(self, states: Tensor, role: str, keep: Tensor | None = None) -> Memory:
        """Cross-attention keys and values of states (B, N, D) for the encoder or the decoder."""
        return self.text.remember(states, role, keep)

    def remember_for_decoder(self, states: Tensor, encoder_memory: Memory) -> Memory:
        """The decoder's memory of states: the encoder's own where cross-attention is shared."""
        shared = len(self.text.blocks[0].cross_attention) == 1
        return encoder_memory if shared else self.remember(states, "decoder")

    def fuse(self, tokens: Tokens, memory: Memory) -> Tensor:
        """Texts led by [ENC], grounded in the memory of their images, to states (R, L, D).

        R = k * B rows over a memory of B images: k texts per image, grouped by image.
        """
        tokens.require("ENC", "The image-grounded text encoder")
        return self.text(tokens.ids, tokens.keep, "encoder", memory=memory)

    def match_logits(self, tokens: Tokens, memory: Memory) -> Tensor:
        """ITM logits (R, 2) of texts led by [ENC]; column 1 says that text and image match."""
        return full_precision(self.itm_head, self.fuse(tokens, memory)[:, 0])

    def decode(self, tokens: Tokens, memory: Memory, cache: Cache | None = None) -> Tensor:
        """Next-token logits (R, L, V) of texts led by [DEC], grounded in the memory of their images."""
        tokens.require("DEC", "The image-grounded text decoder")
        return self.text.logits(
            self.text(tokens.ids, None, "decoder", memory=memory, cache=cache)
        )

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Keep the learned temperature within the published range."""
        self.temperature.clamp_(*TEMPERATURE_RANGE)


def count_parameters(config: BlipConfig) -> int:
    """Parameters of a model as the paper's Table 3 counts them: the temperature left out."""
    with torch.device("meta"):
        model = BLIP(config)
    return sum(p.numel() for name, p in model.named_parameters() if name != "temperature")


def narrowed(model: BLIP, *readings: str) -> BLIP:
    """A copy with only the parts that these readings need: a captioner is `narrowed(model, "decode")`."""
    part = BLIP(model.config.reading(*readings)).to(next(model.parameters()).device)
    weights = model.state_dict()
    part.load_state_dict({name: weights[_owner(name, weights)] for name in part.state_dict()})
    return part


def _owner(name: str, weights: dict[str, Tensor]) -> str:
    """Where a full model keeps a part: one that both roles share lies under the encoder."""
    return name if name in weights else name.replace(".decoder.", ".encoder.")
