"""`lab embed`: the ITC features of images and texts as Parquet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from blip.checkpoint import Loaded
from blip.data.files import replacing
from blip.data.loading import Loader
from blip.data.pairset import PairSet
from blip.data.sources import PhotoSource
from blip.data.text import clean_caption
from blip.data.transforms import eval_transform
from blip.distributed import from_all, is_main, rank, world_size
from blip.errors import InputError
from blip.precision import precision
from blip.tasks.ranking import text_features
from blip.tasks.retrieval import MAX_TOKENS
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary
from lab.reading import Reading

IMAGES, TEXTS = "images.parquet", "texts.parquet"
_AT_ONCE = 4096  # texts that the processes share, those of like length together
_ROWS_A_GROUP = 4096
_FIELDS = [("key", pa.string()), ("caption", pa.string()), ("feature", pa.list_(pa.float32())), ("model", pa.string())]

Part = tuple[list[str], list[str] | None, Tensor]
"""Keys, captions (None of images), features (n, E)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write the unit features by which ITC compares images and texts; their products are cosines."""

    data: str
    """Pairs, or images alone: tars ('shards/*.tar', quoted), JSON, CSV, TSV, Parquet, or a folder of images."""
    out: Path
    """Folder for images.parquet (key, feature, model), texts.parquet (with caption) and summary.json."""
    weights: Weights
    """A retrieval model, a filter, or a pre-trained model."""
    reading: Reading = field(default_factory=Reading)
    """How a table is read."""
    images: bool = True
    """Whether the images' features are written."""
    texts: bool = True
    """Whether the texts' features are written."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""


def main(options: Options) -> int:
    """Write the features, and say what could not be used."""
    if not (options.images or options.texts):
        raise InputError("--no-images and --no-texts leave nothing to write; leave one of them out.")
    with together(options.machine):
        loaded = options.weights.load(options.machine.device)
        if "encode" not in loaded.model.config.text.readings:
            raise InputError("These weights have no ITC features; give a pre-trained model, a retrieval model or a filter.")
        pairs = options.reading.pairs(options.data)
        if not options.images and not len(pairs):
            raise InputError(f"{options.data} holds no text, and --no-images leaves nothing else to write; leave that out.")
        begin_evaluation("embed", options, model=loaded.fingerprint)
        # An image without a text is no reject where there are no texts at all.
        rejects = sum(reject.kind != "text" or len(pairs) > 0 for reject in pairs.rejects)
        result: dict[str, Any] = {"model": loaded.fingerprint, "width": loaded.model.config.embed_dim, "rejects": rejects}
        if options.images:
            source = PhotoSource(pairs.images, eval_transform(loaded.model.config.vision.image_size))
            result["images"] = _write_images(options.out / IMAGES, _of_images(loaded, source, options.machine), loaded)
            result["rejects"] += len(from_all(source.rejects))
        if options.texts and len(pairs):
            result["texts"] = _write_texts(options.out / TEXTS, _of_texts(loaded, pairs, options.machine), loaded)
    written = ", ".join(f"{result[name]:,} {name}" for name in ("images", "texts") if name in result)
    print(f"{written} in {result['width']} dimensions, {result['rejects']} rejects: {options.out}")
    write_summary(options.out, "embed", result, options, model=loaded.fingerprint)
    return 0


def _of_images(loaded: Loaded, source: PhotoSource, machine: Machine) -> Iterator[Part]:
    model = loaded.model
    for batch in Loader(source, machine.batch, train=False, workers=machine.workers):
        with torch.inference_mode(), precision(torch.device(machine.device), machine.precision):
            features = model.image_features(model.encode_image(batch.images.to(machine.device)))
        yield batch.keys, None, features


def _of_texts(loaded: Loaded, pairs: PairSet, machine: Machine) -> Iterator[Part]:
    for start in range(0, len(pairs), _AT_ONCE):
        part = list(pairs[start : start + _AT_ONCE])
        tokens = loaded.tokenizer([clean_caption(pair.caption) for pair in part], MAX_TOKENS)
        with precision(torch.device(machine.device), machine.precision):
            features = text_features(loaded.model, tokens.to(machine.device))
        yield [pair.key for pair in part], [pair.caption for pair in part], features


def _write_texts(path: Path, parts: Iterator[Part], loaded: Loaded) -> int:
    """Write the features, whole or not at all; the number of rows. Every process has all of them, the main one writes."""
    schema = _schema(texts=True)
    tables = (_table(part, schema, loaded.fingerprint) for part in parts)
    return _in_groups(path, tables, schema) if is_main() else sum(map(len, tables))


def _write_images(path: Path, parts: Iterator[Part], loaded: Loaded) -> int:
    """As `_write_texts`; of several processes each writes its rows to a file beside it, and the main one puts them together."""
    schema = _schema(texts=False)
    tables = (_table(part, schema, loaded.fingerprint) for part in parts)
    if world_size() == 1:
        return _in_groups(path, tables, schema)
    beside = [path.with_name(f".{path.name}.{number}") for number in range(world_size())]
    try:
        rows = sum(from_all([_in_groups(beside[rank()], tables, schema, empty=True)]))
        if is_main():
            batches = (batch for one in beside for batch in pq.ParquetFile(one).iter_batches())
            _in_groups(path, (pa.Table.from_batches([batch]) for batch in batches), schema)
        from_all(())  # until then the main one reads what the others wrote
    finally:
        beside[rank()].unlink(missing_ok=True)
    return rows


def _in_groups(path: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, empty: bool = False) -> int:
    """Write tables in row groups of a useful size; the number of rows. InputError without any, unless it may be empty."""
    rows, waiting = 0, []
    with replacing(path) as file, pq.ParquetWriter(file, schema) as writer:
        for table in tables:
            waiting.append(table)
            if sum(map(len, waiting)) >= _ROWS_A_GROUP:
                rows += _flush(waiting, writer)
        rows += _flush(waiting, writer)
        if not rows and not empty:
            raise InputError(f"There is nothing to write to {path}: no image can be read; look at the data.")
    return rows


def _flush(waiting: list[pa.Table], writer: pq.ParquetWriter) -> int:
    rows = sum(map(len, waiting))
    if rows:
        writer.write_table(pa.concat_tables(waiting).combine_chunks())
    waiting.clear()
    return rows


def _table(part: Part, schema: pa.Schema, model: str) -> pa.Table:
    keys, captions, features = part
    values = features.float().cpu().numpy()
    offsets = pa.array(range(0, values.size + 1, values.shape[1]), pa.int32())
    columns = {
        "key": keys,
        "caption": captions,
        "feature": pa.ListArray.from_arrays(offsets, values.ravel()),
        "model": [model] * len(keys),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _schema(*, texts: bool) -> pa.Schema:
    return pa.schema([known for known in _FIELDS if texts or known[0] != "caption"])
