"""The data set in TRL's layout: a Parquet file a kind and split, a card, and the rows that no trainer takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ..config import RunConfig
from ..storage.digests import digest_file, digest_text
from ..storage.files import atomic_file, write_text
from ..storage.parquet import write_parquet
from ..tables import SPLIT
from .card import CARD, dataset_card
from .lines import LEFT_OUT, REJECTS, Reject, json_line
from .messages import carries_more, json_messages, plain_messages, write_messages
from .rows import KINDS, REASON, ROW_ID, Kind, Place, placed_parts, read_splits


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
            rows = pl.concat(list(placed_parts(config.run_dir, kind, splits))).filter(
                pl.col("split").is_in(list(wanted))
            )
            for reject in _rejects(rows, kind):
                left_out[reject.reason] += 1
                rejects.write(json_line(reject.line()))
            usable = rows.filter(pl.col(REASON).is_null()).drop(REASON)
            extras[kind] = _extras(usable, kind)
            written |= _write_kind(folder, kind, usable, extras[kind], wanted)
    digest = digest_text(*(digest_file(folder / name) for name in written))
    write_text(folder / CARD, dataset_card(config, written, digest, left_out, extras))
    return Dataset(written, dict(left_out))


def _rejects(rows: pl.DataFrame, kind: Kind) -> list[Reject]:
    columns = (ROW_ID[kind], "prompt_id", "split", REASON)
    out = rows.filter(pl.col(REASON).is_not_null()).select(columns)
    return [Reject(kind, Place(*place), reason, LEFT_OUT[reason]) for *place, reason in out.iter_rows()]


def _extras(rows: pl.DataFrame, kind: Kind) -> set[str]:
    """Which of the card's extras the rows have."""
    has_tools = "tools" in rows.columns and rows["tools"].null_count() < rows.height
    return ({"tools"} if has_tools else set()) | ({"messages"} if carries_more(rows, kind) else set())


def _write_kind(
    folder: Path, kind: Kind, rows: pl.DataFrame, extras: set[str], wanted: Sequence[str]
) -> dict[str, int]:
    """A file a split, all of the same columns; those of splits that are not wanted are removed."""
    if "tools" not in extras:
        rows = rows.drop("tools", strict=False)
    is_json = "messages" in extras
    shaped = json_messages(rows, kind) if is_json else plain_messages(rows, kind)
    written = {}
    for split in SPLIT.categories:
        name = f"{kind}/{split}.parquet"
        if split in wanted:
            part = shaped.filter(pl.col("split") == split).drop("split")
            if is_json:
                write_messages(folder / name, part, kind)
            else:
                write_parquet(folder / name, part)
            written[name] = part.height
        else:
            (folder / name).unlink(missing_ok=True)
    return written
