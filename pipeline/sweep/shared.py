"""What commands over many trainings share: stages that are run once for all, and what is said of the whole."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import polars as pl

from ..config import RunConfig
from ..context import Reporter
from ..judges.registry import check_judges
from ..line import Finished, check_run, run, select
from ..storage.files import write_text
from ..storage.parquet import write_parquet
from .frontier import judge_of
from .plan import BASE, LAST_SHARED


class Done(NamedTuple):
    """A stage that was done for all trials, or for the best setting.

    Attributes:
        part: `base` or `best`.
        finished: What happened to it.
    """

    part: str
    finished: Finished


class Planned(Protocol):
    """What is trained over one run."""

    @property
    def output(self) -> Path:
        """Folder of all of it."""

    @property
    def config(self) -> RunConfig:
        """The run file's settings, with absolute paths."""

    @property
    def base(self) -> RunConfig:
        """The run whose stages up to the reference all trainings take."""


class Found:
    """What was found over a plan's trainings.

    Attributes:
        plan: What was done.
    """

    plan: Planned

    @property
    def confidence(self) -> float:
        """Mass of the intervals."""
        return self.plan.config.metrics.confidence

    @property
    def judge(self) -> str | None:
        """The judge that decides about answers; None where none were sampled."""
        return judge_of(self.plan.config)


@dataclass(frozen=True)
class PageHead:
    """What a page over many trainings begins with.

    Attributes:
        title: Its heading.
        run_name: Name of the run that they share.
        generated_at: ISO time.
        command: The command line.
        tone: Colour of the verdict.
        badge: The verdict in a few words.
        verdict: The verdict.
        notes: What to beware of.
    """

    title: str
    run_name: str
    generated_at: str
    command: str
    tone: str
    badge: str
    verdict: str
    notes: tuple[str, ...]


_SHARED: Final = (None, LAST_SHARED)


def check_shared(plan: Planned) -> None:
    """Refuse what would stop the work after hours, before any of it; of training each plan has seen it.

    Raises:
        PipelineError: As `line.check_run`.
    """
    check_run(plan.base, select(*_SHARED))
    check_judges(plan.config.judges)


def run_shared(plan: Planned, reporter: Reporter, command: str) -> Iterator[Done]:
    """Run the stages that all trainings take, from where the run itself has them, yielding each as it is done.

    Raises:
        PipelineError: What a stage says.
    """
    source = Path(plan.config.runs) / plan.config.name
    for finished in run(plan.base, select(*_SHARED), reporter=reporter, command=command, source=source):
        yield Done(BASE, finished)


def write_found(folder: Path, table: str, rows: pl.DataFrame, facts: str, document: Mapping[str, Any]) -> None:
    """Write trials as a table and everything as JSON.

    Args:
        folder: Where to.
        table: Name of the table's file.
        rows: A row a trial.
        facts: Name of the JSON file.
        document: What it holds.
    """
    write_parquet(folder / table, rows)
    write_text(folder / facts, json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
