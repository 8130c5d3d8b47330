"""Facts and pictures of a run as one HTML file that a person opens, and the same facts as JSON."""

from typing import Any

from pipeline.stages.report.facts import SCHEMA_VERSION, as_json, collect_facts
from pipeline.stages.report.inputs import Missing, ReportInputs
from pipeline.stages.report.page import render_page
from pipeline.stages.report.pictures import draw
from pipeline.stages.report.stage import INPUTS, OUTPUTS, VERSION, run, settings, versions, write_report

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "SCHEMA_VERSION",
    "VERSION",
    "Missing",
    "ReportInputs",
    "render_report",
    "report_json",
    "run",
    "settings",
    "versions",
    "write_report",
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
