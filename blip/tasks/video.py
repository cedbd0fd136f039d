"""Video with models that were trained on images alone, zero-shot (paper 5.6): a clip is its frames.

For ITC a clip's vector is the mean of its frames' projected [CLS], for ITM and for questions the states of all
frames stand one after the other in one memory. Neither tells when a frame was seen, so the order of frames
changes no score: what only it could tell, this method cannot.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.layers import full_precision
from blip.memory import Memory
from blip.model import BLIP
from blip.tasks.ranking import SHORTLIST, Rankings, match_scores, rank_both_ways, text_features
from blip.tasks.vqa import VQA
from blip.tokenizer import Tokens

MAX_WORDS, MAX_TOKENS = 40, 35  # published, of a text that is retrieved


def frame_states(image_encoder: nn.Module, clips: Tensor) -> Tensor:
    """States (B, T, N, D) of the T frames of B clips (B, T, 3, H, W), each frame read alone."""
    return image_encoder(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


def clip_features(model: BLIP, states: Tensor) -> Tensor:
    """Unit vectors (B, E) of frame states (B, T, N, D): the mean over frames of the projected [CLS], then its length 1."""
    return F.normalize(full_precision(model.image_projection, states[:, :, 0]).mean(dim=1), dim=-1)


def clip_states(states: Tensor) -> Tensor:
    """Frame states (B, T, N, D) as one sequence (B, T * N, D), which cross-attention reads as those of an image."""
    return states.flatten(1, 2)


def rank_videos(
    model: BLIP, clips: Callable[[], Iterable[Tensor]], tokens: Tokens, *, k: int = SHORTLIST
) -> Rankings:
    """Rank T texts (tokens led by [CLS]) for each of V clips and back, as images are ranked: ITC, then ITM of the first k.

    clips() gives the clips (b, T, 3, H, W) in order and is called twice: a clip is encoded once for its features
    and once to be re-ranked, so that the states of all clips are never held together. Of several processes each gives
    its own clips, in rank order. The model needs the readings encode and fuse.
    """
    features = (clip_features(model, frame_states(model.image_encoder, one)) for one in clips())
    states = (clip_states(frame_states(model.image_encoder, one)) for one in clips())
    return rank_both_ways(model, features, states, tokens, k=k)


@torch.inference_mode()
def clip_scores(model: BLIP, clips: Tensor, tokens: Tokens) -> Tensor:
    """The score of retrieval (B, R), match logit plus cosine, of each of B clips (B, T, 3, H, W) with R texts."""
    states = frame_states(model.image_encoder, clips)
    cosines = clip_features(model, states).float() @ text_features(model, tokens).T
    memories = (model.remember(one, "encoder") for one in clip_states(states).split(1))
    return cosines + torch.stack([match_scores(model, memory, tokens.led_by("ENC")) for memory in memories])


def ask_clips(model: VQA, clips: Tensor, questions: Tokens) -> Memory:
    """What the answer decoder reads of k * B questions led by [ENC] about B clips (B, T, 3, H, W), grouped by clip."""
    return model.ask(clip_states(frame_states(model.image_encoder, clips)), questions)
