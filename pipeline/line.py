"""The stages in order, and the runner that skips what is up to date and resumes what is not.

A stage is up to date when its manifest's fingerprint is the one that its code version, its settings and the
digests of its inputs give now. A stage that runs again and writes the same bytes leaves the stages after it up
to date.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple

import yaml

from .config import RunConfig
from .context import DEFAULT_SIZES, BatchSizes, Reporter, SilentReporter, StageContext, StageResult
from .errors import ConfigError, PipelineError, unknown_name
from .storage.digests import digest_json
from .storage.files import write_text
from .storage.manifests import (
    Manifest,
    missing_outputs,
    open_partial,
    partial_dir,
    publish,
    read_manifest,
    recover_published,
)

CONFIG_FILE: Final = "config.yaml"


class Stage:
    """One stage of the line: the module of `stages` that has its name, which is imported when it is first asked.

    A run that ends before training does not wait for what only later stages import.
    """

    def __init__(self, name: str) -> None:
        """A stage by the table that it makes."""
        self.name: Final = name

    @cached_property
    def _module(self) -> ModuleType:
        return import_module(f"{__package__}.stages.{self.name}")

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


STAGE_NAMES: Final = (
    "events",
    "responses",
    "unpaired",
    "pairs",
    "splits",
    "sequences",
    "reference",
    "train",
    "policy",
    "metrics",
    "report",
)
STAGES: Final = tuple(map(Stage, STAGE_NAMES))


class Planned(NamedTuple):
    """What would happen to a stage, and why."""

    stage: Stage
    action: Literal["run", "skip", "maybe"]
    reason: str
    fingerprint: str | None


class Finished(NamedTuple):
    """What happened to a stage."""

    stage: Stage
    action: Literal["ran", "skipped"]
    manifest: Manifest


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


def plan(config: RunConfig, stages: Sequence[Stage] = STAGES, *, forced: bool = False) -> list[Planned]:
    """What running `stages` would do now, without doing it.

    Args:
        config: The run.
        stages: Which stages are asked for.
        forced: Run them whatever their fingerprints say (`--from`).
    """
    planned: list[Planned] = []
    pending: set[str] = set()
    for stage in stages:
        waiting = [table for table in (*stage.inputs, *stage.files) if _producer(table).name in pending]
        if waiting:
            pending.add(stage.name)
            action: Literal["run", "maybe"] = "run" if read_stage(config, stage) is None or forced else "maybe"
            planned.append(Planned(stage, action, f"after {_producer(waiting[0]).name}", None))
            continue
        fingerprint = _fingerprint(config, stage)
        reason = "asked for" if forced else _why_run(config, stage, fingerprint)
        if reason is None:
            planned.append(Planned(stage, "skip", "up to date", fingerprint))
        else:
            pending.add(stage.name)
            planned.append(Planned(stage, "run", reason, fingerprint))
    return planned


def run(
    config: RunConfig,
    stages: Sequence[Stage] = STAGES,
    *,
    forced: bool = False,
    reporter: Reporter | None = None,
    command: str = "",
    sizes: BatchSizes = DEFAULT_SIZES,
) -> Iterator[Finished]:
    """Run `stages` in order, yielding each as it is done.

    Args:
        config: The run.
        stages: Which stages; those before the first must have finished already.
        forced: Run them whatever their fingerprints say.
        reporter: Where progress goes.
        command: The command line, kept for the report.
        sizes: How much is held at a time.

    Raises:
        PipelineError: What a stage says about its input, settings or machine; the stages before it are kept.
    """
    config.run_dir.mkdir(parents=True, exist_ok=True)
    with _locked(config.run_dir):
        document = config.model_dump(mode="json") | ({"command": command} if command else {})
        _save_config(config, document)
        for stage in stages:
            yield _run_stage(config, stage, forced, reporter or SilentReporter(), sizes)


def _run_stage(config: RunConfig, stage: Stage, forced: bool, reporter: Reporter, sizes: BatchSizes) -> Finished:
    folder = config.run_dir / stage.name
    recover_published(folder)
    fingerprint = _fingerprint(config, stage)
    if not forced and _why_run(config, stage, fingerprint) is None:
        manifest = read_stage(config, stage)
        assert manifest is not None
        return Finished(stage, "skipped", manifest)
    context = StageContext(
        config=config,
        folder=open_partial(folder, fingerprint),
        tables={table: config.run_dir / _producer(table).name / f"{table}.parquet" for table in stage.inputs},
        reporter=reporter,
        run_dir=config.run_dir,
        sizes=sizes,
    )
    started = time.monotonic()
    result = stage.run(context)
    result.counts.check(stage.name)
    manifest = Manifest(
        stage=stage.name,
        fingerprint=fingerprint,
        version=stage.version,
        config=_json_settings(stage, config),
        inputs=_input_digests(config, stage),
        outputs=dict(result.outputs),
        files=dict(result.files),
        counts=result.counts,
        notes=dict(result.notes),
        seconds=round(time.monotonic() - started, 3),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    publish(folder, manifest)
    return Finished(stage, "ran", manifest)


def state(config: RunConfig, planned: Planned) -> Literal["done", "stale", "interrupted", "missing"]:
    """Where a stage of a run stands, for `thumbline status`."""
    if planned.action == "skip":
        return "done"
    if partial_dir(config.run_dir / planned.stage.name).exists():
        return "interrupted"
    return "missing" if read_stage(config, planned.stage) is None else "stale"


def load_saved_config(run_dir: Path) -> RunConfig:
    """The settings that the run in `run_dir` was last started with.

    Raises:
        ConfigError: The folder holds no run.
    """
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{run_dir}: no {CONFIG_FILE} here, so this is not the folder of a run.")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Neither is a setting: the command line, and a section that held nothing.
    for key in ("command", "policy"):
        document.pop(key, None)
    moved = RunConfig.model_validate(document)
    return moved.model_copy(update={"runs": str(run_dir.parent), "name": run_dir.name})


def _save_config(config: RunConfig, document: dict[str, Any]) -> None:
    write_text(config.run_dir / CONFIG_FILE, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _producer(table: str) -> Stage:
    for stage in STAGES:
        if table in stage.outputs or (table == "model" and stage.name == "train"):
            return stage
    raise KeyError(table)


def read_stage(config: RunConfig, stage: Stage) -> Manifest | None:
    """The manifest of a stage of a run; None where it never finished."""
    return read_manifest(config.run_dir / stage.name)


def _json_settings(stage: Stage, config: RunConfig) -> dict[str, Any]:
    settings: Any = stage.settings(config)
    dumped = settings.model_dump(mode="json") if hasattr(settings, "model_dump") else settings
    return dict(dumped)


def _input_digests(config: RunConfig, stage: Stage) -> dict[str, str]:
    """Digests of every input table, file and outside source.

    Raises:
        PipelineError: A stage before this one has not finished.
    """
    digests = dict(stage.external(config))
    for table in (*stage.inputs, *stage.files):
        producer = _producer(table)
        manifest = read_stage(config, producer)
        if manifest is None:
            raise PipelineError(
                f"{stage.name}: needs '{table}', which {producer.name} has not made yet in {config.run_dir}. "
                f"Run from {producer.name}."
            )
        digests[table] = manifest.outputs[table].sha256 if table in manifest.outputs else manifest.files[table]
    return digests


def _fingerprint(config: RunConfig, stage: Stage) -> str:
    return digest_json([stage.name, stage.version, _json_settings(stage, config), _input_digests(config, stage)])


def _why_run(config: RunConfig, stage: Stage, fingerprint: str) -> str | None:
    """Why a stage is not up to date, or None where it is."""
    folder = config.run_dir / stage.name
    manifest = read_stage(config, stage)
    if manifest is None:
        return "interrupted" if partial_dir(folder).exists() else "never ran"
    if manifest.fingerprint != fingerprint:
        return _what_changed(config, stage, manifest)
    missing = missing_outputs(folder, manifest)
    return f"missing {missing[0]}" if missing else None


def _what_changed(config: RunConfig, stage: Stage, manifest: Manifest) -> str:
    if manifest.version != stage.version:
        return f"code version {manifest.version} is now {stage.version}"
    settings, before = _flat(_json_settings(stage, config)), _flat(manifest.config)
    keys = sorted(key for key in settings | before if settings.get(key) != before.get(key))
    if keys:
        return f"changed setting {', '.join(keys)}"
    digests = _input_digests(config, stage)
    names = sorted(key for key in digests | manifest.inputs if digests.get(key) != manifest.inputs.get(key))
    return f"changed input {', '.join(names)}"


def _flat(settings: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{place}{key}.") if isinstance(value, dict) else {f"{place}{key}": value}
    return found


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold the run's lock; the system frees it when the process ends, however it ends."""
    descriptor = os.open(run_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(f"{run_dir}: another process is running this run. Wait for it, or stop it.") from None
        yield
    finally:
        os.close(descriptor)
