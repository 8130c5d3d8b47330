"""What a caller hands over, as files that the line reads or as a frame: paths, tables of any library, rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import polars as pl

from ..errors import InputError


class ArrowTable(Protocol):
    """A frame of any library that speaks Arrow: of pandas, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Arrow's own way to hand over rows."""


class DataSet(Protocol):
    """A data set of the library `datasets`."""

    def to_polars(self) -> Any:
        """Its rows as a frame, or frames one after the other."""


Table: TypeAlias = pl.DataFrame | pl.LazyFrame | ArrowTable | DataSet | Mapping[str, Any] | Iterable[Mapping[str, Any]]
# A path, glob or `hub:` address, or several; else a table: a frame, or columns or rows as dicts.
Given: TypeAlias = str | Path | Sequence[str | Path] | Table
FOLDER: Final = "given"
_TAKEN: Final = "a path, glob or `hub:` address, or several; a frame of polars, pandas, pyarrow or datasets; rows"


def as_inputs(given: Given, folder: Path) -> list[str]:
    """What the line reads: paths as they are; a frame or rows as a file below `folder`, which is written.

    Rows keep their own keys, and a row that cannot be used is rejected as a log's would be.

    Raises:
        InputError: It is nothing that holds rows, or a value of a row is no value of JSON.
    """
    from ..storage.files import make_folder
    from ..storage.parquet import write_parquet

    if isinstance(given, str | Path):
        return [str(given)]
    if isinstance(given, list | tuple) and given and all(isinstance(entry, str | Path) for entry in given):
        return [str(entry) for entry in given]
    if _is_frame(given) or isinstance(given, Mapping):
        path = folder / FOLDER / "rows.parquet"
        frame = as_frame(given)
        make_folder(path.parent)
        try:
            write_parquet(path, frame)
        except pl.exceptions.PolarsError as error:
            raise InputError(f"the {type(given).__name__} has a column that Parquet cannot hold ({error}).") from error
        return [str(path)]
    if isinstance(given, Iterable):
        path = folder / FOLDER / "rows.jsonl"
        make_folder(path.parent)
        _write_rows(path, given)
        return [str(path)]
    raise InputError(f"a {type(given).__name__} holds no rows; give {_TAKEN}.")


def as_frame(given: object) -> pl.DataFrame:
    """A frame of any library, or rows or columns as dicts, as a polars frame.

    Raises:
        InputError: polars cannot read it.
    """
    try:
        return _converted(given)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OSError) as error:
        kind = type(given).__name__
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(f"a {kind} cannot be read as a table ({told}); give {_TAKEN}.") from error


def _is_frame(given: object) -> bool:
    return isinstance(given, pl.DataFrame | pl.LazyFrame) or any(
        hasattr(given, sign) for sign in ("to_polars", "__arrow_c_stream__", "__dataframe__")
    )


def _converted(given: Any) -> pl.DataFrame:
    if isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    if isinstance(given, Mapping) and any(_is_frame(part) for part in given.values()):
        names = ", ".join(map(repr, given))
        raise ValueError(f"it holds several data sets; give one of {names}")
    if callable(getattr(given, "to_polars", None)):  # a data set, whose rows may have been chosen or shuffled
        made = given.to_polars()
        return made if isinstance(made, pl.DataFrame) else pl.concat(made)
    return pl.DataFrame(given)


def _write_rows(path: Path, rows: Iterable[object]) -> None:
    from ..storage.files import atomic_file

    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for line in _lines(rows):
            file.write(line + b"\n")


def _lines(rows: Iterable[object]) -> Iterator[bytes]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise InputError(f"row {number} is a {type(row).__name__}, not a dict; give {_TAKEN}.")
        try:
            yield msgspec.json.encode(dict(row), enc_hook=_plain)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InputError(f"row {number} holds what JSON cannot ({str(error)[:200]}).") from error


def _plain(value: object) -> object:
    """A value of pandas, numpy or torch as Python's own; what pandas has for no value as None."""
    if type(value).__name__ in {"NaTType", "NAType"}:
        return None
    if isinstance(value, datetime):  # pandas' own kind of it
        return value.isoformat()
    for name in ("tolist", "item"):
        if callable(plain := getattr(value, name, None)):
            return plain()
    raise TypeError(f"a {type(value).__name__}")
