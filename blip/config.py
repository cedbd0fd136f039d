"""Model configurations: frozen dataclasses, sizes by name, sharing as a set of part names. Knows no torch."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from blip.errors import InputError

EMBEDDINGS, SELF_ATTENTION, CROSS_ATTENTION, MLP = (
    "embeddings",
    "self_attention",
    "cross_attention",
    "mlp",
)
PARTS = frozenset({EMBEDDINGS, SELF_ATTENTION, CROSS_ATTENTION, MLP})
READINGS = frozenset({"encode", "fuse", "decode"})

# The four rows of the paper's Table 3. What is shared exists once for encoder and decoder.
SHARE_ALL = PARTS
SHARE_ALL_BUT_CA = PARTS - {CROSS_ATTENTION}
SHARE_ALL_BUT_SA = PARTS - {SELF_ATTENTION}  # the paper's choice
SHARE_NONE: frozenset[str] = frozenset()
SHARING = {
    "all": SHARE_ALL,
    "all-but-ca": SHARE_ALL_BUT_CA,
    "all-but-sa": SHARE_ALL_BUT_SA,
    "none": SHARE_NONE,
}


_MOST, _DEEPEST = 10_000_000, 1_000  # of anything that is counted, and of layers


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The image encoder, a Vision Transformer (paper 3.1)."""

    image_size: int
    """Side of the square input in pixels."""
    patch_size: int
    """Side of a square patch in pixels; the image side is a multiple of it."""
    width: int
    depth: int
    heads: int
    mlp_ratio: int = 4
    drop_path: float = 0.0
    """Stochastic depth of the last block, rising linearly from 0 (0.1 in ViT-L pre-training)."""
    eps: float = 1e-6

    def __post_init__(self) -> None:
        _require_numbers(self)
        _require(self.image_size % self.patch_size == 0, self._no_multiple)
        _require(self.width % self.heads == 0, "vision width must be a multiple of heads")

    @property
    def _no_multiple(self) -> str:
        below = self.image_size // self.patch_size * self.patch_size
        nearest = " and ".join(str(side) for side in (below, below + self.patch_size) if side)
        said = f"image_size must be a multiple of patch_size {self.patch_size}, and {self.image_size} is not"
        return f"{said}; the nearest: {nearest}"

    @property
    def tokens(self) -> int:
        """Number of image tokens N: the patches and [CLS]."""
        return (self.image_size // self.patch_size) ** 2 + 1


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The text transformer that MED reads in three ways (paper 3.1)."""

    vocab_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    memory_width: int
    """Width of the states that cross-attention reads: the image encoder's."""
    max_positions: int = 512
    dropout: float = 0.1
    eps: float = 1e-12
    shared: frozenset[str] = SHARE_ALL_BUT_SA
    """Parts that exist once for encoder and decoder (paper Table 3)."""
    readings: frozenset[str] = READINGS
    """What the model is read as: encode (ITC), fuse (ITM), decode (LM); parts no reading needs do not exist."""

    def __post_init__(self) -> None:
        _require_numbers(self)
        _require(self.width % self.heads == 0, "text width must be a multiple of heads")
        _require_known("shared", self.shared, PARTS)
        _require_known("readings", self.readings, READINGS)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that exist: encoder (for encode and fuse), decoder (for decode)."""
        encoder = ("encoder",) if self.readings & {"encode", "fuse"} else ()
        return encoder + (("decoder",) if "decode" in self.readings else ())

    @property
    def grounded_roles(self) -> tuple[str, ...]:
        """The roles that read an image and so own cross-attention."""
        encoder = ("encoder",) if "fuse" in self.readings else ()
        return encoder + (("decoder",) if "decode" in self.readings else ())


@dataclass(frozen=True, kw_only=True)
class BlipConfig:
    """An image encoder, a text transformer and the width of the space where ITC compares them."""

    vision: VisionConfig
    text: TextConfig
    embed_dim: int = 256

    def reading(self, *readings: str) -> "BlipConfig":
        """The same model with only these readings: a captioner is `reading("decode")`."""
        return replace(self, text=replace(self.text, readings=frozenset(readings)))


@dataclass(frozen=True)
class _Size:
    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    text_width: int
    text_depth: int
    text_heads: int
    embed_dim: int
    drop_path: float = 0.0


# base and large are the published B/16 and L/16; the text side is BERT-base in both.
_SIZES = {
    "nano": _Size(32, 8, 64, 2, 2, 64, 2, 2, 64),
    "tiny": _Size(96, 16, 192, 4, 3, 192, 4, 3, 128),
    "small": _Size(224, 16, 384, 12, 6, 384, 6, 6, 256),
    "base": _Size(224, 16, 768, 12, 12, 768, 12, 12, 256),
    "large": _Size(224, 16, 1024, 24, 16, 768, 12, 12, 256, 0.1),
}
SIZE_NAMES = tuple(_SIZES)


def named(
    size: str,
    *,
    image_size: int | None = None,
    vocab_size: int = 30524,
    shared: frozenset[str] = SHARE_ALL_BUT_SA,
) -> BlipConfig:
    """The configuration of a size by name: nano, tiny, small, base (B/16) or large (L/16)."""
    if size not in _SIZES:
        raise InputError(f"There is no model size {size!r}; choose one of {', '.join(_SIZES)}.")
    s = _SIZES[size]
    vision = VisionConfig(
        image_size=image_size or s.image_size,
        patch_size=s.patch_size,
        width=s.width,
        depth=s.depth,
        heads=s.heads,
        drop_path=s.drop_path,
    )
    text = TextConfig(
        vocab_size=vocab_size,
        width=s.text_width,
        depth=s.text_depth,
        heads=s.text_heads,
        mlp_width=4 * s.text_width,
        memory_width=s.width,
        shared=shared,
    )
    return BlipConfig(vision=vision, text=text, embed_dim=s.embed_dim)


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values; sets become sorted lists."""
    return {name: _plain(value) for name, value in asdict(config).items()}


def blip_config_from_json(data: dict[str, Any]) -> BlipConfig:
    """Read back what `to_json` wrote; a missing or unknown field is an InputError that names it."""
    _require_fields("the model", data, BlipConfig)
    text = dict(data["text"])
    for name in ("shared", "readings"):
        if name in text:
            text[name] = frozenset(text[name])
    _require_fields("the text model", text, TextConfig)
    _require_fields("the image encoder", data["vision"], VisionConfig)
    return BlipConfig(
        vision=VisionConfig(**data["vision"]), text=TextConfig(**text), embed_dim=data["embed_dim"]
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise InputError(f"This model cannot be built: {sentence}.")


def _require_numbers(config: Any) -> None:
    """Sizes are whole numbers within bounds; what comes from a file may be anything."""
    for name, kind in ((f.name, f.type) for f in fields(config)):
        value = getattr(config, name)
        if kind is int:
            least, most = (0, _DEEPEST) if name == "depth" else (1, _MOST)
            _require(type(value) is int and least <= value <= most, f"{name} must be a whole number, {least} to {most:,}")
        elif kind is float:
            _require(isinstance(value, (int, float)) and 0 <= value <= 1, f"{name} must be a number from 0 to 1")


def _require_known(name: str, given: frozenset[str], known: frozenset[str]) -> None:
    if unknown := sorted(given - known):
        raise InputError(
            f"{name} names {', '.join(map(repr, unknown))}; choose from {', '.join(sorted(known))}."
        )


def _require_fields(what: str, data: dict[str, Any], cls: type) -> None:
    names = {f.name for f in fields(cls)}
    if set(data) != names:
        wrong = sorted(set(data) ^ names)
        raise InputError(
            f"The configuration of {what} does not fit this version: check {', '.join(wrong)}."
        )
