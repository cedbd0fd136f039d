"""A trained peer as one safetensors file: weights, the BLIP sizes it was built by, and its vocabulary."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file

from blip.checkpoint.own import file_fingerprint
from blip.checkpoint.tensors import write_tensors
from blip.config import BlipConfig, blip_config_from_json, to_json
from blip.tokenizer import Tokenizer
from lab.peers.kinds import Peer, PeerModel

_ABOUT = "peer"


@dataclass(frozen=True)
class LoadedPeer:
    """A peer's model in eval mode; `config` are the sizes of the BLIP it is like."""

    model: PeerModel
    config: BlipConfig
    tokenizer: Tokenizer
    fingerprint: str
    """The first 16 hex digits of the SHA-256 of the file's content."""


def save(path: Path, model: PeerModel, config: BlipConfig, tokenizer: Tokenizer) -> str:
    """Write a peer, whole or not at all, and return the file's fingerprint."""
    about = {"config": to_json(config), "vocab": tokenizer.vocab, "context": model.context_length}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # One entry of metadata: several are written in no fixed order.
    write_tensors(weights, path, {_ABOUT: json.dumps(about, sort_keys=True)})
    return file_fingerprint(path)


def load(path: Path, peer: Peer, device: str = "cpu") -> LoadedPeer:
    """Read what `save` wrote of a peer of this kind."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()[_ABOUT])
    config, tokenizer = blip_config_from_json(about["config"]), Tokenizer(about["vocab"])
    model = peer.parts().model(config, tokenizer.special, about["context"])
    model.load_state_dict(load_file(path))
    return LoadedPeer(model.eval().to(device), config, tokenizer, file_fingerprint(path))
