"""How commands read tables of pairs: where their pictures lie, and which columns hold what."""

from dataclasses import dataclass
from functools import partial

from blip.data.pairs import Origin
from blip.data.pairset import PairSet
from blip.data.readers import data_files, read_pairs
from blip.errors import InputError
from lab.pair_index import indexed


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which columns of a table to read, and where its image paths start."""

    image_root: str | None = None
    """Folder or URL from which the image paths of a table start; by default the table's own folder."""
    image_column: str | None = None
    """Column of a table with the image path or bytes; of several, parted by commas, the first that a table has; by
    default one of a usual name (image, path, file_name, ...)."""
    caption_column: str | None = None
    """Column of a table with the caption, or several as above; by default one of a usual name (caption, captions, text,
    title)."""

    def read(self, data: str, origin: Origin | None = None) -> PairSet:
        """What a source holds, be it nothing; of large tars by their index. InputError as `read_pairs`."""
        files = data_files(data)
        read = partial(
            read_pairs,
            files,
            origin=origin,
            image_root=self.image_root,
            image_column=several(self.image_column),
            caption_column=several(self.caption_column),
        )
        return indexed(files, {"origin": origin}, read)

    def pairs(self, data: str) -> PairSet:
        """The pairs of a source; InputError as `read_pairs`, and where there is neither a row nor a reject."""
        pairs = self.read(data)
        if not len(pairs.images) and not pairs.rejects:
            raise InputError(f"{data} holds no image; check the path.")
        return pairs


def several(columns: str | None) -> tuple[str, ...]:
    """The names of an option: the whole of it, since a column's name may hold a comma, and what commas part."""
    return () if columns is None else tuple(dict.fromkeys([columns, *columns.split(",")]))
