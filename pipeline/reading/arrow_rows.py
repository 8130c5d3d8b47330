"""Rows of an Arrow file or stream, as `datasets` saves its data sets, with the limits that Parquet's have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from .parquet_rows import VALUE_BYTES, batch_rows, content_budget
from .records import Record, Reject
from .streams import MAX_DECOMPRESSION_RATIO

_FILE: Final = b"ARROW1"
_BATCH_ROWS: Final = 256


def read_arrow_rows(path: Path, max_row_bytes: int) -> Iterator[Record | Reject]:
    """The file's rows as dicts; the first is 1.

    A file that does not open gives one reject, and so does the place from which on it is damaged.
    """
    budget, read = content_budget(path), 0
    try:
        with pa.memory_map(str(path)) as stream:
            for batch in _batches(stream):
                for row, weight in _rows(batch, read, max_row_bytes):
                    yield row
                    budget -= weight
                    if budget < 0:
                        detail = f"unfolds to more than {MAX_DECOMPRESSION_RATIO} times the file's size"
                        yield Reject(row.line + 1, "decompression_ratio", detail, "")
                        return
                read += batch.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"the rows after {read:,} are not readable" if read else "the file does not open"
        yield Reject(read + 1 if read else 0, "unreadable_arrow", f"{what} ({type(error).__name__})", "")


def _batches(stream: Any) -> Iterator[Any]:
    begins = stream.read(len(_FILE))
    stream.seek(0)
    if begins != _FILE:
        yield from pa.ipc.open_stream(stream)
        return
    file = pa.ipc.open_file(stream)
    for index in range(file.num_record_batches):
        yield file.get_batch(index)


def _rows(batch: Any, before: int, max_row_bytes: int) -> Iterator[tuple[Record | Reject, int]]:
    """Each row with its weight. Nothing is decoded before Arrow has checked where its bytes lie."""
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        part = batch.slice(start, _BATCH_ROWS)
        if _is_valid(part):
            yield from batch_rows(part, before + start, max_row_bytes)
            continue
        for index in range(part.num_rows):
            row = part.slice(index, 1)
            line = before + start + index
            if _is_valid(row):
                yield from batch_rows(row, line, max_row_bytes)
            else:
                yield Reject(line + 1, "unreadable_arrow", "a value of the row is damaged", ""), VALUE_BYTES


def _is_valid(batch: Any) -> bool:
    try:
        batch.validate(full=True)
    except (pa.ArrowException, ValueError):
        return False
    return True
