"""The data set in TRL's layout: a Parquet file a kind and split, a card, and the rows that no trainer takes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from ..config import RunConfig
from ..storage.digests import digest_file, digest_text
from ..storage.files import atomic_file, write_text
from ..storage.parquet import ParquetWriter, as_plain_arrow, may_hold
from ..tables import SPLIT
from .card import CARD, dataset_card
from .lines import LEFT_OUT, REJECTS, Reject, json_line
from .messages import carries_more, json_messages, plain_messages, typed_messages
from .rows import KINDS, REASON, ROW_ID, Kind, Place, placed_parts, read_splits, table_path

# Raised where files of the same rows have other bytes or columns, and so the card another digest.
VERSION: Final = 2
_EXTRA_COLUMNS: Final = ("tools", "extra")


class Dataset(NamedTuple):
    """What was written.

    Attributes:
        rows: Rows by file, relative to the data set's folder.
        left_out: Rows that no trainer takes, by reason.
    """

    rows: Mapping[str, int]
    left_out: Mapping[str, int]


def write_dataset(config: RunConfig, folder: Path, wanted: Sequence[str] = tuple(SPLIT.categories)) -> Dataset:
    """Write the rows of a run as a data set that `datasets` loads, TRL trains on and the hub takes.

    Args:
        config: A run that has reached its splits.
        folder: Where it goes.
        wanted: Splits that are written.

    Raises:
        InputError: The run has not reached its splits.
    """
    splits = read_splits(config.run_dir)
    written: dict[str, int] = {}
    left_out: Counter[str] = Counter()
    extras: dict[str, set[str]] = {}
    with atomic_file(folder / REJECTS) as path, path.open("wb") as rejects:
        for kind in KINDS:
            extras[kind] = _extras(config.run_dir, kind, splits, wanted)
            names = {split: f"{kind}/{split}.parquet" for split in SPLIT.categories}
            for split in set(names) - set(wanted):
                (folder / names[split]).unlink(missing_ok=True)
            with ExitStack() as open_files:
                paths = {
                    split: open_files.enter_context(atomic_file(folder / name))
                    for split, name in names.items()
                    if split in wanted
                }
                files = _Files(kind, extras[kind], paths)
                for part in placed_parts(config.run_dir, kind, splits, wanted):
                    for reject in _rejects(part, kind):
                        left_out[reject.reason] += 1
                        rejects.write(json_line(reject.line()))
                    files.write(part.filter(pl.col(REASON).is_null()).drop(REASON))
                written |= {names[split]: rows for split, rows in files.close().items()}
    digest = digest_text(*(digest_file(folder / name) for name in written))
    write_text(folder / CARD, dataset_card(config, written, digest, left_out, extras))
    return Dataset(written, dict(left_out))


def _rejects(rows: pl.DataFrame, kind: Kind) -> list[Reject]:
    columns = (ROW_ID[kind], "prompt_id", "split", REASON)
    out = rows.filter(pl.col(REASON).is_not_null()).select(columns)
    return [Reject(kind, Place(*place), reason, LEFT_OUT[reason]) for *place, reason in out.iter_rows()]


def _extras(run_dir: Path, kind: Kind, splits: pl.DataFrame, wanted: Collection[str]) -> set[str]:
    """Which of the card's extras the rows have; most tables say by their footer that they have none."""
    if not may_hold(table_path(run_dir, kind), _EXTRA_COLUMNS):
        return set()
    found: set[str] = set()
    for part in placed_parts(run_dir, kind, splits, wanted):
        rows = part.filter(pl.col(REASON).is_null())
        has_tools = "tools" in rows.columns and rows["tools"].null_count() < rows.height
        found |= ({"tools"} if has_tools else set()) | ({"messages"} if carries_more(rows, kind) else set())
    return found


class _Files:
    """Files of one kind of rows, one a split, all of the same columns."""

    def __init__(self, kind: Kind, extras: set[str], paths: Mapping[str, Path]) -> None:
        """Begin a file at each of `paths`, which are by split."""
        self._kind, self._extras = kind, extras
        as_arrow = partial(typed_messages, kind=kind) if "messages" in extras else as_plain_arrow
        self._writers = {split: ParquetWriter(path, as_arrow=as_arrow) for split, path in paths.items()}
        self._schema = pl.Schema()

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows of any of the splits."""
        if "tools" not in self._extras:
            rows = rows.drop("tools", strict=False)
        shaped = (json_messages if "messages" in self._extras else plain_messages)(rows, self._kind)
        self._schema = shaped.drop("split").schema
        for split, writer in self._writers.items():
            part = shaped.filter(pl.col("split") == split).drop("split")
            if part.height:
                writer.write(part)

    def close(self) -> dict[str, int]:
        """End the files; their rows by split."""
        return {split: writer.close(self._schema) for split, writer in self._writers.items()}
