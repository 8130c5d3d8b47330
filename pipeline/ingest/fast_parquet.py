"""Rows of a product log in Parquet to columns, many at a time, where every row reads as the exact way would read it.

A batch of plain columns is taken as it is. Rows with a NUL, a blank text, an unknown label or an odd time go the exact
way, one at a time; so do all rows of a group that does not decode, or that unfolds too far.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..importers.base import Batch
from ..importers.shared.written import BEGINS
from ..importers.thumbs_jsonl import AROUND, SYSTEM, Layout
from ..reading.parquet_rows import VALUE_BYTES, batch_rows, content_budget, group_rows, python_times, text_columns
from ..reading.records import Reject
from ..reading.remarks import UNREAD, Remark, Remarks
from ..reading.streams import MAX_DECOMPRESSION_RATIO
from ..storage.columns import arrow_number, asked_messages
from ..storage.files import exact_path
from .fast_lines import IDENTIFIERS, NOT_BLANK, exactly, iso_moment, not_empty, votes_of

_BATCH_ROWS: Final = 8_192
# A batch whose texts are larger goes the exact way, a few rows at a time.
_BATCH_BYTES: Final = 64 << 20
_EARLIEST_YEAR: Final = 1990
_LATEST_YEAR: Final = 2100


class RowGroups(NamedTuple):
    """Row groups of a Parquet file, from `start` up to `stop`, and how large they are uncompressed."""

    start: int
    stop: int
    content_bytes: int


class ParquetRows(NamedTuple):
    """Some rows of a part: columns of raw events, what the other rows gave, and how many rows have passed.

    `remarks` is what else was seen of the rows in `events`.
    """

    events: pl.DataFrame | None
    rest: Batch
    remarks: Remarks
    lines: int


def has_plain_columns(path: Path, layout: Layout) -> bool:
    """Whether the file opens and each of its columns is of a type that is read fast."""
    try:
        schema = pq.read_schema(path)
        kinds = {field.name: field.type for field in schema}
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return False
    texts = [layout.columns["prompt"], layout.columns["completion"], layout.columns["vote"]]
    texts += [layout.columns[name] for name in AROUND if name in layout.columns]
    ids = [layout.columns[field] for field in IDENTIFIERS.values() if field in layout.columns]
    time = layout.columns.get("created_at")
    return (
        len(kinds) == len(schema)
        and layout.watched.isdisjoint(kinds)
        and all(map(_is_plain, kinds.values()))
        and all(_is_text(kinds[name]) for name in texts)
        and all(_is_text(kinds[name]) or pa.types.is_integer(kinds[name]) for name in ids)
        and (time is None or _is_text(kinds[time]) or pa.types.is_timestamp(kinds[time]))
        and len({*texts, *ids, time}) == len(texts) + len(ids) + 1
    )


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: Any) -> bool:
    types = pa.types
    return _is_text(kind) or any(
        check(kind) for check in (types.is_integer, types.is_floating, types.is_boolean, types.is_timestamp)
    )


def row_group_parts(path: Path, unit_bytes: int) -> list[RowGroups]:
    """The file's row groups in parts of about `unit_bytes` of content; none where there is one part."""
    with pq.ParquetFile(exact_path(path)) as file:
        sizes = [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]
    parts: list[RowGroups] = []
    start = held = 0
    for group, size in enumerate(sizes):
        held += size
        if held >= unit_bytes:
            parts.append(RowGroups(start, group + 1, held))
            start, held = group + 1, 0
    if start < len(sizes):
        parts.append(RowGroups(start, len(sizes), held))
    return parts if len(parts) > 1 else []


def read_parquet_fast(path: Path, layout: Layout, part: RowGroups | None, max_row_bytes: int) -> Iterator[ParquetRows]:
    """The rows of a file of plain columns, or of a part of it, numbered from 1."""
    budget = content_budget(path)
    with pq.ParquetFile(exact_path(path), read_dictionary=text_columns(path)) as file:
        groups = range(file.num_row_groups) if part is None else range(part.start, part.stop)
        sizes = [file.metadata.row_group(group).num_rows for group in groups]
        for group, before in zip(groups, accumulate(sizes, initial=0), strict=False):
            for rows, weight in _group(file, group, before, layout, max_row_bytes):
                yield rows
                budget -= weight
                if budget < 0:
                    detail = f"unfolds to more than {MAX_DECOMPRESSION_RATIO} times the file's size"
                    cut = Reject(rows.lines + 1, "decompression_ratio", detail, "")
                    yield ParquetRows(None, Batch([], [cut], 1), Remarks(), sum(sizes))
                    return
        # Whatever could not be read: the rows of the next part are counted from here.
        yield ParquetRows(None, Batch([], [], 0), Remarks(), sum(sizes))


def _group(file: Any, group: int, before: int, layout: Layout, max_row_bytes: int) -> Iterator[tuple[ParquetRows, int]]:
    """The rows of one row group with the weight of their content."""
    read = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
            weights = _weights(batch)
            total = int(pc.sum(weights).as_py() or 0)
            if total > _BATCH_BYTES:
                break
            batch.validate(full=True)
            yield _batch(batch, before + read, layout, weights, max_row_bytes), total
            read += batch.num_rows
        else:
            return
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        pass
    for row, weight in group_rows(file, group, before, max_row_bytes):
        if row.line > before + read:
            yield ParquetRows(None, exactly([row], layout), Remarks(), row.line), weight


def _weights(batch: Any) -> Any:
    """(rows,) int64: about how many bytes each row takes decoded; texts are not decoded for it."""
    none, value = arrow_number(0), arrow_number(VALUE_BYTES)
    total = pl.zeros(batch.num_rows, dtype=pl.Int64, eager=True).to_arrow()
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.cast(pc.binary_length(column.dictionary), pa.int64()).take(column.indices)
            total = pc.add(total, pc.fill_null(lengths, none))
        elif _is_text(column.type):
            total = pc.add(total, pc.fill_null(pc.cast(pc.binary_length(column), pa.int64()), none))
        total = pc.add(total, value)
    return total


def _batch(batch: Any, before: int, layout: Layout, weights: Any, max_row_bytes: int) -> ParquetRows:
    frame = _frame(batch)
    columns = layout.columns
    moment = _moment(frame, columns.get("created_at"))
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    blank = [~pl.col(columns[name]).str.contains(NOT_BLANK).fill_null(False) for name in ("prompt", "completion")]
    told = [pl.col(columns[name]).str.contains(BEGINS).fill_null(False) for name in ("prompt", "completion")]
    nul = [pl.col(name).str.contains("\x00", literal=True).fill_null(False) for name in texts]
    rows = frame.with_columns(
        source_line=pl.int_range(1, frame.height + 1, dtype=pl.Int64) + before,
        moment=moment,
        vote_code=votes_of(frame[columns["vote"]], layout.votes),
        too_long=pl.Series(weights) > max_row_bytes,
    )
    parts = [name for name in AROUND if name in columns and name != SYSTEM]
    around = [pl.col(columns[name]).str.contains(NOT_BLANK).fill_null(False) for name in parts]
    odd_time = _odd_time(rows, columns.get("created_at"))
    good = rows.select(
        ~pl.any_horizontal("too_long", pl.col("vote_code").is_null(), odd_time, *blank, *told, *nul, *around)
    ).to_series()
    kept = rows.filter(good)
    ids = {name: not_empty(_column(columns.get(field)).cast(pl.String)) for name, field in IDENTIFIERS.items()}
    system = _column(columns.get(SYSTEM))
    systems = kept.select(system=pl.when(system.str.contains(NOT_BLANK)).then(system))
    events = kept.select(
        "source_line",
        pl.col("vote_code").alias("vote"),
        pl.col("moment").alias("created_at"),
        pl.col(columns["completion"]).alias("completion"),
        prompt=asked_messages(systems["system"], kept[columns["prompt"]]),
        **ids,
    )
    others = [
        row
        for index in (~good).arg_true()
        for row, _ in batch_rows(batch.slice(index, 1), before + index, max_row_bytes)
    ]
    return ParquetRows(events, exactly(others, layout), _unread(kept, texts, columns), before + batch.num_rows)


def _unread(kept: pl.DataFrame, texts: list[str], columns: Mapping[str, str]) -> Remarks:
    """The columns of text that make no part of an event, with the rows that have one."""
    names = [name for name in texts if name not in columns.values()]
    counts = kept.select((pl.col(name).str.len_bytes() > 0).sum() for name in names).row(0) if names else ()
    return Remarks({Remark(UNREAD, name): count for name, count in zip(names, counts, strict=True) if count})


def _frame(batch: Any) -> pl.DataFrame:
    decoded = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    return pl.DataFrame(
        [pl.Series(name, python_times(column)) for name, column in zip(batch.schema.names, decoded, strict=True)]
    )


def _column(name: str | None) -> pl.Expr:
    return pl.lit(None, dtype=pl.String) if name is None else pl.col(name)


def _moment(frame: pl.DataFrame, name: str | None) -> pl.Expr:
    if name is None or frame.schema[name] == pl.String:
        return iso_moment(_column(name))
    time = pl.col(name).cast(pl.Datetime("us", getattr(frame.schema[name], "time_zone", None)))
    zone = getattr(frame.schema[name], "time_zone", None)
    return time.dt.replace_time_zone("UTC") if zone is None else time.dt.convert_time_zone("UTC")


def _odd_time(rows: pl.DataFrame, name: str | None) -> pl.Expr:
    if name is None:
        return pl.lit(False)
    if rows.schema[name] == pl.String:
        return pl.col("moment").is_null() & pl.col(name).is_not_null() & (pl.col(name) != "")
    year = pl.col("moment").dt.year()
    return ((year < _EARLIEST_YEAR) | (year >= _LATEST_YEAR)).fill_null(False)
