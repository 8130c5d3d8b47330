"""The report's edge: reads what it shows of the run's tables, and its manifests, and writes one page and its facts."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..report import ANSWER_TEXTS, TEXTS, ReportInputs, report_files, shown_answers, shown_pairs
from ..report.run_facts import COLUMNS, INPUTS, read_manifests, saved_command, versions, write_files
from ..storage.manifests import Counts

VERSION: Final = 15
OUTPUTS: Final = ()


def settings(config: RunConfig) -> dict[str, Any]:
    """All settings, since the report shows every one; where the work is done changes nothing that it says."""
    return config.model_dump(mode="json", exclude={"runs", "scale"})


def _notes(config: RunConfig) -> tuple[str, ...]:
    """What the reader must know of the rows that were evaluated."""
    if config.metrics.split == "test":
        return ()
    return (
        "The validation split was evaluated: it is there to choose by, so the chosen run's numbers are too good. Set "
        "metrics.split to test for those to report.",
    )


def run(context: StageContext) -> StageResult:
    """Read what the run made, write the page, its facts, the metrics and a section for a model card."""
    tables = {name: context.read(name, COLUMNS.get(name)) for name in INPUTS}
    # The page that was there before is none of its facts.
    manifests = read_manifests(context.run_dir, but="report")
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
        notes=_notes(context.config),
    )
    shown = shown_answers(inputs)
    # The texts of a few pairs of many.
    texts = context.read("pairs", TEXTS, where=pl.col("pair_id").is_in(shown_pairs(inputs)))
    answers, prompts = (
        context.read(name, columns, where=pl.col(columns[0]).is_in(shown[name]))
        for name, columns in ANSWER_TEXTS.items()
    )
    inputs = replace(inputs, texts=texts, answers=answers, prompts=prompts)
    files = write_files(context.folder, report_files(inputs))
    return StageResult(
        outputs={},
        files=files,
        counts=Counts(rows_in=tables["metrics"].height, rows_out=tables["metrics"].height),
    )
