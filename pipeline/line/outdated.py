"""What was made of a run's tables beside its stages, and is of others as soon as a stage writes something else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..context import Reporter
from ..storage.kept import trusted_manifest
from ..storage.manifests import Manifest
from ..storage.set_aside import aside, set_aside
from ..tables import TABLES
from .stages import STAGES

REPORT: Final = "report"
# File or folder to the stages that it is made of; the report is made of all.
_MADE_OF: Final[Mapping[str, frozenset[str] | None]] = {
    "dataset": frozenset({"events", "responses", "unpaired", "pairs", "splits"}),
    "data_report.html": frozenset({"events", "responses", "unpaired", "pairs", "splits"}),
    REPORT: None,
}


def outdate(run_dir: Path, before: Manifest | None, now: Manifest, reporter: Reporter) -> None:
    """Put aside what was made of a stage's tables where they are no longer the same, and say so.

    Called before the new tables take the old ones' place, so that a run that is killed in between leaves no old page
    beside new tables.

    Args:
        run_dir: The run's folder.
        before: What the stage did last; None where it never finished.
        now: What it did now.
        reporter: Where it is said.
    """
    if now.stage == REPORT or (before is not None and _content(before) == _content(now)):
        return
    moved = [
        name
        for name, stages in _MADE_OF.items()
        if (stages is None or now.stage in stages) and set_aside(run_dir / name)
    ]
    if moved:
        kept = ", ".join(f"{name} as {aside(Path(name))}" for name in moved)
        reporter.say(
            f"{now.stage} has changed; what was made of the tables before is kept until it is made again: {kept}"
        )


def _content(manifest: Manifest) -> dict[str, str]:
    return {name: record.sha256 for name, record in manifest.outputs.items()} | manifest.files


def consistent(run_dir: Path) -> dict[str, Manifest]:
    """The manifests of finished stages, without those that read tables which have been replaced since, or are gone."""
    found: dict[str, Manifest] = {}
    digests: dict[str, str] = {}
    for stage in STAGES:
        manifest = trusted_manifest(run_dir / stage.name)
        if manifest is None:
            continue
        # Files and models outside of the run are not looked at.
        read = {name: digest for name, digest in manifest.inputs.items() if name in TABLES}
        if all(digests.get(name) == digest for name, digest in read.items()):
            found[stage.name] = manifest
            digests |= _content(manifest)
    return found
