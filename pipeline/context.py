"""What a stage is given and what it gives back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from .config import RunConfig
from .storage.bucket_sort import HELD_BYTES
from .storage.buckets import PASS_BYTES
from .storage.manifests import Counts, TableRecord
from .storage.parquet import ROW_GROUP_ROWS, count_rows
from .storage.tables import (
    PART_ROWS,
    iter_table,
    read_by_prompt,
    read_parts,
    read_table,
    side_by_side,
    write_table,
    write_table_batches,
    write_tables,
)
from .storage.texts import parts_with_texts
from .tables import TEXTS
from .workers import LocalSpread, Spread

# Called with the number of units just finished.
Advance = Callable[[int], None]


class Reporter(Protocol):
    """Where a stage says what it is doing; the command line draws it, tests and libraries ignore it."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Around the work of one stage."""

    def progress(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """A progress bar over `total` units."""

    def note(self, text: str) -> None:
        """Words beside the bar that is open, in place of those before."""

    def say(self, message: str) -> None:
        """One line that a person should read, such as a switch to another engine."""


class SilentReporter:
    """A reporter that shows nothing."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show nothing of the stage."""
        yield

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> Iterator[Advance]:
        """An advance function that does nothing."""
        yield lambda _: None

    def note(self, text: str) -> None:
        """Drop the words."""

    def say(self, message: str) -> None:
        """Drop the message."""


@dataclass(frozen=True)
class BatchSizes:
    """How much of a table or of the inputs is held at a time; no value in any table depends on it.

    Attributes:
        part_rows: Rows of an input table that a stage looks at together.
        row_group_rows: Rows of a group of an output table, which its file's bytes show.
        sorted_bytes: Rows that are held in memory while they are sorted, before they are written to buckets.
        read_bytes: Events that a process holds before it writes them to buckets.
        pass_bytes: Events of a bucket that are read back in one pass.
        process_bytes: Input that is worth a process of its own.
        partner_rows: Completions that are handed from prompt to prompt in one bucket.
    """

    part_rows: int = PART_ROWS
    row_group_rows: int = ROW_GROUP_ROWS
    sorted_bytes: int = HELD_BYTES
    read_bytes: int = 96 << 20
    pass_bytes: int = PASS_BYTES
    process_bytes: int = 48 << 20
    partner_rows: int = 25_000


DEFAULT_SIZES: Final = BatchSizes()
LOCAL_SPREAD: Final[Spread] = LocalSpread()


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
        sizes: How much is held at a time.
        fingerprint: Digest of all that the stage's output depends on; empty where no run is kept.
        spread: Where tasks that do not depend on each other run; no value in any table depends on it.
    """

    config: RunConfig
    folder: Path
    tables: Mapping[str, Path]
    reporter: Reporter
    run_dir: Path
    sizes: BatchSizes = DEFAULT_SIZES
    fingerprint: str = ""
    spread: Spread = LOCAL_SPREAD

    def read(self, table: str, columns: Sequence[str] | None = None, where: pl.Expr | None = None) -> pl.DataFrame:
        """The rows of an input table, those where an expression holds, with some of its columns or all."""
        return read_table(self.tables[table], table, columns, where)

    def read_parts(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """An input table in bounded parts, in its order; at least one part."""
        return read_parts(self.tables[table], table, columns, self.sizes.part_rows)

    def read_by_prompt(self, table: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """An input table in parts that no prompt crosses, in the order of prompt_id; at least one part."""
        return read_by_prompt(self.tables[table], table, columns, self.sizes.part_rows)

    def read_with_texts(
        self, table: str, columns: Sequence[str] | None = None, texts: Sequence[str] = TEXTS
    ) -> Iterator[pl.DataFrame]:
        """An input table as `read_by_prompt` gives it, with the texts of its answers from the input table `texts`."""
        of_prompts = self.read_by_prompt("texts", ("response_id", "prompt_id", *texts))
        parts = side_by_side([self.read_by_prompt(table, columns), of_prompts])
        return parts_with_texts(((rows, own) for rows, own in parts), table, texts)

    def write_parts(self, parts: Iterable[Mapping[str, pl.DataFrame]], tables: Iterable[str]) -> dict[str, TableRecord]:
        """Write output tables that are made part by part; how they were cut does not show."""
        return write_tables(self.folder, parts, tables, self.sizes.row_group_rows)

    def written(self, table: str, columns: Sequence[str]) -> pl.DataFrame:
        """Columns of an output table that this stage has written."""
        return read_table(self.folder / f"{table}.parquet", table, columns)

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
