"""Rows of a user's Parquet file, a few at a time, with limits on what a small file may unfold to."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ..storage.files import exact_path
from .absent import without_absent
from .guard import has_nul
from .records import Record, Reject, RowError, reject, with_unnamed
from .remarks import UNREADABLE, Remark
from .streams import MAX_DECOMPRESSION_RATIO

_BATCH_ROWS: Final = 256
# Below this much content no ratio is dangerous.
_FREE_CONTENT_BYTES: Final = 1 << 20
# A null or a number weighs this much, so that billions of them in a few bytes are noticed too.
VALUE_BYTES: Final = 8


def read_parquet_rows(path: Path, max_row_bytes: int) -> Iterator[Record | Reject]:
    """The file's rows as dicts; the first is 1.

    A file that does not open gives one reject; a damaged row group gives its rows up to the damage and one reject.
    """
    budget = content_budget(path)
    try:
        with pq.ParquetFile(exact_path(path), read_dictionary=text_columns(path)) as file:
            before = 0
            for group in range(file.num_row_groups):
                for row, weight in group_rows(file, group, before, max_row_bytes):
                    yield row
                    budget -= weight
                    if budget < 0:
                        detail = f"unfolds to more than {MAX_DECOMPRESSION_RATIO} times the file's size"
                        yield Reject(row.line + 1, "decompression_ratio", detail, "")
                        return
                before += file.metadata.row_group(group).num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Reject(0, "unreadable_parquet", f"the file does not open ({type(error).__name__})", "")


def content_budget(path: Path) -> int:
    """Bytes that the file's rows may weigh together."""
    return max(_FREE_CONTENT_BYTES, MAX_DECOMPRESSION_RATIO * path.stat().st_size)


def group_rows(file: Any, group: int, before: int, max_row_bytes: int) -> Iterator[tuple[Record | Reject, int]]:
    """Each row of a row group with its weight; where a page is damaged, what follows in the group is one reject."""
    end = before + file.metadata.row_group(group).num_rows
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
            yield from batch_rows(batch, before, max_row_bytes)
            before += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        detail = f"{end - before} rows of row group {group} are not readable from here on ({type(error).__name__})"
        yield Reject(before + 1, "unreadable_parquet", detail, ""), VALUE_BYTES


def text_columns(path: Path) -> list[str]:
    """Columns of plain text: kept as dictionaries, a long text that repeats is held once."""
    schema = pq.read_schema(exact_path(path))
    return [field.name for field in schema if pa.types.is_string(field.type)]


def batch_rows(batch: Any, before: int, max_row_bytes: int) -> Iterator[tuple[Record | Reject, int]]:
    """Each row of a batch with its weight."""
    names = with_unnamed(batch.schema.names)
    columns = [python_times(column) for column in batch.columns]
    for index in range(batch.num_rows):
        try:
            if len(set(names)) != len(names):
                raise RowError("duplicate_key", "the table has two columns of one name")
            formless: list[Remark] = []
            value = {name: _value(name, column[index], formless) for name, column in zip(names, columns, strict=True)}
            yield _guarded(Record(before + index + 1, value, None, tuple(formless)), max_row_bytes), _weight(value)
        except UnicodeDecodeError:
            yield Reject(before + index + 1, "invalid_utf8", "a text of the row is not UTF-8", ""), VALUE_BYTES
        except RowError as error:
            yield Reject(before + index + 1, error.reason, error.detail, ""), VALUE_BYTES * len(names)


def _value(name: str, cell: Any, formless: list[Remark]) -> Any:
    """The value; None where it is the NaN that stands for a missing number.

    A date that Python does not have, or a time of an unknown zone, is None too, and is told in `formless`: most
    stand in columns that nothing reads.
    """
    try:
        value = cell.as_py()
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError):
        formless.append(Remark(UNREADABLE, f"{name}: a date or time out of range"))
        return None
    if isinstance(value, dict | list):
        return without_absent(value, name)
    return None if isinstance(value, float) and math.isnan(value) else value


def python_times(column: Any) -> Any:
    """Times in microseconds, which Python's have; the nanoseconds that pandas writes would not convert.

    A time with a zone is kept as that of UTC: the moment is the same, and not every zone is known everywhere.
    """
    if not pa.types.is_timestamp(column.type):
        return column
    unit = "us" if column.type.unit == "ns" else column.type.unit
    return column.cast(pa.timestamp(unit, tz=column.type.tz and "UTC"), safe=False)


def _guarded(record: Record, max_row_bytes: int) -> Record | Reject:
    if _weight(record.value) > max_row_bytes:
        return Reject(record.line, "line_too_long", f"more than {max_row_bytes} bytes", "")
    if has_nul(record.value):
        return reject(record, RowError("nul_character", "a text holds U+0000"))
    return record


def _weight(value: Any) -> int:
    """About how many bytes a decoded value takes."""
    if isinstance(value, str | bytes):
        return VALUE_BYTES + len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return sum(map(_weight, value)) if isinstance(value, list) else VALUE_BYTES
