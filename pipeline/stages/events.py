"""Raw logs to events: one row a feedback event, whatever logged it, and every unusable row with its reason.

An event names its prompt and its answer by their ids; table `texts` holds what these stand for, once an answer.

An event is named by its content: the format, the log's own event id where it has one, and every field. So the same
event delivered twice, in one file or in two, is one event whose `deliveries` count both; the first by file and line
is kept. Two different contents under one event id of the log stay two events, and are counted in the notes: which of
them is right is for the votes' order to say, not for the reader. A log without event ids, times and users cannot tell
one vote delivered twice from two equal votes; it is read as the former.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import EventsConfig, RunConfig
from ..context import LOCAL_SPREAD, BatchSizes, StageContext, StageResult
from ..errors import ConfigError
from ..hiding import holds_hidden
from ..importers.registry import importer, origins
from ..ingest import merging, sorting, stored
from ..ingest.event_ids import with_ids
from ..ingest.plan import Unit, plan, units
from ..ingest.tally import Tally
from ..reading import hub
from ..reading.files import FileSource
from ..reading.inputs import Inputs, expand_inputs, with_added
from ..storage.buckets import bucket_count
from ..storage.digests import cached_digest
from ..storage.manifests import Counts, TableRecord
from ..storage.tables import read_table, write_tables
from ..storage.texts import with_texts
from ..workers import Spread

VERSION: Final = 17
INPUTS: Final = ()
OUTPUTS: Final = ("events", "texts", "rejects")


class EventsResult(NamedTuple):
    """What the inputs gave.

    Attributes:
        events: Table `events` with its texts, sorted by prompt_id, response_id, event_id.
        rejects: Table `rejects`, sorted by source_file, source_line, reason.
        counts: A row of the log is one row in; what those gave is each delivery of an event and each rejected row. A
            file that was not read is no row.
        notes: Rows read, events and rejects by format, vote and reason, and what else was seen of rows.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame
    counts: Counts
    notes: dict[str, Any]


def transform(raw: pl.DataFrame) -> pl.DataFrame:
    """Table `events` with its texts: ids made, equal deliveries merged, sorted by its ids.

    Args:
        raw: Schema `ingest.columns.RAW_EVENTS`, in any order.
    """
    return merging.merged(with_ids(raw))


def ingest(config: EventsConfig) -> EventsResult:
    """Read all inputs into memory.

    Raises:
        InputError: An input stands for nothing, or its columns are not clear.
        ConfigError: The format or an option does not hold.
        TableError: Rows were lost, which is a fault of an importer.
    """
    with TemporaryDirectory(prefix="thumbline-") as place:
        made = ingest_to(config, Path(place), BatchSizes())
        tables = {name: read_table(Path(place) / record.file, name) for name, record in made.outputs.items()}
    events = with_texts(tables["events"], tables["texts"], "events")
    return EventsResult(events, tables["rejects"], made.counts, dict(made.notes))


def ingest_to(config: EventsConfig, folder: Path, sizes: BatchSizes, spread: Spread = LOCAL_SPREAD) -> StageResult:
    """Read all inputs and write all of `OUTPUTS` to `folder`; memory does not grow with the inputs.

    Raises:
        As `ingest` does.
    """
    with sorted_log(config, folder, sizes, spread) as log:
        return log.result(write_tables(folder, log.tables(), OUTPUTS, sizes.row_group_rows))


class SortedLog:
    """A log that has been read: its rows lie on disk by their prompts.

    Attributes:
        folder: Where they lie, and what else is wanted until all tables are made.
        files: What they are.
        origins: Where they are from (`merging.origins`).
    """

    def __init__(self, inputs: Inputs, written: list[sorting.TaskFiles], folder: Path, pass_bytes: int) -> None:
        """Begin before the first part.

        Args:
            inputs: What was read.
            written: What reading it wrote.
            folder: Where that is.
            pass_bytes: How much is sorted at a time.
        """
        self.folder = folder
        self.files = stored.stored(written)
        self.origins = merging.origins(written)
        self._inputs = inputs
        self._written = written
        self._pass_bytes = pass_bytes
        self._tally = Tally(written)

    def parts(self) -> Iterator[merging.Part]:
        """Tables `events` and `texts`, counted anew each time, in parts of the same answers; at least one."""
        self._tally = Tally(self._written)
        for part in merging.read_parts(self.files, self.origins, self._pass_bytes, self.folder):
            self.count(part.tables)
            yield part

    def count(self, part: Mapping[str, pl.DataFrame]) -> None:
        """Count a part that a task read: each once, in any order, before anything of `parts` is."""
        self._tally.events(part["events"], part["texts"])

    def events(self) -> Iterator[pl.DataFrame]:
        """Table `events` in parts that no answer crosses; counts nothing."""
        return merging.read_events(self.files, self.origins, self._pass_bytes, self.folder)

    def tables(self) -> Iterator[dict[str, pl.DataFrame]]:
        """All tables in parts."""
        yield from (part.tables for part in self.parts())
        yield from ({"rejects": frame} for frame in self.rejects())

    def rejects(self) -> Iterator[pl.DataFrame]:
        """Table `rejects` in parts; to be read once after all of `parts`."""
        yield from map(self._tally.rejects, merging.read_rejects(self._written))

    def result(self, outputs: Mapping[str, TableRecord]) -> StageResult:
        """What the stage says, once both tables are written.

        Raises:
            TableError: Rows were lost, which is a fault of an importer.
        """
        return StageResult(outputs=outputs, counts=self._tally.counts(outputs), notes=self._tally.notes(self._inputs))


@contextmanager
def sorted_log(
    config: EventsConfig, folder: Path, sizes: BatchSizes, spread: Spread = LOCAL_SPREAD
) -> Iterator[SortedLog]:
    """All inputs, read; what lies in `folder` for it is deleted with the block's end.

    Raises:
        InputError: An input stands for nothing, or its columns are not clear.
        ConfigError: The format or an option does not hold.
    """
    if holds_hidden(config.user_key):
        raise ConfigError(
            "events.user_key: these settings keep a digest of the key, not the key. Run the run file in which it "
            "stands, or give it again: --set events.user_key=..."
        )
    with TemporaryDirectory(prefix=".buckets-", dir=spread.place(folder)) as place:
        inputs = with_added(expand_inputs(config.inputs), config.added)
        written = _write_tasks(inputs, config, Path(place), sizes, spread)
        yield SortedLog(inputs, written, Path(place), sizes.pass_bytes)


def _write_tasks(
    inputs: Inputs, config: EventsConfig, folder: Path, sizes: BatchSizes, spread: Spread
) -> list[sorting.TaskFiles]:
    """Read everything, in as many processes as the inputs are worth."""
    parts = units(plan(inputs, config), config.unit_bytes)
    total = sum(part.content_bytes for part in parts)
    buckets = bucket_count(total, config.partition_bytes)
    tasks = [
        sorting.Task(number, group, config, buckets, folder, sizes.read_bytes)
        for number, group in enumerate(_groups(parts, config.unit_bytes))
    ]
    processes = min(len(tasks), tasks_at_a_time(total, config, sizes, spread))
    here = [task for task in tasks if not all(map(_reads_anywhere, task.units))]
    away = [task for task in tasks if task not in here]
    written = [*spread.map(sorting.write_task, away, processes), *map(sorting.write_task, here)]
    return sorted(written, key=lambda entry: entry.units[0].number)


def tasks_at_a_time(content_bytes: int, config: EventsConfig, sizes: BatchSizes, spread: Spread) -> int:
    """How many tasks a log of so many bytes is worth; 1: none beside this process."""
    wanted = config.workers if config.workers is not None else spread.workers
    return min(wanted, 1 + content_bytes // sizes.process_bytes)


def _reads_anywhere(unit: Unit) -> bool:
    """Whether another process can read it: hub data sets need this one's libraries, tokens and caches."""
    name = unit.plan.format
    return isinstance(unit.plan.source, FileSource) and not (name is not None and importer(name).in_process)


def _groups(parts: Sequence[Unit], group_bytes: int) -> Iterator[list[Unit]]:
    """Consecutive units, together about `group_bytes`: many small files are one task."""
    group: list[Unit] = []
    held = 0
    for unit in parts:
        size = unit.content_bytes
        alone = not isinstance(unit.plan.source, FileSource)
        if group and (held + size > group_bytes or alone):
            yield group
            group, held = [], 0
        group.append(unit)
        held = group_bytes if alone else held + size
    if group:
        yield group


def input_digests(config: EventsConfig) -> dict[str, str]:
    """The digest of every input's content by its name: SHA-256 of a file, id and revision of a hub data set.

    A file's digest is kept in the user's cache under its path, size and time of change, so that asking again is cheap.
    """
    inputs = with_added(expand_inputs(config.inputs), config.added)
    digests = {file.name: cached_digest(file.path) for file in inputs.files}
    return digests | {address: hub.digest(address, config.options) for address in inputs.addresses}


def settings(config: RunConfig) -> dict[str, Any]:
    """The settings that the tables depend on: not how many read, how much at a time, or what may be rejected."""
    kept = {"workers", "unit_bytes", "partition_bytes", "most_rejected"}
    if not config.events.added:
        # A run that was made before there were any has the fingerprint that it had.
        kept |= {"added"}
    return config.events.model_dump(mode="json", exclude=kept)


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the inputs' content, and the packages whose formats may read them."""
    return input_digests(config.events) | origins(config.events.format)


def run(context: StageContext) -> StageResult:
    """Read the logs, write all of `OUTPUTS`."""
    return ingest_to(context.config.events, context.folder, context.sizes, context.spread)
