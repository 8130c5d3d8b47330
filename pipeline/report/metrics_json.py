"""The metrics with all that they rest on as one JSON document; `metrics.schema.json` beside this file describes it."""

import json
import math
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from thumbline.evaluators import Metric

from .facts import ReportFacts
from .inputs import ReportInputs
from .tones import Statement

# Raised whenever a key changes its place or meaning; a new key does not raise it.
SCHEMA_VERSION: Final = 1


def metrics_json(inputs: ReportInputs, facts: ReportFacts) -> dict[str, Any]:
    """The document, as JSON values: a number that does not exist is null with its reason."""
    evaluation = facts.evaluation
    return {
        "schema_version": SCHEMA_VERSION,
        "name": inputs.run_name,
        "generated_at": inputs.generated_at,
        "command": inputs.command,
        "versions": dict(inputs.versions),
        "reward": {"kind": inputs.reward, "beta": inputs.beta},
        "confidence": inputs.confidence,
        "subject": evaluation.subject,
        "baseline": evaluation.baseline,
        "models": [{"name": name, **_scored_with(inputs, name)} for name in evaluation.models],
        "sources": [source._asdict() for source in inputs.sources],
        "verdict": {
            "tone": facts.verdict.tone,
            "sentence": facts.verdict.sentence,
            "decided_by": facts.verdict.decided_by,
            "statements": [_statement(one) for one in facts.verdict.statements],
        },
        "metrics": [metric_json(row) for row in evaluation.rows()],
    }


@lru_cache(maxsize=1)
def metrics_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the document."""
    text = (resources.files("thumbline.pipeline.report") / "metrics.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _scored_with(inputs: ReportInputs, name: str) -> dict[str, str | None]:
    notes = inputs.models.get(name, {})
    return {key: notes.get(source) for key, source in (("digest", "model"), ("engine", "engine"), ("dtype", "dtype"))}


def _statement(statement: Statement) -> dict[str, Any]:
    return {name: getattr(statement, name) for name in ("source", "tone", "sentence", "decides")}


def metric_json(row: Metric) -> dict[str, Any]:
    """One metric as JSON values."""
    plain = row._asdict()
    low, high = _number(plain.pop("ci_low")), _number(plain.pop("ci_high"))
    plain["value"], plain["standard_error"] = _number(row.value), _number(row.standard_error)
    if row.value is not None and plain["value"] is None:
        plain["reason"] = f"the value is {row.value}"
    plain["interval"] = None if low is None or high is None else {"low": low, "high": high}
    return plain


def _number(value: float | None) -> float | None:
    """`value`; None where JSON has no such number."""
    return None if value is None or not math.isfinite(value) else value
