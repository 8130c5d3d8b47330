"""What `--json` prints of a run: the same keys whatever the command, and null where there is nothing to say."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config import RunConfig
from ..errors import PipelineError
from ..storage.attached import lies_there
from ..storage.kept import check_kept

if TYPE_CHECKING:
    from ..line import Activity, Finished, Standing
    from ..storage.manifests import Manifest

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; what people read goes to stderr.")
]


def verdict_of(config: RunConfig) -> dict[str, Any] | None:
    """`tone` and `sentence` of the run's report; None where there is none, or it is not as it was written."""
    path = config.run_dir / "report" / "metrics.json"
    try:
        check_kept(path)
        # To open a pipe would wait for who writes to it.
        if not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))["verdict"]
        return {"tone": str(found["tone"]), "sentence": str(found["sentence"])}
    except (PipelineError, OSError, ValueError, KeyError, TypeError):
        return None


def report_of(config: RunConfig) -> str | None:
    """The page of the run's report, its path or address; None where there is none."""
    path = config.run_dir / "report" / "report.html"
    return config.place("report", "report.html") if path.is_file() or lies_there(path) else None


def stage_document(manifest: "Manifest | None") -> dict[str, Any]:
    """What a stage did with its rows, why some were set aside, and sentences that a person should read."""
    from ..line import stage_lines

    if manifest is None:
        nothing = ("rows_in", "gave", "rows_out", "merged", "rejected", "seconds", "finished_at", "fingerprint")
        return {**dict.fromkeys(nothing), "made": {}, "reasons": {}, "said": []}
    counts = manifest.counts
    return {
        "rows_in": counts.rows_in,
        "gave": counts.given,
        "rows_out": counts.rows_out,
        "merged": counts.merged,
        "rejected": counts.rejected,
        "seconds": manifest.seconds,
        "finished_at": manifest.finished_at,
        "fingerprint": manifest.fingerprint,
        "made": dict(counts.made),
        "reasons": dict(manifest.notes.get("reject_reasons", {})),
        "said": stage_lines(manifest),
    }


def run_document(config: RunConfig, finished: "list[Finished]") -> dict[str, Any]:
    """A run that was just made.

    Keys: `run`, `folder`, `stages` (each with `stage`, `action`, which is `ran`, `skipped` or `taken`, and the keys of
    `stage_document`), `verdict` (`tone`, `sentence`) and `report`, the page.
    """
    return {
        "run": config.name,
        "folder": config.place(),
        "stages": [{"stage": one.stage.name, "action": one.action, **stage_document(one.manifest)} for one in finished],
        "verdict": verdict_of(config),
        "report": report_of(config),
    }


def status_document(config: RunConfig, standing: "list[Standing]", activity: "Activity | None") -> dict[str, Any]:
    """A run as it stands.

    Keys: as of `run_document`, but that a stage has `state` (`done`, `stale`, `interrupted`, `missing`, `running`),
    `why` and `unchecked` in place of `action`; and `activity`, which is null where no process runs and the last one
    finished.
    """
    return {
        "run": config.name,
        "folder": config.place(),
        "activity": None if activity is None else {"words": activity.words(), **activity.model_dump()},
        "stages": [
            {
                "stage": one.stage.name,
                "state": one.state,
                "why": one.why,
                "unchecked": one.unchecked,
                **stage_document(one.manifest),
            }
            for one in standing
        ],
        "verdict": verdict_of(config),
        "report": report_of(config),
    }
