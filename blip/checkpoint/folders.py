"""Folders in transformers' layout, read and written without transformers; downloads from its hub by name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blip.checkpoint.layouts import CAPTION, RETRIEVAL, VQA_LAYOUT
from blip.checkpoint.names import TRANSFORMERS
from blip.checkpoint.published import layout_of, model_state
from blip.checkpoint.sizes import Untold
from blip.checkpoint.stored import Model, Stored, from_state
from blip.checkpoint.tensors import read_tensors, write_tensors
from blip.config import BlipConfig
from blip.data.jsons import parse_json
from blip.data.transforms import MEAN, STD
from blip.errors import InputError
from blip.tokenizer import SpecialIds, Tokenizer

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_CLASSES = {
    CAPTION: "BlipForConditionalGeneration",
    RETRIEVAL: "BlipForImageTextRetrieval",
    VQA_LAYOUT: "BlipForQuestionAnswering",
}
# What transformers takes where config.json is silent.
_DEFAULT_IMAGE = {"num_attention_heads": 12, "layer_norm_eps": 1e-5}
_DEFAULT_TEXT = {"num_attention_heads": 8, "layer_norm_eps": 1e-12}


def download(name: str, also: Sequence[str] = ()) -> Path:
    """The folder of a model on the Hugging Face hub, from its cache where it is there already.

    also: patterns of further files than weights, configuration and vocabulary.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise InputError("Weights from the hub need the package huggingface_hub; install it.") from None
    texts = ["config.json", "vocab.txt", "tokenizer.json", *also]
    try:
        folder = Path(snapshot_download(name, allow_patterns=[*texts, WEIGHTS[0]]))
        if not (folder / WEIGHTS[0]).is_file():
            folder = Path(snapshot_download(name, allow_patterns=[*texts, WEIGHTS[1]]))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise InputError(
            f"The model {name!r} cannot be fetched from the hub ({type(error).__name__}); check the name "
            "and the connection, or give a folder that you downloaded."
        ) from None
    return folder


def weights_file(folder: Path) -> Path:
    """The folder's weights."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} holds neither {WEIGHTS[0]} nor {WEIGHTS[1]}; give a folder of weights.")


def read_folder(folder: Path, *, image_size: int | None = None) -> Stored:
    """A captioner, ITM/retrieval or VQA model as transformers stores it; heads and eps are in config.json."""
    data = _read_json(folder / "config.json")
    if data.get("model_type") != "blip":
        raise InputError(f"{folder / 'config.json'} is not of a BLIP model; give a folder of one.")
    image, text = _towers(data, folder / "config.json")
    for part in (image, text):
        if (act := part.get("hidden_act", "gelu")) != "gelu":
            raise InputError(f"{folder / 'config.json'} asks for {act!r}, and BLIP has gelu; check hidden_act.")
    untold = Untold(
        image_heads=image["num_attention_heads"],
        text_heads=text["num_attention_heads"],
        image_eps=image["layer_norm_eps"],
        text_eps=text["layer_norm_eps"],
    )
    file = weights_file(folder)
    return from_state(read_tensors(file), str(file), untold=untold, image_size=image_size)


def _towers(data: dict[str, Any], file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json says of both towers, with transformers' defaults."""
    towers = []
    for name, default in (("vision_config", _DEFAULT_IMAGE), ("text_config", _DEFAULT_TEXT)):
        own = data.get(name, {})
        if not isinstance(own, dict):
            raise InputError(f"{file} holds no {name}; copy the folder again.")
        tower = default | own
        if any(isinstance(tower[number], bool) or not isinstance(tower[number], (int, float)) for number in default):
            raise InputError(f"{file} says what cannot be in its {name}; check {' and '.join(default)}.")
        towers.append(tower)
    return towers[0], towers[1]


def read_vocabulary(folder: Path, otherwise: Path | None = None) -> Tokenizer:
    """The folder's tokenizer: its vocab.txt, the words of its tokenizer.json, or else another vocab.txt."""
    if (folder / "vocab.txt").is_file():
        return Tokenizer.from_vocab(folder / "vocab.txt")
    file = folder / "tokenizer.json"
    if not file.is_file():
        if otherwise is not None:
            return Tokenizer.from_vocab(otherwise)
        raise InputError(f"{folder} has no vocab.txt; put one there or name it with --vocab.")
    data = _read_json(file)
    try:
        ids = dict(data["model"]["vocab"]) | {t["content"]: t["id"] for t in data.get("added_tokens", [])}
        return Tokenizer(sorted(ids, key=ids.__getitem__))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no WordPiece tokenizer ({error}); give a vocab.txt.") from None


def write_folder(folder: str | Path, model: Model, tokenizer: Tokenizer) -> Path:
    """Write what transformers' from_pretrained opens: weights, configuration, vocabulary, preprocessing."""
    folder = Path(folder)
    layout = layout_of(model)
    if layout not in _CLASSES:
        raise InputError(
            f"transformers has no class of the {layout} layout; give a captioner, a filter or VQA weights, "
            "or take --task captioning or retrieval of pre-trained ones."
        )
    if layout == VQA_LAYOUT and model.config.vision.width != model.config.text.width:
        raise InputError("transformers' VQA reads images and questions of one width, these have two.")
    # safetensors refuses tensors that share memory, as parts of a joined map do.
    state = {name: tensor.clone() for name, tensor in model_state(model, layout, TRANSFORMERS).items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(state, folder / "model.safetensors", {"format": "pt"})
    (folder / "vocab.txt").write_text("\n".join(tokenizer.vocab) + "\n", encoding="utf-8")
    _write_json(folder / "config.json", _config(model.config, tokenizer.special, _CLASSES[layout]))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(tokenizer, model.config))
    _write_json(folder / "preprocessor_config.json", _preprocessing(model.config.vision.image_size))
    return folder


def _config(config: BlipConfig, special: SpecialIds, architecture: str) -> dict[str, Any]:
    vision, text = config.vision, config.text
    return {
        "architectures": [architecture],
        "model_type": "blip",
        "image_text_hidden_size": config.embed_dim,
        "vision_config": {
            "model_type": "blip_vision_model",
            "hidden_size": vision.width,
            "intermediate_size": vision.mlp_ratio * vision.width,
            "num_hidden_layers": vision.depth,
            "num_attention_heads": vision.heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "layer_norm_eps": vision.eps,
            "initializer_range": 0.02,  # transformers' own default, 1e-10, trains nothing new
        },
        "text_config": {
            "model_type": "blip_text_model",
            "vocab_size": text.vocab_size,
            "hidden_size": text.width,
            "encoder_hidden_size": text.memory_width,
            "intermediate_size": text.mlp_width,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.heads,
            "max_position_embeddings": text.max_positions,
            "layer_norm_eps": text.eps,
            "bos_token_id": special.dec,
            "sep_token_id": special.sep,
            "eos_token_id": special.sep,
            "pad_token_id": special.pad,
        },
    }


def _tokenizer_config(tokenizer: Tokenizer, config: BlipConfig) -> dict[str, Any]:
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return {f"{name}_token": word if word in tokenizer.vocab else None for name, word in names.items()} | {
        "tokenizer_class": "BertTokenizer",
        "processor_class": "BlipProcessor",
        "do_lower_case": True,
        "additional_special_tokens": ["[DEC]", "[ENC]"],
        "model_max_length": config.text.max_positions,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def _preprocessing(image_size: int) -> dict[str, Any]:
    return {
        "image_processor_type": "BlipImageProcessor",
        "processor_class": "BlipProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": image_size, "width": image_size},
        "resample": 3,  # bicubic
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error}); copy the folder again.") from None
    if not isinstance(data, dict):
        raise InputError(f"{file} holds no JSON object; copy the folder again.")
    return data


def _write_json(file: Path, data: dict[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
