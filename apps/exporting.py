"""The data set of a review as a file that a browser can fetch."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from blip.capfilt import Ledger, Policy, kept
from blip.capfilt.merge import PROVENANCE
from blip.data.writers import Written, write_list, write_parquet
from blip.errors import InputError
from lab.ledgers import world_images


@dataclass(frozen=True)
class Exported:
    """A written data set: its file, its pairs, the kept captions whose image cannot be read, new overrides."""

    file: Path
    pairs: int
    unread: int
    overrides: int


class Exports:
    """Where the exports of a ledger lie; the last one alone, until they are closed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, Lock()
        self._scratch = tempfile.TemporaryDirectory(prefix="blip-lab-studio-")
        self._last: Path | None = None

    def close(self) -> None:
        """Remove what was exported."""
        self._scratch.cleanup()

    def write(self, policy: Policy, form: str, overrides: int) -> Exported:
        """Write the kept pairs as `lab ledger export` does; Gradio has copied the file before it, which goes.

        form: parquet (with the pictures) or json (a zip of the list and its pictures). overrides: how many of
        people's words are new. InputError where there is nothing to write; then nothing is left.
        """
        folder = Path(tempfile.mkdtemp(dir=self._scratch.name))
        try:
            file, written = self._written(policy, form, folder)
            if not written.pairs:
                first = f"; the first image cannot be read: {written.rejects[0].reason}" if written.rejects else ""
                raise InputError(f"No kept caption can be exported under {policy}{first}; lower a threshold or see lab ledger export.")
        except BaseException:
            shutil.rmtree(folder)
            raise
        with self._lock:
            before, self._last = self._last, folder
        if before is not None:
            shutil.rmtree(before)
        return Exported(file, written.pairs, len(written.rejects), overrides)

    def _written(self, policy: Policy, form: str, folder: Path) -> tuple[Path, Written]:
        records = kept(self._ledger, policy, world_images(self._ledger))
        if form == "parquet":
            file = folder / "pairs.parquet"
            return file, write_parquet(records, file, PROVENANCE)
        written = write_list(records, folder / "pairs" / "pairs.json")
        if written.paths:  # none where no image can be read
            shutil.make_archive(str(folder / "pairs"), "zip", folder / "pairs")
            shutil.rmtree(folder / "pairs")
        return folder / "pairs.zip", written
