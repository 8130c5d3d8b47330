"""Where a run stands: what is up to date, what would run, and why."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from ..config import RunConfig
from ..errors import MissingDependencyError, PipelineError
from ..hiding import with_named_secrets
from ..reading.remote import KeptSecretError
from ..storage.digests import digest_json
from ..storage.kept import changed_files
from ..storage.manifests import Manifest, is_damaged, missing_outputs, partial_dir, read_manifest
from .stages import STAGES, Stage, producer_of

Outside: TypeAlias = Mapping[str, str] | None


class Planned(NamedTuple):
    """What would happen to a stage, and why."""

    stage: Stage
    action: Literal["run", "skip", "maybe"]
    reason: str
    fingerprint: str | None


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
        waiting = [table for table in stage.reads(config) if producer_of(table).name in pending]
        if waiting:
            pending.add(stage.name)
            action: Literal["run", "maybe"] = "run" if read_stage(config, stage) is None or forced else "maybe"
            planned.append(Planned(stage, action, f"after {producer_of(waiting[0]).name}", None))
            continue
        planned.append(_next(config, stage, forced=forced))
        if planned[-1].action == "run":
            pending.add(stage.name)
    return planned


def _next(config: RunConfig, stage: Stage, *, forced: bool) -> Planned:
    """What would happen to a stage whose inputs are there."""
    try:
        fingerprint = fingerprint_of(config, stage)
    except MissingDependencyError as error:
        # A plain install shows what was prepared, and what the rest takes.
        return Planned(stage, "run", str(error), None)
    reason = "asked for" if forced else why_run(config, stage, fingerprint)
    return Planned(stage, "skip" if reason is None else "run", reason or "up to date", fingerprint)


def read_stage(config: RunConfig, stage: Stage) -> Manifest | None:
    """The manifest of a stage of a run; None where it never finished."""
    return read_manifest(config.run_dir / stage.name)


def json_settings(stage: Stage, config: RunConfig) -> dict[str, Any]:
    """The settings that a stage depends on, as its manifest keeps them: of a secret the digest.

    Credentials of an address are no part of them: what lies there decides, not who asks.
    """
    settings: Any = stage.settings(config)
    dumped = settings.model_dump(mode="json") if hasattr(settings, "model_dump") else settings
    return with_named_secrets(dict(dumped))


def input_digests(config: RunConfig, stage: Stage, outside: Outside = None) -> dict[str, str]:
    """Digests of every input table, file and outside source.

    Args:
        config: The run.
        stage: One of its stages.
        outside: Digests of the outside sources where they are known; None: they are read.

    Raises:
        PipelineError: A stage before this one has not finished.
    """
    digests = _outside(config, stage) if outside is None else dict(outside)
    for table in stage.reads(config):
        producer = producer_of(table)
        manifest = read_stage(config, producer)
        if manifest is None:
            folder = config.run_dir / producer.name
            what = f"whose manifest in {folder} is damaged"
            if not is_damaged(folder):
                what = f"which {producer.name} has not made yet in {config.run_dir}"
            raise PipelineError(f"{stage.name}: needs '{table}', {what}. Run from {producer.name}.")
        if table in manifest.outputs:
            digests[table] = manifest.outputs[table].sha256
        elif table in manifest.files:
            digests[table] = manifest.files[table]
        # A folder that the run's settings ask nobody to make is no input.
    return digests


def _outside(config: RunConfig, stage: Stage) -> dict[str, str]:
    """Digests of what lies outside of the run; as they were where only who knows a secret can ask for them."""
    try:
        return dict(stage.external(config))
    except KeptSecretError:
        manifest = read_stage(config, stage)
        if manifest is None:
            raise
        return dict(manifest.inputs)


def fingerprint_of(config: RunConfig, stage: Stage, outside: Outside = None) -> str:
    """What names a stage's output: code version, settings and digests of the inputs, `outside` as for those."""
    return digest_json([stage.name, stage.version, json_settings(stage, config), input_digests(config, stage, outside)])


def recorded(config: RunConfig, stages: Sequence[Stage]) -> bool:
    """Whether each of these stages has finished as it would now; its files may have been deleted since, not changed.

    Args:
        config: The run.
        stages: In the order of the line, from the first on.
    """
    for stage in stages:
        manifest = read_stage(config, stage)
        if manifest is None or manifest.fingerprint != fingerprint_of(config, stage):
            return False
        if changed_files(config.run_dir / stage.name, manifest):
            return False
    return True


def why_run(config: RunConfig, stage: Stage, fingerprint: str, outside: Outside = None) -> str | None:
    """Why a stage is not up to date, or None where it is."""
    folder = config.run_dir / stage.name
    manifest = read_stage(config, stage)
    if manifest is None and is_damaged(folder):
        return "damaged manifest.json"
    if manifest is None:
        return "interrupted" if partial_dir(folder).exists() else "never ran"
    if manifest.fingerprint != fingerprint:
        return _what_changed(config, stage, manifest, outside)
    missing = missing_outputs(folder, manifest)
    if missing:
        return f"missing {missing[0]}"
    changed = changed_files(folder, manifest)
    return f"damaged {changed[0]}" if changed else None


def _what_changed(config: RunConfig, stage: Stage, manifest: Manifest, outside: Outside) -> str:
    if manifest.version != stage.version:
        return f"code version {manifest.version} is now {stage.version}"
    settings, before = _flat(json_settings(stage, config)), _flat(manifest.config)
    keys = sorted(key for key in settings | before if settings.get(key) != before.get(key))
    if keys:
        return f"changed setting {', '.join(keys)}"
    digests = input_digests(config, stage, outside)
    names = sorted(key for key in digests | manifest.inputs if digests.get(key) != manifest.inputs.get(key))
    return f"changed input {', '.join(names)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
