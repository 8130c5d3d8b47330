"""Facts and pictures of a run as one HTML file that a person opens, and the same facts as JSON."""

import json
from typing import Any, NamedTuple

from thumbline.evaluators import Metric

from .evaluation_facts import evaluation_facts
from .examples import TEXTS, Examples, examples
from .facts import SCHEMA_VERSION, ReportFacts, as_json, collect_facts
from .inputs import Missing, ReportInputs, Source
from .judges import answer_numbers
from .metrics_json import metrics_json, metrics_schema
from .model_card import model_card
from .run_facts import read_manifests, versions, write_files
from .tones import Tone
from .verdict import verdict
from .worst_losses import TEXTS as ANSWER_TEXTS
from .worst_losses import shown_answers as answers_shown

__all__ = [
    "ANSWER_TEXTS",
    "SCHEMA_VERSION",
    "TEXTS",
    "Missing",
    "ReportInputs",
    "Source",
    "Summary",
    "metrics_schema",
    "read_manifests",
    "render_report",
    "report_files",
    "report_json",
    "shown_answers",
    "shown_pairs",
    "summary",
    "versions",
    "write_files",
]


def render_report(inputs: ReportInputs) -> str:
    """The report as one HTML document: the same inputs give the same bytes.

    What the inputs lack is named on the page with the reason.
    """
    return _page(inputs, collect_facts(inputs))


def report_json(inputs: ReportInputs) -> dict[str, Any]:
    """The facts of the report as JSON values; `schema_version` names their layout."""
    return as_json(collect_facts(inputs))


def report_files(inputs: ReportInputs) -> dict[str, str]:
    """What a report is written as, by file name: the page, its facts, the metrics and a section for a model card."""
    facts = collect_facts(inputs)
    return {
        "report.html": _page(inputs, facts),
        "report.json": _as_text(as_json(facts)),
        "metrics.json": _as_text(metrics_json(inputs, facts)),
        "model_card.md": model_card(inputs, facts),
    }


def shown_pairs(inputs: ReportInputs) -> list[str]:
    """Ids of the pairs that a report shows with their texts, which need not be in `inputs` yet."""
    found = examples(inputs, evaluation_facts(inputs).subject)
    return [row.pair_id for row in (*found.worst, *found.best)] if isinstance(found, Examples) else []


class Summary(NamedTuple):
    """A report in short.

    Attributes:
        sentence: The verdict.
        numbers: Headlines of every model, then their differences, then what judges of sampled answers say.
        tone: The verdict in a word: better, priced, same, worse or unknown.
    """

    sentence: str
    numbers: tuple[Metric, ...]
    tone: Tone


def summary(inputs: ReportInputs) -> Summary:
    """The verdict's sentence, and the numbers to show beside it."""
    facts = evaluation_facts(inputs)
    differences = [row for row in facts.logged() if row.compared_with is not None and row.slice is None]
    # Of several models each against the baseline: the page has every two of them.
    against = {facts.baseline} if facts.baseline else {row.compared_with for row in differences}
    shown = [row for row in differences if row.metric.endswith("_difference") and row.compared_with in against]
    found = verdict(inputs, facts)
    return Summary(found.sentence, (*facts.main_numbers(), *shown, *answer_numbers(inputs, facts)), found.tone)


def shown_answers(inputs: ReportInputs) -> dict[str, list[str]]:
    """Ids of the sampled answers and prompts that a report shows with their texts, by table."""
    return answers_shown(inputs, evaluation_facts(inputs))


def _page(inputs: ReportInputs, facts: ReportFacts) -> str:
    # Imported here, so that who asks for a verdict alone does not wait for what draws pictures.
    from .page import render_page
    from .pictures import draw

    return render_page(facts, draw(inputs, facts))


def _as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"
