"""Logs of every format, damaged: each row is an event or a reject, or the log is refused with one message."""

import copy
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import yaml

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.operators import VALUES, Rows, chance, damaged_rows, file_of, pick
from tests.unit.importers.cases import CASES
from tests.unit.importers.logs import RawLogs
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.importers import registry
from thumbline.pipeline.ingest.frames import RawBatch, read_unit
from thumbline.pipeline.ingest.plan import Plan, plan, units
from thumbline.pipeline.reading.files import FileSource
from thumbline.pipeline.reading.inputs import expand_inputs
from thumbline.pipeline.reading.remarks import Remarks

_EXAMPLES: Final = Path(registry.__file__).with_name("examples.yaml")


def _rows(file: str, text: str) -> Rows:
    """The rows of a whole file."""
    if file.endswith(".csv"):
        return [dict(row) for row in csv.DictReader(io.StringIO(text))]
    found = json.loads(text) if file.endswith(".json") else [json.loads(line) for line in text.splitlines()]
    return found if isinstance(found, list) else [found]


@cache
def examples() -> dict[str, dict[str, Rows]]:
    """A whole log of each format: the rows of each of its files by the file's stem."""
    found = yaml.safe_load(_EXAMPLES.read_text(encoding="utf-8"))
    return {name: {Path(file).stem: _rows(file, text) for file, text in files.items()} for name, files in found.items()}


class Logs:
    """Logs of one format."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logs = examples()
        self._pending = RawLogs()

    def make(self, random: np.random.Generator) -> Case:
        """A damaged log in files of any kind, with settings that may not fit it."""
        files = self._logs[self._name]
        stems = list(files)
        wounded = pick(random, stems)
        others = [row for rows in self._logs[pick(random, list(self._logs))].values() for row in rows]
        written = {}
        for stem in stems:
            rows = copy.deepcopy(files[stem])
            if stem == wounded:
                rows = damaged_rows(rows, random, others)
            # What is whole stays lines, so that the damage is met and not its kind.
            if stem == wounded or chance(random, 0.1):
                name, data = file_of(stem, rows, random)
            else:
                name, data = f"{stem}.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
            written[name] = data
        return Case(written, self._settings(random))

    def _settings(self, random: np.random.Generator) -> dict[str, Any]:
        usual = {"format": "auto" if chance(random, 0.4) else self._name}
        if chance(random, 0.05):
            usual["format"] = pick(random, list(self._logs))
        options = dict(CASES[self._name].options)
        known = list(registry.importer(self._name).options)
        if known and chance(random, 0.15):
            options[pick(random, known)] = str(pick(random, VALUES))[:50]
        bounds = {"max_line_bytes": pick(random, [64, 1_000])} if chance(random, 0.05) else {}
        return {"events": usual | ({"options": options} if options else {}) | bounds}

    def read(self, case: Case, folder: Path) -> Outcome:
        """Read as a run reads, fast and exactly."""
        inputs = [str(folder / name) for name in case.files]
        try:
            config = EventsConfig.model_validate({"inputs": inputs, **case.settings["events"]})
            plans = plan(expand_inputs(config.inputs), config)
            read = [(entry, list(_batches(entry, config))) for entry in plans]
        except PipelineError as error:
            assert str(error).strip(), "an error without a word"
            return "refused"
        batches = [batch for entry, found in read for batch in found]
        for entry, found in read:
            _check_rows(entry, found)
            if entry.fast is not None:
                _check_same(entry, found, config)
        self._pending.add(batches)
        return "rejected" if any(batch.rejects.height for batch in batches) else "read"

    def settle(self) -> None:
        """Make the tables of all logs since the last time."""
        pending, self._pending = self._pending, RawLogs()
        pending.check_tables()


def _batches(entry: Plan, config: EventsConfig) -> Iterator[RawBatch]:
    for unit in units([entry], config.unit_bytes):
        yield from read_unit(unit, config)


def _check_rows(entry: Plan, batches: list[RawBatch]) -> None:
    """Each row of the log is counted, and is an event or a reject where no other source can have its vote."""
    sources = [source for source in (entry.source, *entry.beside) if isinstance(source, FileSource)]
    records = sum(batch.records for batch in batches)
    if entry.format is None:
        assert records == 1, f"{records} records of a source that is refused"
        return
    lines = {source.name: {row.line for row in source.rows()} - {0} for source in sources}
    given: dict[str, set[int]] = defaultdict(set)
    for batch in batches:
        given[batch.source] |= {*batch.events["source_line"], *batch.rejects["source_line"]} - {0}
    assert records == sum(map(len, lines.values())), f"{records} records of {lines}"
    for name, found in given.items():
        assert found <= lines[name], f"lines {found - lines[name]} are not there"
    if registry.importer(entry.format).read_together is None:
        lost = lines[entry.source.name] - given[entry.source.name]
        assert not lost, f"lines {sorted(lost)} are lost"


def _check_same(entry: Plan, fast: list[RawBatch], config: EventsConfig) -> None:
    """The exact way gives the same."""
    exact = list(_batches(entry._replace(fast=None), config))
    for name in ("events", "rejects"):
        ways = [pl.concat([getattr(batch, name) for batch in batches]) for batches in (fast, exact)]
        ordered = [way.sort("source_line", maintain_order=True).rows() for way in ways]
        assert ordered[0] == ordered[1], f"{name} differ: fast {ordered[0]}, exact {ordered[1]}"
    for what in ("records", "remarks"):
        seen = [_total([getattr(batch, what) for batch in batches]) for batches in (fast, exact)]
        assert seen[0] == seen[1], f"{what} differ: fast {seen[0]}, exact {seen[1]}"


def _total(values: list[Any]) -> Any:
    return sum(values) if isinstance(values[0], int) else sum(map(Remarks, values), Remarks())
