"""The stages in order: one line each."""

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Final

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..errors import ConfigError, unknown_name


class Stage:
    """One stage of the line: the module of `stages` that has its name, which is imported when it is first asked.

    A run that ends before training does not wait for what only later stages import.
    """

    def __init__(self, name: str) -> None:
        """A stage by the table that it makes."""
        self.name: Final = name

    @cached_property
    def _module(self) -> ModuleType:
        return import_module(f"..stages.{self.name}", __package__)

    @property
    def version(self) -> int:
        """Raised whenever the same input could give another output."""
        return int(self._module.VERSION)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tables that it reads."""
        return tuple(self._module.INPUTS)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tables that it writes."""
        return tuple(self._module.OUTPUTS)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of folders that it reads from stages before it, such as the trained `model`."""
        return tuple(getattr(self._module, "FILES", ()))

    def also_reads(self, config: RunConfig) -> tuple[str, ...]:
        """Names of further tables and folders that a run's settings make it read."""
        own = getattr(self._module, "also_reads", None)
        return () if own is None else tuple(own(config))

    def reads(self, config: RunConfig) -> tuple[str, ...]:
        """Names of all tables and folders that it reads in a run."""
        return (*self.inputs, *self.files, *self.also_reads(config))

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of folders that it makes, where its settings ask for them."""
        return tuple(getattr(self._module, "FOLDERS", ()))

    def settings(self, config: RunConfig) -> object:
        """The part of a run's settings that its output depends on: its own section, where it says no other."""
        own = getattr(self._module, "settings", None)
        return getattr(config, self.name) if own is None else own(config)

    def external(self, config: RunConfig) -> Mapping[str, str]:
        """Digests of what it reads from outside the run: logs, models, engines."""
        own = getattr(self._module, "external", None)
        return {} if own is None else dict(own(config))

    def run(self, context: StageContext) -> StageResult:
        """The edge that reads, computes and writes."""
        result: StageResult = self._module.run(context)
        return result

    def take_part(self, context: StageContext) -> None:
        """What a process other than the first does while that one runs a stage that calls for the others."""
        self._module.take_part(context)


STAGE_NAMES: Final = (
    "events",
    "responses",
    "unpaired",
    "pairs",
    "splits",
    "sequences",
    "thumbs",
    "reference",
    "train",
    "policy",
    "generations",
    "judgements",
    "metrics",
    "report",
)
STAGES: Final = tuple(map(Stage, STAGE_NAMES))


def stage_named(name: str) -> Stage:
    """The stage of that name, which is one of `STAGE_NAMES`."""
    return STAGES[STAGE_NAMES.index(name)]


def select(first: str | None, last: str | None) -> tuple[Stage, ...]:
    """The stages from `first` to `last`, both included.

    Raises:
        ConfigError: A name is no stage, or `last` comes before `first`.
    """
    for name in (first, last):
        if name is not None and name not in STAGE_NAMES:
            raise ConfigError(unknown_name("stage", name, STAGE_NAMES))
    start = STAGE_NAMES.index(first) if first else 0
    stop = STAGE_NAMES.index(last) if last else len(STAGES) - 1
    if stop < start:
        raise ConfigError(f"--until {last} comes before --from {first}; the order is {', '.join(STAGE_NAMES)}.")
    return STAGES[start : stop + 1]


def producer_of(table: str) -> Stage:
    """The stage that makes a table or a folder, such as the trained `model`."""
    for stage in STAGES:
        if table in stage.outputs or table in stage.folders:
            return stage
    raise KeyError(table)
