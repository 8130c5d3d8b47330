"""The stages from logs to splits in one pass, where all of them have to run: no table is read again.

What was read lies on disk by prompts (`ingest.sorting`). A set of prompts after the other becomes rows of every table
by the stages' own functions, and is let go. Each stage still has its folder, manifest and fingerprint, and its tables
are the bytes that it writes when it runs by itself. An error of a stage in the middle ends the pass; the stages then
run one after the other, so that those before it are kept.
"""

import logging
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Final

import polars as pl

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..errors import PipelineError
from ..stages import events, pairs, responses, splits, unpaired
from ..storage.manifests import adopt_partial, open_partial, partial_dir
from ..storage.tables import TableWriters
from ..workers import map_in_threads
from .planning import read_stage
from .reduce import Made, Reduce, Settings
from .reduce_tasks import Shares
from .stages import Stage, producer_of

_logger = logging.getLogger(__name__)
_IN_ORDER: Final = ("events", "responses", "unpaired", "pairs", "splits")
# The mark of a working folder whose fingerprint hangs on tables that are not written yet.
_UNKNOWN: Final = "together"
# Parts in work at a time: each is held with its rows of every table, and polars has all cores for one.
_MOST_PARTS: Final = 8
_Tables = dict[str, pl.DataFrame]


class Together:
    """Which stages are made in one pass, and what it gave of those that have not taken it yet."""

    def __init__(self, config: RunConfig, stages: Sequence[Stage], *, forced: bool) -> None:
        """Decide which of `stages` go together; none where `events` is not the first of several.

        Args:
            config: The run.
            stages: Those that are asked for, in the line's order.
            forced: Whether they run whatever their fingerprints say.
        """
        self._run_dir = config.run_dir
        self._forced = forced
        names = [stage.name for stage in stages]
        together = [name for name, asked in zip(_IN_ORDER, names, strict=False) if name == asked]
        # Pairs of several prompts take all responses at once.
        self._stages = stages[: min(len(together), 3 if config.pairs.group_prompts != "none" else len(_IN_ORDER))]
        self._results: dict[str, Callable[[StageContext], StageResult]] = {}
        self._contexts: dict[str, StageContext] = {}

    def run(self, stage: Stage, context: StageContext) -> StageResult:
        """What a stage that has to run gives, be it made by now, with others, or alone."""
        made = self._results.pop(stage.name, None)
        if made is not None:
            return made(context)
        if stage.name == _IN_ORDER[0] and self._is_worth_it(context):
            return self._run_all(context)
        return stage.run(context)

    def adopt(self, stage: Stage, fingerprint: str) -> None:
        """Let the working folder of a stage that was made with others be the one of that fingerprint."""
        if stage.name in self._results:
            adopt_partial(self._run_dir / stage.name, fingerprint)
            del self._contexts[stage.name]

    def close(self) -> None:
        """Delete what was made of stages that did not take it."""
        for name in self._contexts:
            shutil.rmtree(partial_dir(self._run_dir / name), ignore_errors=True)
        self._results, self._contexts = {}, {}

    def _is_worth_it(self, context: StageContext) -> bool:
        """Whether the later stages have to run too: `events` will not be what it was."""
        if len(self._stages) < 2:
            return False
        before = read_stage(context.config, self._stages[0])
        return self._forced or before is None or before.fingerprint != context.fingerprint

    def _run_all(self, context: StageContext) -> StageResult:
        config = context.config
        with events.sorted_log(config.events, context.folder, context.sizes, context.spread) as log:
            self._contexts = self._opened(context)
            try:
                with ExitStack() as open_files:
                    written = _Pass(self._contexts | {_IN_ORDER[0]: context}, log, open_files)
                    written.write_all()
            except PipelineError as error:
                _logger.info("The stages run one after the other, since one of them ended with: %s", error)
                self.close()
                outputs = context.write_parts(log.tables(), events.OUTPUTS)
                return log.result(outputs)
            self._results = written.results()
            return log.result(written.outputs("events"))

    def _opened(self, first: StageContext) -> dict[str, StageContext]:
        """The contexts of the stages after the first: what they read lies in the working folders of those before."""
        folders = {stage.name: partial_dir(self._run_dir / stage.name) for stage in self._stages}
        found = {}
        for stage in self._stages[1:]:
            tables = {table: folders[producer_of(table).name] / f"{table}.parquet" for table in stage.inputs}
            folder = open_partial(self._run_dir / stage.name, _UNKNOWN)
            found[stage.name] = replace(first, folder=folder, tables=tables, fingerprint="")
        return found


class _Pass:
    """One pass over the prompts of a log."""

    def __init__(self, contexts: dict[str, StageContext], log: events.SortedLog, open_files: ExitStack) -> None:
        """Begin all tables of the stages in `contexts`."""
        self._contexts = contexts
        self._log = log
        config = contexts["events"].config
        self._config = config
        self._shares = Shares(log, contexts["events"])
        self._known = self._known_first()
        self._responses = responses.Work(config.responses, self._known)
        self._pairs = pairs.Work(config.pairs, config.responses) if "pairs" in contexts else None
        self._splits = splits.Work(config.splits, contexts["splits"].folder) if "splits" in contexts else None
        if self._splits is not None:
            discard = self._splits.close
            open_files.push(lambda kind, *_: discard() if kind is not None else None)
        modules: dict[str, Any] = {"events": events, "responses": responses, "unpaired": unpaired, "pairs": pairs}
        self._writers = {
            name: open_files.enter_context(
                TableWriters(contexts[name].folder, module.OUTPUTS, contexts[name].sizes.row_group_rows)
            )
            for name, module in modules.items()
            if name in contexts
        }
        self._stage_of = {table: name for name in self._writers for table in modules[name].OUTPUTS}

    def write_all(self) -> None:
        """Write all tables but those of `splits`."""
        # Closed whatever happens: tasks that nobody waits for are ended before their folder is deleted.
        with closing(self._parts()) as parts:
            for part in parts:
                if self._splits is not None and part.splits is not None:
                    self._splits.passed(part.splits)
                self._write(self._responses.passed(part.tables) if "responses" in part.tables else part.tables)
        last = chain(({"rejects": frame} for frame in self._log.rejects()), self._responses.last())
        for tables in chain(last, self._pairs.last() if self._pairs is not None else ()):
            self._write(tables)

    def _parts(self) -> Generator[Made]:
        """All rows of each set of prompts, in their order: made by tasks of a cluster, or by threads here."""
        settings = Settings.of(self._config, self._contexts)
        if self._shares.are_several:
            yield from self._shares.made(settings, self._known)
        else:
            reduce = Reduce(settings, self._known)
            yield from reduce.joined(map_in_threads(reduce.made, self._log.parts(), _MOST_PARTS))

    def _known_first(self) -> responses.Shared | None:
        """What the whole log says of single rows, from its narrow columns; None where no row needs it."""
        config = self._config.responses
        if not responses.needs_log_first(config):
            return None
        if self._shares.are_several:
            return self._shares.known(config)
        return responses.shared((responses.log_facts(part.lazy()) for part in self._log.events()), config)

    def _write(self, tables: _Tables) -> None:
        if self._pairs is not None and "pairs" in tables:
            tables = self._pairs.passed(tables)
        for table, frame in tables.items():
            self._writers[self._stage_of[table]].write({table: frame})

    def outputs(self, stage: str) -> Any:
        """The records of a stage's tables, once all are written."""
        return self._writers[stage].records

    def results(self) -> dict[str, Callable[[StageContext], StageResult]]:
        """What gives each later stage's result, in the stage's own context."""
        found: dict[str, Callable[[StageContext], StageResult]] = {}
        works = {"responses": self._responses.result, "unpaired": unpaired.result}
        if self._pairs is not None:
            works["pairs"] = self._pairs.result
        for name, result in works.items():
            if name in self._contexts:
                found[name] = partial(result, outputs=self.outputs(name))
        if self._splits is not None:
            found["splits"] = self._splits.result
        return found
