"""What a score looked at: cross-attention and Grad-CAM maps of the image-grounded text encoder; token probabilities.

Grad-CAM as ALBEF shows it (arXiv 2107.07651, section 5.4), by the authors of BLIP: the cross-attention of one
layer times the gradient of the ITM match logit with respect to it, clamped at zero, mean over heads. ALBEF
takes the third of its six multimodal layers, which is index 8 of the 12 text layers, the default here.

Axes: R texts, B images, L text tokens, H heads, N image tokens ([CLS] first, then patches in row order).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from blip.data.text import clean_caption
from blip.errors import InputError
from blip.layers import split_heads
from blip.matching import MAX_TOKENS
from blip.memory import Memory
from blip.model import BLIP
from blip.text import CrossAttention
from blip.tokenizer import Tokenizer, Tokens


@dataclass(frozen=True)
class Word:
    """A word of a text and the places of its pieces among the text's tokens."""

    text: str
    places: tuple[int, ...]


@dataclass(frozen=True)
class Explanation:
    """A text against an image, word by word; what the filter says of the two, and where it looked.

    probability: ITM match probability. words: W of them. attention and grad_cam: (1 + W, h, w) float32 maps over
    the patches, those of [ENC], which the match is read from, first. attention: mean over heads; what is
    missing to a sum of 1 went to the image's [CLS]. layer: which one they are of, counted from 0.
    """

    text: str
    probability: float
    words: tuple[Word, ...]
    attention: Tensor
    grad_cam: Tensor
    layer: int


def default_layer(depth: int) -> int:
    """Which of `depth` text layers is shown, counted from 0: at two thirds, 8 of 12 as in ALBEF.

    Never the last one of several: the match is read from [ENC], so that no gradient reaches another word's
    attention in the last layer, and a Grad-CAM of a word there is zero.
    """
    return max(0, min(2 * depth // 3, depth - 2))


def explain(model: BLIP, tokenizer: Tokenizer, image: Tensor, text: str, layer: int | None = None) -> Explanation:
    """Explain the match of a prepared image (3, H, W) with a text, cleaned and cut as the filter reads it.

    InputError where the text has no words, and as in `grad_cam`.
    """
    cleaned = clean_caption(text)
    tokens = tokenizer([cleaned], MAX_TOKENS).led_by("ENC").to(image.device)
    words = words_of(tokenizer, tokens.ids[0].tolist())
    if not words:
        raise InputError("The text has no words; write some.")
    chosen = _chosen(model, layer)
    with torch.inference_mode(False), torch.no_grad():
        memory = model.remember(model.encode_image(image.clone()[None]), "encoder")
    logits, attention, gradient = _seen(model, tokens, memory, chosen)
    maps = torch.stack([attention.mean(dim=1)[0], _cam(attention, gradient)[0]])
    grids = patch_grid(_by_word(maps, words)).cpu()
    probability = float(logits.float().softmax(dim=1)[0, 1])
    return Explanation(cleaned, probability, tuple(words), grids[0], grids[1], chosen)


def cross_attention_maps(model: BLIP, tokens: Tokens, memory: Memory, layer: int | None = None) -> Tensor:
    """Cross-attention (R, H, L, N) of one layer in float32; a token's sums to 1, that of padding is 0.

    tokens: R = k * B texts led by [ENC], grouped by image; memory: the encoder's, of B images. layer: counted
    from 0, by default `default_layer`. InputError as in `grad_cam`.
    """
    return _seen(model, tokens, memory, _chosen(model, layer))[1]


def grad_cam(model: BLIP, tokens: Tokens, memory: Memory, layer: int | None = None) -> Tensor:
    """Grad-CAM (R, L, N) of the ITM match logit for every token, 0 or more, 0 on padding.

    Arguments as in `cross_attention_maps`. Not to be called while another thread runs the same model.
    InputError where the model is in training mode, lacks the ITM head, or has no such layer, and where
    tokens do not begin with [ENC].
    """
    _, attention, gradient = _seen(model, tokens, memory, _chosen(model, layer))
    return _cam(attention, gradient)


def patch_grid(maps: Tensor) -> Tensor:
    """Maps (..., N) of a square image without [CLS], as rows of patches (..., h, w)."""
    side = round((maps.shape[-1] - 1) ** 0.5)
    if side * side + 1 != maps.shape[-1]:
        raise InputError(f"{maps.shape[-1]} image tokens are no [CLS] and a square of patches; give maps of one image.")
    return maps[..., 1:].unflatten(-1, (side, side))


def words_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[Word]:
    """The words of a text's ids with their places: pieces that begin with ## are joined, special tokens left out."""
    special = tokenizer.special
    silent = {special.pad, special.cls, special.sep, special.dec, special.enc}
    words: list[Word] = []
    for place, number in enumerate(ids):
        if number in silent:
            continue
        piece = tokenizer.vocab[number]
        if piece.startswith("##") and words:
            last = words.pop()
            words.append(Word(last.text + piece[2:], (*last.places, place)))
        else:
            words.append(Word(piece, (place,)))
    return words


@torch.no_grad()
def token_logprobs(model: BLIP, tokens: Tokens, memory: Memory) -> Tensor:
    """Natural log-probability (R, L - 1) of each token after the first, given those before it and the image.

    One forward, for texts that are known. tokens: R = k * B texts led by [DEC], grouped by image; memory: the
    decoder's, of B images. Under the model's own distribution, as `Caption.logprobs`; 0 on padding.
    """
    _require_eval(model)
    following = tokens.ids[:, 1:, None]
    logprobs = model.decode(tokens, memory)[:, :-1].float().log_softmax(dim=2)
    return logprobs.gather(2, following).squeeze(2).masked_fill(~tokens.keep[:, 1:], 0.0)


def _chosen(model: BLIP, layer: int | None) -> int:
    """The layer to look at, checked."""
    _require_eval(model)
    if "fuse" not in model.config.text.readings:
        raise InputError("These weights have no image-grounded text encoder; give a filter or a pre-trained model.")
    depth = model.config.text.depth
    chosen = default_layer(depth) if layer is None else layer
    if not 0 <= chosen < depth:
        raise InputError(f"There is no text layer {chosen}; this model has 0 to {depth - 1}.")
    return chosen


def _require_eval(model: BLIP) -> None:
    if model.training:
        raise InputError("Explanations need a model in eval mode, without dropout; call model.eval().")


def _seen(model: BLIP, tokens: Tokens, memory: Memory, layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """ITM logits (R, 2); a layer's cross-attention and the match logits' gradient of it, both (R, H, L, N)."""
    with torch.inference_mode(False), torch.enable_grad():
        # A copy for each text, outside inference mode: what was made within cannot be differentiated.
        texts = torch.arange(len(tokens), device=tokens.ids.device)
        each = memory.rows(texts * len(memory) // len(tokens))
        with _watched(model.text.blocks[layer].cross_attention["encoder"]) as seen:
            logits = model.match_logits(tokens, each)
        attention = _attention(seen["query"].detach(), each.keys[layer], each.keep)
        above = torch.autograd.grad(logits[:, 1].sum(), seen["heads"])[0]
    # Heads give attention @ values, so the gradient of attention is theirs @ values transposed.
    values = each.values[layer]
    gradient = split_heads(above, values.shape[1]).float() @ values.float().transpose(2, 3)
    kept = tokens.keep[:, None, :, None]
    return logits.detach(), attention * kept, gradient * kept


@contextmanager
def _watched(part: CrossAttention) -> Iterator[dict[str, Tensor]]:
    """Keep the query (R, L, D) and the heads' output (R, L, D) of a part's next forward, the latter as a leaf."""
    seen: dict[str, Tensor] = {}

    def query(_: torch.nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        seen["query"] = output

    def heads(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        # A leaf: nothing below this layer is differentiated.
        seen["heads"] = inputs[0].detach().requires_grad_()
        return (seen["heads"],)

    hooks = [part.query.register_forward_hook(query), part.out.register_forward_pre_hook(heads)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _attention(query: Tensor, keys: Tensor, keep: Tensor | None) -> Tensor:
    """Attention (R, H, L, N) of queries (R, L, D) over keys (R, H, N, d), which the fused kernel does not give out."""
    heads, width = keys.shape[1], keys.shape[3]
    scores = split_heads(query, heads).float() @ keys.float().transpose(2, 3) * width**-0.5
    if keep is not None:
        scores = scores.masked_fill(~keep[:, None, None, :], float("-inf"))
    return scores.softmax(dim=3)


def _cam(attention: Tensor, gradient: Tensor) -> Tensor:
    return (attention * gradient.clamp(min=0)).mean(dim=1)


def _by_word(maps: Tensor, words: Sequence[Word]) -> Tensor:
    """Maps (..., L, N) of tokens as (..., 1 + W, N): of the first token, then of each word the mean of its pieces'."""
    rows = [maps[..., 0, :], *(maps[..., list(word.places), :].mean(dim=-2) for word in words)]
    return torch.stack(rows, dim=-2)
