"""Facts and pictures of a run as one HTML file that a person opens, and the same facts as JSON."""

import json
from typing import Any

from pipeline.stages.report.evaluation_facts import Measure, evaluation_facts
from pipeline.stages.report.examples import reward_of
from pipeline.stages.report.facts import SCHEMA_VERSION, as_json, collect_facts
from pipeline.stages.report.inputs import Missing, ReportInputs, Source
from pipeline.stages.report.metrics_json import metrics_json, metrics_schema
from pipeline.stages.report.model_card import model_card
from pipeline.stages.report.page import render_page
from pipeline.stages.report.pictures import draw
from pipeline.stages.report.stage import (
    INPUTS,
    OUTPUTS,
    VERSION,
    read_manifests,
    run,
    settings,
    versions,
    write_files,
)
from pipeline.stages.report.verdict import verdict

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "SCHEMA_VERSION",
    "VERSION",
    "Measure",
    "Missing",
    "ReportInputs",
    "Source",
    "metrics_schema",
    "read_manifests",
    "render_report",
    "report_files",
    "report_json",
    "reward_of",
    "run",
    "settings",
    "summary",
    "versions",
    "write_files",
]


def render_report(inputs: ReportInputs) -> str:
    """The report as one HTML document: the same inputs give the same bytes.

    What the inputs lack is named on the page with the reason.
    """
    facts = collect_facts(inputs)
    return render_page(facts, draw(inputs, facts))


def report_json(inputs: ReportInputs) -> dict[str, Any]:
    """The facts of the report as JSON values; `schema_version` names their layout."""
    return as_json(collect_facts(inputs))


def report_files(inputs: ReportInputs) -> dict[str, str]:
    """What a report is written as, by file name: the page, its facts, the metrics and a section for a model card."""
    facts = collect_facts(inputs)
    return {
        "report.html": render_page(facts, draw(inputs, facts)),
        "report.json": _as_text(as_json(facts)),
        "metrics.json": _as_text(metrics_json(inputs, facts)),
        "model_card.md": model_card(inputs, facts),
    }


def summary(inputs: ReportInputs) -> tuple[str, tuple[Measure, ...]]:
    """The verdict's sentence, and the numbers to show beside it: headlines of every model, then their differences."""
    facts = evaluation_facts(inputs)
    differences = [row for row in facts.rows() if row.compared_with is not None and row.slice is None]
    shown = [row for row in differences if row.metric.endswith("_difference")]
    return verdict(inputs, facts).sentence, (*facts.main_numbers(), *shown)


def _as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"
