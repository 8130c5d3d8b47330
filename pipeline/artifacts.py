"""The only Parquet reader and writer: atomic files, digests, manifests, and folders that appear whole or not at all."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import InputError, TableError
from pipeline.tables import has_columns_of, polars_schema

MANIFEST: Final = "manifest.json"
# A row group this size keeps a reader's memory small and its files near the size of larger groups.
_ROW_GROUP_ROWS: Final = 50_000
# Rows that a stage holds at a time, as many prompts as that is.
_PART_ROWS: Final = 50_000
_READ_BYTES: Final = 1 << 20
# A file changed this shortly ago may change again without its time telling: its digest is not kept.
_SETTLED_SECONDS: Final = 2.0
_logger = logging.getLogger(__name__)


class TableRecord(BaseModel):
    """One table that a stage wrote."""

    model_config = ConfigDict(frozen=True)

    file: str
    rows: int
    sha256: str


class Counts(BaseModel):
    """Rows through a stage; `rows_in == rows_out + merged + rejected` holds in every stage that says so."""

    model_config = ConfigDict(frozen=True)

    rows_in: int
    rows_out: int
    merged: int = 0
    rejected: int = 0

    def check(self, stage: str) -> None:
        """Raise TableError unless no row was lost."""
        if self.rows_in != self.rows_out + self.merged + self.rejected:
            raise TableError(
                f"{stage}: {self.rows_in} rows in, but {self.rows_out} out + {self.merged} merged + "
                f"{self.rejected} rejected = {self.rows_out + self.merged + self.rejected}."
            )


class Manifest(BaseModel):
    """What a finished stage did, from what, and what it wrote."""

    model_config = ConfigDict(frozen=True)

    stage: str
    fingerprint: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, TableRecord]
    files: dict[str, str] = {}
    counts: Counts
    notes: dict[str, Any] = {}
    seconds: float
    finished_at: str


def digest_text(*parts: str) -> str:
    """32 hexadecimal digits of a SHA-256 over the parts, each preceded by its length."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", errors="surrogatepass")
        hasher.update(f"{len(data)}:".encode())
        hasher.update(data)
    return hasher.hexdigest()[:32]


def digest_json(value: object) -> str:
    """32 hexadecimal digits over `value` as canonical JSON."""
    return digest_text(json.dumps(value, sort_keys=True, ensure_ascii=True, default=str))


def digest_file(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


def cache_dir() -> Path:
    """Where what can be made again is kept: `THUMBLINE_CACHE`, else `thumbline` in the user's cache folder."""
    own = os.environ.get("THUMBLINE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thumbline"


def cached_digest(path: Path, digest: Callable[[Path], str] = digest_file) -> str:
    """The file's digest, from the cache where the file is the one that was read before.

    Args:
        path: A file.
        digest: Computes it where the cache has none.
    """
    status = path.stat()
    identity = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
    entry = cache_dir() / "digests" / f"{digest_json(identity)}.json"
    if entry.is_file():
        try:
            return str(json.loads(entry.read_text(encoding="utf-8"))["sha256"])
        except (ValueError, KeyError, TypeError):
            entry.unlink(missing_ok=True)
    found = digest(path)
    if time.time() - status.st_mtime <= _SETTLED_SECONDS:
        return found
    try:
        write_text(entry, json.dumps({"file": identity, "sha256": found}))
    except OSError as error:
        # A home that cannot be written to costs time, nothing else.
        _logger.debug("The digest of %s is not kept: %s", path, error)
    return found


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name, synced to disk, once the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_parquet(path: Path, frame: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> None:
    """Write `frame`, atomically; the same rows give the same bytes.

    Args:
        path: Where the file goes.
        frame: Rows of any schema.
        metadata: Key-value pairs for the file's own metadata.
    """
    with atomic_file(path) as temporary:
        frame.write_parquet(
            temporary,
            compression="zstd",
            statistics=True,
            row_group_size=_ROW_GROUP_ROWS,
            metadata=dict(metadata) if metadata is not None else None,
        )


def read_parquet(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """The rows of a user's own Parquet file.

    Raises:
        InputError: The file is missing, or it is no whole Parquet file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        return pl.read_parquet(path, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not readable as Parquet ({type(error).__name__}); is it whole?") from error


def read_parquet_metadata(path: Path) -> dict[str, str]:
    """The key-value metadata of a Parquet file."""
    return dict(pl.read_parquet_metadata(path))


def read_table(path: Path, table: str) -> pl.DataFrame:
    """The rows of one of our tables; its values were checked when it was written.

    Raises:
        TableError: The file's columns are not those of `table` (another version wrote it).
    """
    frame = read_parquet(path)
    _check_columns(path, table, frame.schema)
    return frame


def _check_columns(path: Path, table: str, found: pl.Schema) -> None:
    if not has_columns_of(table, found):
        expected = list(polars_schema(table))
        raise TableError(
            f"{path}: columns differ from those of table '{table}': {list(found)} against {expected}. "
            f"Another version wrote it: run the stage again."
        )


def read_parts(path: Path, table: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """A table in bounded parts, in its order; at least one part.

    A part is a row group as `writing` makes them, so that each is decoded once, by all threads; of a file with other
    row groups `blocks.iter_table` reads as much at a time.

    Args:
        path: Its file.
        table: A name in `tables.TABLES`.
        columns: Those to read; None: all.

    Raises:
        TableError: The file's columns are not those of `table`.
    """
    scan = pl.scan_parquet(path)
    _check_columns(path, table, scan.collect_schema())
    total = scan.select(pl.len()).collect().item()
    scan = scan.select(columns or polars_schema(table).names())
    for start in range(0, max(total, 1), _PART_ROWS):
        yield scan.slice(start, _PART_ROWS).collect()


def read_by_prompt(path: Path, table: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """A table that is sorted by prompt_id, in parts that no prompt crosses; at least one part.

    A part is bounded by the largest prompt.

    Args:
        path: Its file.
        table: A name in `tables.TABLES`.
        columns: Those to read, `prompt_id` among them; None: all.

    Raises:
        TableError: The file's columns are not those of `table`.
    """
    parts = read_parts(path, table, columns)
    held = next(parts)
    for part in parts:
        others = (held["prompt_id"] != held["prompt_id"][-1]).arg_true()
        # Slices share the rows' memory; filtering would copy all texts.
        whole = int(others[-1]) + 1 if len(others) else 0
        if whole:
            yield held.head(whole)
        held = pl.concat([held.slice(whole), part])
    yield held


def read_manifest(stage_dir: Path) -> Manifest | None:
    """The manifest of a finished stage; None where the stage never finished."""
    path = stage_dir / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        return None


def missing_outputs(stage_dir: Path, manifest: Manifest) -> list[str]:
    """Names of outputs that the manifest lists and the folder lacks."""
    listed = [record.file for record in manifest.outputs.values()] + list(manifest.files)
    return [name for name in listed if not (stage_dir / name).exists()]


def partial_dir(stage_dir: Path) -> Path:
    """Where a stage works until it is done."""
    return stage_dir.with_name(f"{stage_dir.name}.partial")


def open_partial(stage_dir: Path, fingerprint: str) -> Path:
    """The stage's working folder: what an interrupted run of the same fingerprint left, else an empty one."""
    folder = partial_dir(stage_dir)
    marker = folder / ".fingerprint"
    if folder.exists() and (not marker.is_file() or marker.read_text(encoding="utf-8") != fingerprint):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(marker, fingerprint)
    return folder


def publish(stage_dir: Path, manifest: Manifest) -> None:
    """Write the manifest into the working folder, last, and let the folder take the stage's name."""
    folder = partial_dir(stage_dir)
    write_text(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    recover_published(stage_dir)


def recover_published(stage_dir: Path) -> None:
    """Finish a publication that was interrupted between its manifest and its rename."""
    folder = partial_dir(stage_dir)
    if read_manifest(folder) is None:
        return
    if stage_dir.exists():
        shutil.rmtree(stage_dir)
    (folder / ".fingerprint").unlink(missing_ok=True)
    folder.replace(stage_dir)
    _sync(stage_dir.parent)


def user_table_format(path: Path) -> Literal["parquet", "jsonl"]:
    """How a user's file is to be read, by its name.

    Raises:
        InputError: The name ends in neither.
    """
    if path.suffix == ".parquet":
        return "parquet"
    if path.suffix in {".jsonl", ".ndjson", ".json"}:
        return "jsonl"
    raise InputError(f"{path}: expected a .parquet or .jsonl file, not '{path.suffix}'.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
