"""What a finished stage leaves beside its tables, and stage folders that appear whole or not at all."""

import os
import shutil
from pathlib import Path
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict

from ..errors import TableError
from .attached import lies_there, publish_there
from .digests import cached_digest
from .documents import document_of, document_text
from .files import sync, write_text

MANIFEST: Final = "manifest.json"
# Names the fingerprint that a working folder is of.
_MARKER: Final = ".fingerprint"
_PARTIAL: Final = ".partial"


class TableRecord(BaseModel):
    """One table that a stage wrote."""

    model_config = ConfigDict(frozen=True)

    file: str
    rows: int
    sha256: str


class Counts(BaseModel):
    """Rows through a stage: what the rows in gave is `rows_out + merged + rejected`, in every stage.

    Attributes:
        rows_in: Rows that it read.
        rows_out: Rows that it kept.
        merged: Rows that became part of another row.
        rejected: Rows that it set aside.
        gave: How many rows the rows in gave, where one may give several or none; None: as many as they are.
        made: What else was made of the rows that were kept, by name: pairs of prompts.
    """

    model_config = ConfigDict(frozen=True)

    rows_in: int
    rows_out: int
    merged: int = 0
    rejected: int = 0
    gave: int | None = None
    made: dict[str, int] = {}

    @property
    def given(self) -> int:
        """How many rows the rows in gave."""
        return self.rows_in if self.gave is None else self.gave

    @property
    def adds_up(self) -> bool:
        """Whether no row was lost."""
        return self.given == self.rows_out + self.merged + self.rejected

    def check(self, stage: str) -> None:
        """Raise TableError unless no row was lost."""
        if not self.adds_up:
            gave = "" if self.given == self.rows_in else f" gave {self.gave}"
            raise TableError(
                f"{stage}: {self.rows_in} rows in{gave}, but {self.rows_out} out + {self.merged} merged + "
                f"{self.rejected} rejected = {self.rows_out + self.merged + self.rejected}."
            )


def value_counts(values: pl.Series) -> dict[str, int]:
    """How often each value is there, as a manifest's notes say it."""
    return {str(value): count for value, count in values.value_counts().sort(values.name).iter_rows()}


class Manifest(BaseModel):
    """What a finished stage did, from what, and what it wrote.

    Attributes:
        outputs: Its tables.
        files: Other files and folders, with the digest that later stages hang on.
        contents: SHA-256 of every file in its folder, by its path in there; none where an older version wrote it.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    fingerprint: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, TableRecord]
    files: dict[str, str] = {}
    contents: dict[str, str] = {}
    counts: Counts
    notes: dict[str, Any] = {}
    seconds: float
    finished_at: str

    @property
    def said(self) -> tuple[str, ...]:
        """Sentences that a person should read: what was set aside, told apart or taken for something else."""
        return tuple(self.notes.get("said", ()))


def manifest_text(manifest: Manifest) -> str:
    """A manifest as its file holds it: JSON whose first key is the digest of all others."""
    return document_text(manifest.model_dump(mode="json"))


def read_manifest(stage_dir: Path) -> Manifest | None:
    """The manifest of a finished stage; None where the stage never finished, or the file is damaged (`is_damaged`)."""
    path = stage_dir / MANIFEST
    try:
        # To open a pipe would wait for who writes to it.
        return manifest_of(path.read_bytes()) if path.is_file() else None
    except OSError:
        return None


def manifest_of(text: bytes) -> Manifest | None:
    """The manifest that a file holds; None where it is none, or not as it was written."""
    document = document_of(text)
    try:
        return None if document is None else Manifest.model_validate(document)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def is_damaged(stage_dir: Path) -> bool:
    """Whether a manifest lies there that is none, or not as it was written."""
    return (stage_dir / MANIFEST).exists() and read_manifest(stage_dir) is None


def missing_outputs(stage_dir: Path, manifest: Manifest) -> list[str]:
    """Names of outputs that the manifest lists, and neither the folder has nor the run's address, where it has one."""
    listed = [record.file for record in manifest.outputs.values()] + list(manifest.files)
    return [name for name in listed if not (stage_dir / name).exists() and not lies_there(stage_dir / name)]


def partial_dir(stage_dir: Path) -> Path:
    """Where a stage works until it is done."""
    return stage_dir.with_name(f"{stage_dir.name}{_PARTIAL}")


def stage_of_partial(folder: Path) -> str:
    """Name of the stage that works in a folder."""
    return folder.name.removesuffix(_PARTIAL)


def fingerprint_in(folder: Path) -> str | None:
    """What the work in a stage's working folder belongs to; None where the folder is none."""
    if not folder.name.endswith(_PARTIAL):
        return None
    marker = folder / _MARKER
    # Bytes that are no text belong to nothing that goes on.
    return marker.read_text(encoding="utf-8", errors="replace") if marker.is_file() else None


def open_partial(stage_dir: Path, fingerprint: str) -> Path:
    """The stage's working folder: what an interrupted run of the same fingerprint left, else an empty one.

    Hidden files and folders are of use to nobody but the process that made them: of those nothing is left.
    """
    folder = partial_dir(stage_dir)
    if folder.exists() and fingerprint_in(folder) != fingerprint:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_hidden(folder)
    write_text(folder / _MARKER, fingerprint)
    return folder


def adopt_partial(stage_dir: Path, fingerprint: str) -> None:
    """Give a working folder that was filled before its fingerprint was known the fingerprint."""
    write_text(partial_dir(stage_dir) / _MARKER, fingerprint)


def _remove_hidden(folder: Path, keep: str = "") -> None:
    """Delete what a process that was killed could not delete itself, but for one file of that name at the top."""
    for path in list(folder.rglob(".*")):
        if path == folder / keep:
            continue
        if path.is_dir() and not path.is_symlink():
            # Not all may go at once: a worker of the killed process may still be writing.
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def publish(stage_dir: Path, manifest: Manifest) -> Manifest:
    """Write the manifest into the working folder, last, and let the folder take the stage's name.

    Of a run at an address the folder is uploaded before.

    Hidden files go before: a worker may have outlived the killed process whose work was resumed here by a moment.

    Returns:
        The manifest as it was written, with the digest of each file beside it.
    """
    folder = partial_dir(stage_dir)
    _remove_hidden(folder, keep=_MARKER)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    own = [name for name in names if name not in {MANIFEST, _MARKER}]
    written = manifest.model_copy(update={"contents": {name: cached_digest(folder / name) for name in own}})
    write_text(folder / MANIFEST, manifest_text(written))
    publish_there(stage_dir, folder, written)
    recover_published(stage_dir)
    return written


def recover_published(stage_dir: Path) -> None:
    """Finish a publication that was interrupted between its manifest and its rename."""
    folder = partial_dir(stage_dir)
    if read_manifest(folder) is None:
        return
    if stage_dir.exists():
        shutil.rmtree(stage_dir)
    (folder / _MARKER).unlink(missing_ok=True)
    folder.replace(stage_dir)
    sync(stage_dir.parent)


def link_stage(source: Path, stage_dir: Path) -> None:
    """Give a stage the finished folder of another run: its files under a second name, whole or not at all.

    Nothing is copied, and neither folder needs the other: no published file is ever written to again.

    Args:
        source: The stage's folder in the other run.
        stage_dir: Where it is to lie; what lies there is replaced.
    """
    folder = partial_dir(stage_dir)
    if folder.exists():
        shutil.rmtree(folder)
    for path in sorted(source.rglob("*")):
        if path.is_file() and path != source / MANIFEST:
            _link(path, folder / path.relative_to(source))
    _link(source / MANIFEST, folder / MANIFEST)
    manifest = read_manifest(folder)
    if manifest is not None:
        publish_there(stage_dir, folder, manifest)
    recover_published(stage_dir)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without hard links.
        target.symlink_to(source.resolve())
