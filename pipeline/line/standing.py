"""Where each stage of a run stands by what its folder holds, also far from the logs and models that it came from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple

from ..config import RunConfig
from ..errors import InputError, PipelineError
from ..reading.hub import PREFIX
from ..reading.inputs import expand_inputs
from ..storage.manifests import Manifest, partial_dir
from .activity import Activity
from .planning import fingerprint_of, read_stage, why_run
from .stages import STAGES, Stage, producer_of

# Of these files are compared with what was read; models would have to be fetched and read first, which takes minutes.
_COMPARED: Final = frozenset({"events", "splits"})
_MOST_BYTES: Final = 1 << 30

State = Literal["done", "stale", "interrupted", "missing", "running"]


class Standing(NamedTuple):
    """Where a stage stands.

    Attributes:
        stage: Which.
        state: `done`; `stale`: it would run again; `interrupted`: what it has done is kept; `missing`: it never ended;
            `running`.
        why: Why it is not done; empty where it is.
        manifest: What it recorded; None where it never ended.
        unchecked: Why its inputs from outside the run could not be compared with those that it read; None where they
            were, or need not be.
    """

    stage: Stage
    state: State
    why: str
    manifest: Manifest | None
    unchecked: str | None = None


def standing(config: RunConfig, activity: Activity | None = None) -> list[Standing]:
    """Where the stages stand. What cannot be compared is taken to be as it was.

    Args:
        config: The run, which may lie elsewhere than it was made.
        activity: What a process does in its folder.
    """
    found: list[Standing] = []
    pending: set[str] = set()
    running = None if activity is None or activity.state != "running" else activity.stage
    for stage in STAGES:
        waiting = [table for table in stage.reads(config) if producer_of(table).name in pending]
        one = _after(config, stage, producer_of(waiting[0])) if waiting else _alone(config, stage)
        if stage.name == running:
            one = one._replace(state="running")
        if one.state != "done":
            pending.add(stage.name)
        found.append(one)
    return found


def _after(config: RunConfig, stage: Stage, before: Stage) -> Standing:
    manifest = read_stage(config, stage)
    return Standing(stage, _unfinished(config, stage, manifest), f"after {before.name}", manifest)


def _alone(config: RunConfig, stage: Stage) -> Standing:
    manifest = read_stage(config, stage)
    if manifest is None:
        return Standing(stage, _unfinished(config, stage, None), why_run(config, stage, "") or "", None)
    recorded = {name: digest for name, digest in manifest.inputs.items() if name not in stage.reads(config)}
    try:
        outside, unchecked = _outside(config, stage, recorded), None
    except (PipelineError, OSError) as error:
        outside, unchecked = recorded, str(error)
    why = why_run(config, stage, fingerprint_of(config, stage, outside), outside)
    if why is None:
        return Standing(stage, "done", "", manifest, unchecked)
    return Standing(stage, _unfinished(config, stage, manifest), why, manifest, unchecked)


def _unfinished(config: RunConfig, stage: Stage, manifest: Manifest | None) -> State:
    if partial_dir(config.run_dir / stage.name).exists():
        return "interrupted"
    return "missing" if manifest is None else "stale"


def _outside(config: RunConfig, stage: Stage, recorded: Mapping[str, str]) -> Mapping[str, str]:
    """Digests of a stage's inputs from outside as they are now; those recorded where they differ in names alone.

    Raises:
        InputError: They are not to be compared from here.
    """
    if stage.name not in _COMPARED or not recorded:
        return recorded
    if stage.name == "events":
        _check_readable(config.events.inputs)
    found = stage.external(config)
    # Files are named as seen from the working folder, which may be another.
    return recorded if sorted(found.values()) == sorted(recorded.values()) else found


def _check_readable(inputs: tuple[str, ...]) -> None:
    away = [
        entry
        for entry in inputs
        if "://" in entry or (entry.startswith(PREFIX) and Path(entry[len(PREFIX) :]).exists())
    ]
    if away:
        raise InputError(f"{away[0]}: not read again for this.")
    size = sum(file.path.stat().st_size for file in expand_inputs(inputs).files)
    if size > _MOST_BYTES:
        raise InputError(f"{size / 1e9:.1f} GB of logs are not read again for this.")
