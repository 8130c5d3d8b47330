"""What a stage is given and what it gives back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from .config import RunConfig
from .storage.blocks import count_rows, iter_table
from .storage.manifests import Counts, TableRecord
from .storage.parquet import read_by_prompt, read_parquet, read_parts, read_table
from .storage.writing import write_table, write_table_batches, write_tables

# Called with the number of units just finished.
Advance = Callable[[int], None]


class Reporter(Protocol):
    """Where a stage says what it is doing; the command line draws it, tests and libraries ignore it."""

    def progress(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """A progress bar over `total` units."""

    def say(self, message: str) -> None:
        """One line that a person should read, such as a switch to another engine."""


class SilentReporter:
    """A reporter that shows nothing."""

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> Iterator[Advance]:
        """An advance function that does nothing."""
        yield lambda _: None

    def say(self, message: str) -> None:
        """Drop the message."""


@dataclass(frozen=True)
class StageResult:
    """What a stage wrote and counted.

    Attributes:
        outputs: Tables by name.
        counts: Rows through the stage.
        files: Other files or folders in the stage's folder, with the digest of their content.
        notes: Facts for the report, as JSON values.
    """

    outputs: Mapping[str, TableRecord]
    counts: Counts
    files: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageContext:
    """One stage's place in a run.

    Attributes:
        config: The whole run's settings; a stage reads its own part.
        folder: The stage's working folder; it may hold what an interrupted run of the same fingerprint left.
        tables: Where each input table lies.
        reporter: Where to say what is going on.
        run_dir: The folder of the whole run; only the report looks at other stages' folders.
    """

    config: RunConfig
    folder: Path
    tables: Mapping[str, Path]
    reporter: Reporter
    run_dir: Path

    def read(self, table: str) -> pl.DataFrame:
        """The rows of an input table."""
        return read_table(self.tables[table], table)

    def read_parts(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """An input table in bounded parts, in its order; at least one part."""
        return read_parts(self.tables[table], table, columns)

    def read_by_prompt(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """An input table in parts that no prompt crosses, in the order of prompt_id; at least one part."""
        return read_by_prompt(self.tables[table], table, columns)

    def read_columns(self, table: str, columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of all rows of an input table."""
        return read_parquet(self.tables[table], list(columns))

    def write_parts(self, parts: Iterable[Mapping[str, pl.DataFrame]], tables: Iterable[str]) -> dict[str, TableRecord]:
        """Write output tables that are made part by part; how they were cut does not show."""
        return write_tables(self.folder, parts, tables)

    def written(self, table: str, columns: Sequence[str]) -> pl.DataFrame:
        """Columns of an output table that this stage has written."""
        return read_parquet(self.folder / f"{table}.parquet", list(columns))

    def rows(self, table: str) -> int:
        """How many rows an input table has."""
        return count_rows(self.tables[table])

    def blocks(self, table: str) -> Callable[[list[str]], Iterator[pl.DataFrame]]:
        """Gives columns of an input table, a bounded number of rows at a time, each time that it is called."""
        return lambda columns: iter_table(self.tables[table], table, columns)

    def write_batches(self, table: str, batches: Iterable[pl.DataFrame]) -> TableRecord:
        """Write an output table a batch at a time; ids must not repeat across batches."""
        return write_table_batches(self.folder / f"{table}.parquet", table, batches)

    def write(self, table: str, frame: pl.DataFrame) -> TableRecord:
        """Write an output table after checking every value."""
        return write_table(self.folder / f"{table}.parquet", table, frame)
