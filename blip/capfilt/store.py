"""Where a ledger lies: a folder of this machine, or a prefix of an object store.

Both keep one promise: what `write` leaves under a name is whole, or is told apart by its manifest entry,
which is written after it. Names are paths below the ledger's place, with `/`.
"""

import secrets
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from blip.data.files import drop_unfinished, replacing, reserve
from blip.data.places import Place, filesystem, is_url, local
from blip.errors import InputError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_AT_ONCE = 256  # requests for entries that are under way together


class Store(Protocol):
    """See `LocalStore` and `ObjectStore`. filesystem: what pyarrow and DuckDB read by, None for this machine's."""

    @property
    def place(self) -> Place: ...
    @property
    def filesystem(self) -> "AbstractFileSystem | None": ...
    def path(self, name: str) -> Place: ...
    def read(self, name: str) -> bytes: ...
    def read_each(self, names: Iterable[str]) -> Iterator[bytes | None]: ...
    def write(self, name: str, content: bytes) -> None: ...
    def claim(self, name: str, ending: str) -> str | None: ...
    def size(self, name: str) -> int | None: ...
    def names(self, folder: str) -> list[str]: ...
    def sizes(self, folder: str) -> dict[str, int]: ...
    def tidy(self) -> None: ...
    def look_again(self) -> None: ...


def store_at(place: Place) -> Store:
    """The store of a folder, by its path or file:// URL, or of any other URL that fsspec knows.

    InputError for a name that is not UTF-8: what reads Parquet, pyarrow and DuckDB, opens no such file.
    """
    try:
        str(place).encode()
    except UnicodeEncodeError:
        raise InputError(f"The name of {place} is not UTF-8, and no ledger can be read there; rename it, or give another.") from None
    return ObjectStore(str(place)) if is_url(place) else LocalStore(Path(local(str(place))))


class LocalStore:
    """A folder. A file is written under another name, synced and renamed."""

    filesystem = None

    def __init__(self, place: Path) -> None:
        self.place = place

    def path(self, name: str) -> Path:
        """Where a file lies."""
        return self.place / name

    def read(self, name: str) -> bytes:
        """A whole file; FileNotFoundError where there is none."""
        return (self.place / name).read_bytes()

    def read_each(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Each file, None where it cannot be read."""
        for name in names:
            try:
                yield self.read(name)
            except OSError:
                yield None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all; a full disk is an InputError."""
        with replacing(self.place / name) as file:
            file.write(content)

    def claim(self, name: str, ending: str) -> str | None:
        """A name, without its ending, under which nobody else writes; None where somebody does."""
        return name if reserve(self.place / f"{name}{ending}") else None

    def size(self, name: str) -> int | None:
        """Bytes of a file, None where there is none."""
        path = self.place / name
        return path.stat().st_size if path.exists() else None

    def names(self, folder: str) -> list[str]:
        """Names of what is in a folder, sorted."""
        return sorted(path.name for path in (self.place / folder).glob("*"))

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each file in a folder, by its name."""
        return {path.name: path.stat().st_size for path in (self.place / folder).glob("*")}

    def tidy(self) -> None:
        """Delete what killed processes had begun to write."""
        drop_unfinished(self.place)

    def look_again(self) -> None:
        """A folder is read anew every time."""


class ObjectStore:
    """Objects under a URL. A file is one PUT, which object stores show whole or not at all."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self.filesystem, self._root = filesystem(self.place)
        self.look_again()

    def path(self, name: str) -> str:
        """The URL of an object."""
        return f"{self.place}/{name}"

    def read(self, name: str) -> bytes:
        """A whole object; FileNotFoundError where there is none."""
        try:
            return self.filesystem.cat_file(self._inside(name))
        except FileNotFoundError:
            raise
        except Exception as error:  # every store has errors of its own
            raise self._unreached(error) from error

    def read_each(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Each object, None where there is none; many are asked for at once."""
        paths = map(self._inside, names)
        while some := list(islice(paths, _AT_ONCE)):
            found = self.filesystem.cat(some, on_error="return")
            yield from (self._found(found[path]) for path in some)

    def write(self, name: str, content: bytes) -> None:
        """Write an object by one PUT; InputError where the store refuses it."""
        try:
            self.filesystem.pipe_file(self._inside(name), content)
        except Exception as error:
            raise self._unreached(error) from error

    def claim(self, name: str, ending: str) -> str | None:
        """A name that begins with this one, under which nobody else writes; a later one stands behind an earlier one.

        Not every store can refuse a second PUT of a name, so none is asked to.
        """
        return f"{name}.{time.time_ns():016x}{secrets.token_hex(4)}"

    def size(self, name: str) -> int | None:
        """Bytes of an object, None where there is none."""
        try:
            return self.filesystem.info(self._inside(name))["size"]
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unreached(error) from error

    def names(self, folder: str) -> list[str]:
        """Names of what is in a folder, sorted."""
        return sorted(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each object in a folder, by its name, from one listing."""
        try:
            found = self.filesystem.ls(self._inside(folder), detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise self._unreached(error) from error
        return {own["name"].rstrip("/").rpartition("/")[2]: own["size"] for own in found}

    def tidy(self) -> None:
        """Nothing half written is left in an object store."""

    def look_again(self) -> None:
        """Forget listings, which others may have changed since."""
        self.filesystem.invalidate_cache()

    def _inside(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _found(self, content: bytes | Exception) -> bytes | None:
        if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
            raise self._unreached(content)
        return content if isinstance(content, bytes) else None

    def _unreached(self, error: Exception) -> InputError:
        return InputError(f"{self.place} cannot be used ({error}); once it can, the same command continues.")
