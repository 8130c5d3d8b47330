"""Where the numbers come from: stages, settings, digests, versions and the commands that make them again."""

import shlex
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..config import RunConfig
from ..hiding import holds_hidden, without_secrets
from ..storage.manifests import Manifest
from .inputs import Missing, ReportInputs

_LINE: Final = (
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


class StageRow(NamedTuple):
    """One finished stage."""

    stage: str
    rows_in: int
    rows_out: int
    merged: int
    rejected: int
    adds_up: bool
    seconds: float
    version: int
    fingerprint: str
    finished_at: str


class Setting(NamedTuple):
    """One value of the run's settings."""

    section: str
    key: str
    value: str
    changed: bool
    meaning: str


class Digest(NamedTuple):
    """One digest that a stage recorded."""

    stage: str
    kind: str
    name: str
    rows: int | None
    digest: str


@dataclass(frozen=True)
class Lineage:
    """The sections on stages and on how to make the report again.

    Attributes:
        stages: Finished stages in their order.
        total_seconds: Of all of them.
        settings: Every value of the run's settings.
        yaml: The settings as a run file.
        hides_secrets: Whether a secret of the user's was left out of it.
        digests: Every digest in every manifest.
        versions: Versions of software, by name.
        commands: Command lines that make this again.
    """

    stages: tuple[StageRow, ...] | Missing
    total_seconds: float
    settings: tuple[Setting, ...] | Missing
    yaml: str
    hides_secrets: bool
    digests: tuple[Digest, ...] | Missing
    versions: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]


def lineage(inputs: ReportInputs) -> Lineage:
    """Stages, settings, digests, versions and commands."""
    manifests = sorted(inputs.manifests.values(), key=_place)
    run_file = "" if inputs.config is None else _run_file(inputs.config)
    return Lineage(
        stages=tuple(map(_stage_row, manifests)) or Missing("No stage of the line ran for this report."),
        total_seconds=sum(manifest.seconds for manifest in manifests),
        settings=_settings(inputs.config),
        yaml=run_file,
        hides_secrets=holds_hidden(run_file),
        digests=(*_given(inputs), *(digest for manifest in manifests for digest in _digests(manifest)))
        or Missing("No stage recorded a digest."),
        versions=tuple(sorted(inputs.versions.items())),
        commands=_commands(inputs),
    )


def _place(manifest: Manifest) -> int:
    """The stage's place in the line; an unknown stage comes last."""
    return _LINE.index(manifest.stage) if manifest.stage in _LINE else len(_LINE)


def _stage_row(manifest: Manifest) -> StageRow:
    counts = manifest.counts
    return StageRow(
        stage=manifest.stage,
        rows_in=counts.rows_in,
        rows_out=counts.rows_out,
        merged=counts.merged,
        rejected=counts.rejected,
        adds_up=counts.adds_up,
        seconds=manifest.seconds,
        version=manifest.version,
        fingerprint=manifest.fingerprint,
        finished_at=manifest.finished_at,
    )


def _settings(config: RunConfig | None) -> tuple[Setting, ...] | Missing:
    if config is None:
        return Missing("No run file belongs to this report: finished rows were evaluated.")
    return tuple(_walk(config, ""))


def _walk(model: BaseModel, section: str) -> list[Setting]:
    """Every value under `model`; one that its field's default does not give is marked as changed."""
    found: list[Setting] = []
    nested: list[Setting] = []
    shown_settings = _document(model)
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            nested.extend(_walk(value, f"{section}.{name}" if section else name))
        else:
            shown = _plain(shown_settings[name])
            found.append(Setting(section, name, shown, _is_changed(value, field), field.description or ""))
    return found + nested


def _is_changed(value: Any, field: FieldInfo) -> bool:
    return field.is_required() or value != field.get_default(call_default_factory=True)


def _run_file(config: RunConfig) -> str:
    return yaml.safe_dump(_document(config), sort_keys=False, allow_unicode=True)


def _document(model: BaseModel) -> dict[str, Any]:
    """The settings as a run file has them, without the user's secrets: a report is passed on."""
    return without_secrets(model.model_dump(mode="json"))


def _plain(value: Any) -> str:
    """A value as it stands in a run file."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _digests(manifest: Manifest) -> list[Digest]:
    read = [Digest(manifest.stage, "read", name, None, digest) for name, digest in manifest.inputs.items()]
    tables = [
        Digest(manifest.stage, "wrote", record.file, record.rows, record.sha256) for record in manifest.outputs.values()
    ]
    files = [Digest(manifest.stage, "wrote", name, None, digest) for name, digest in manifest.files.items()]
    return read + tables + files


def _given(inputs: ReportInputs) -> list[Digest]:
    """Digests of what was evaluated and of the models that scored it, where that was no run."""
    if inputs.manifests:
        return []
    rows = [Digest("evaluate", "read", source.name, source.rows, source.digest) for source in inputs.sources]
    weights = [
        Digest("evaluate", "model", f"{name} ({notes['engine']}, {notes['dtype']})", None, notes["model"])
        for name, notes in inputs.models.items()
    ]
    return rows + weights


def shown_command(inputs: ReportInputs) -> str:
    """The command that made the report, without secrets; empty where it was made by none."""
    return without_secrets(inputs.command)


def named_file(inputs: ReportInputs) -> str:
    """The run file as a shell takes it, where no command says what it is called: as the run is."""
    name = f"{inputs.run_name}.yaml"
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _commands(inputs: ReportInputs) -> tuple[str, ...]:
    """How to make the report again; the settings on the page are the whole of what a run file says."""
    command = shown_command(inputs)
    if inputs.config is None:
        return (command,) if command else ()
    again = f"thumbline run {named_file(inputs)}"
    return (command, again) if command and command != again else (again,)
