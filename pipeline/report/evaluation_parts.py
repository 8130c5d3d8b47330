"""Parts of the metrics table that have a section of their own: before and after, calibration, length, slices.

They are found by the metrics' names; a part whose metrics were not computed is empty, and the page leaves it out.
"""

import math
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from thumbline.evaluators import Metric

from .evaluation_facts import HEADLINES, EvaluationFacts, Headline
from .formatting import change, difference, interval, measure, p_value

CALIBRATION: Final = "calibration"
LENGTH: Final = "length_bias"
_RELIABILITY: Final = ("reliability_accuracy", "reliability_confidence")
_STRATUM: Final = "accuracy_in_stratum"
_CHECKPOINT: Final = re.compile(r"(?P<stem>.*(?:checkpoint|step))[-_]?(?P<step>\d+)$", re.IGNORECASE)
_LEAST_CHECKPOINTS: Final = 3
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_SMALL: Final = "small slice"
# Differences whose names do not end so.
_GAPS: Final = frozenset({"auc_over_length", "rate_bias"})
# Evaluators whose slices are bins and strata of their own making, shown in their own sections.
_OWN_SLICES: Final = frozenset({CALIBRATION, LENGTH})


class Change(NamedTuple):
    """A headline number before and after.

    Attributes:
        title: What it is.
        before: Of the baseline.
        after: Of the model that the report is about.
        gap: The paired difference; None where it was not computed.
    """

    title: str
    before: Metric
    after: Metric
    gap: Metric | None


class ReliabilityBin(NamedTuple):
    """Held-out pairs of about the same confidence.

    Attributes:
        name: The bin's bounds.
        confidence: Mean probability that the model gives to the answer it prefers.
        accuracy: How often that answer is the better one.
    """

    name: str
    confidence: Metric
    accuracy: Metric


class SliceTable(NamedTuple):
    """A headline number of each slice.

    Attributes:
        headline: Which number.
        rows: One a slice and model.
    """

    headline: Headline
    rows: tuple[Metric, ...]


class CheckpointCurve(NamedTuple):
    """A headline number over the checkpoints of one training.

    Attributes:
        headline: Which number.
        stem: What the checkpoints' names have in common.
        points: (step, the number), by step.
    """

    headline: Headline
    stem: str
    points: tuple[tuple[int, Metric], ...]


def checkpoint_curves(facts: EvaluationFacts) -> tuple[CheckpointCurve, ...]:
    """Headline numbers of models that are named like `checkpoint-200` or `step_200`, where there are several."""
    found = []
    for headline in HEADLINES:
        by_stem: dict[str, list[tuple[int, Metric]]] = {}
        for model in facts.models:
            step, row = _CHECKPOINT.match(model), facts.headline(headline, model)
            if step is not None and row is not None and row.value is not None:
                by_stem.setdefault(step["stem"], []).append((int(step["step"]), row))
        found += [
            CheckpointCurve(headline, stem, tuple(sorted(points, key=lambda point: point[0])))
            for stem, points in sorted(by_stem.items())
            if len(points) >= _LEAST_CHECKPOINTS
        ]
    return tuple(found)


def changes(facts: EvaluationFacts) -> tuple[Change, ...]:
    """Headline numbers before and after; none without a baseline."""
    found = []
    for headline in HEADLINES:
        before, after = facts.headline(headline, facts.baseline), facts.headline(headline, facts.subject)
        if facts.baseline is None or before is None or after is None or before.value is None or after.value is None:
            continue
        gap = next(
            (
                row
                for row in facts.rows()
                if row.metric == headline.difference and row.slice is None and _is_change(row, facts)
            ),
            None,
        )
        found.append(Change(headline.title, before, after, gap))
    return tuple(found)


def _is_change(row: Metric, facts: EvaluationFacts) -> bool:
    return (row.model, row.compared_with) == (facts.subject, facts.baseline)


def reliability(facts: EvaluationFacts, model: str | None) -> tuple[ReliabilityBin, ...]:
    """The reliability curve of a model, from the least to the most confident bin."""
    by_bin: dict[str, dict[str, Metric]] = {}
    for row in facts.rows():
        if row.evaluator == CALIBRATION and row.metric in _RELIABILITY and row.model == model and row.slice:
            by_bin.setdefault(row.slice.partition("=")[2], {})[row.metric] = row
    accuracy, confidence = _RELIABILITY
    bins = [
        ReliabilityBin(name, found[confidence], found[accuracy])
        for name, found in by_bin.items()
        if confidence in found and accuracy in found
    ]
    filled = [one for one in bins if one.confidence.value is not None and one.accuracy.value is not None]
    return tuple(sorted(filled, key=lambda one: one.confidence.value or 0.0))


def strata(facts: EvaluationFacts, model: str | None) -> tuple[Metric, ...]:
    """Accuracy of a model by how the two answers' lengths compare."""
    found = [row for row in facts.rows() if row.evaluator == LENGTH and row.metric == _STRATUM and row.model == model]
    return tuple(sorted(found, key=_place_of_range))


def _place_of_range(row: Metric) -> float:
    """Where `under 0.5`, `0.5 to 2` or `over 2` stands on its scale."""
    name = str(row.slice).partition("=")[2]
    numbers = [float(number) for number in _NUMBER.findall(name)]
    if not numbers or name.startswith("under"):
        return -math.inf
    return math.inf if name.startswith("over") else numbers[0]


def of_evaluator(facts: EvaluationFacts, name: str) -> tuple[Metric, ...]:
    """What an evaluator says of all rows."""
    return next((rows for evaluator, rows in facts.other_numbers() if evaluator == name), ())


def rest(facts: EvaluationFacts) -> tuple[tuple[str, tuple[Metric, ...]], ...]:
    """Numbers of the evaluators that have no section of their own."""
    return tuple((name, rows) for name, rows in facts.other_numbers() if name not in _OWN_SLICES)


def slice_tables(facts: EvaluationFacts) -> tuple[SliceTable, ...]:
    """Headline numbers by slice, model beside model."""
    found = []
    for headline in HEADLINES:
        named = (headline.evaluator, headline.metric)
        rows = [row for row in telling_slices(_sliced(facts)) if (row.evaluator, row.metric) == named]
        if rows:
            order = {name: place for place, name in enumerate(facts.models)}
            rows.sort(key=lambda row: (row.slice or "", order.get(row.model, len(order))))
            found.append(SliceTable(headline, tuple(rows)))
    return tuple(found)


def other_slices(facts: EvaluationFacts) -> tuple[Metric, ...]:
    """What else is known of slices."""
    shown = {(headline.evaluator, headline.metric) for headline in HEADLINES}
    return tuple(row for row in telling_slices(_sliced(facts)) if (row.evaluator, row.metric) not in shown)


def telling_slices(rows: Iterable[Metric]) -> tuple[Metric, ...]:
    """Rows of columns with several values: the one slice of any other column is all rows, said already."""
    given = tuple(rows)
    values: dict[str, set[str]] = {}
    for row in given:
        values.setdefault(_column(row), set()).add(row.slice or "")
    return tuple(row for row in given if len(values[_column(row)]) > 1)


def single_slices(facts: EvaluationFacts) -> tuple[str, ...]:
    """Columns that were sliced by and have one value each."""
    rows = _sliced(facts)
    told = {_column(row) for row in telling_slices(rows)}
    return tuple(sorted({str(row.slice).replace("=", " is ", 1) for row in rows if _column(row) not in told}))


def _column(row: Metric) -> str:
    return str(row.slice).partition("=")[0]


def _sliced(facts: EvaluationFacts) -> list[Metric]:
    return [row for row in facts.logged() if row.slice is not None and row.evaluator not in _OWN_SLICES]


def is_gap(row: Metric) -> bool:
    """Whether the number is a difference of two, which has a sign and, of shares, percentage points."""
    return row.metric.endswith("_difference") or row.metric in _GAPS


def shown(row: Metric) -> str:
    """A number as a person reads it: a difference with its sign, a p-value to a thousandth."""
    if row.value is not None and row.unit == "probability" and row.metric.endswith("_p"):
        return p_value(row.value).removeprefix("p ").removeprefix("= ")
    return change(row.value, row.unit) if is_gap(row) else measure(row.value, row.unit)


def shown_interval(row: Metric) -> str:
    """Its interval likewise; a dash where there is none."""
    if is_gap(row):
        return difference(row.ci_low, row.ci_high, row.unit, "pp")
    return interval(row.ci_low, row.ci_high, row.unit)


def is_small(row: Metric) -> bool:
    """Whether the evaluators mark the slice as one of few prompt groups."""
    return row.reason is not None and row.reason.startswith(_SMALL)
