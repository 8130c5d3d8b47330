"""The sections on sampled answers: what judges say, how the texts changed, the thumbs model, the predicted rate."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from thumbline.evaluators import Metric

from .evaluation_facts import EvaluationFacts
from .inputs import Missing, ReportInputs
from .judges import PREDICTED, SCORES, WINS, Sides, judge_names, opinion, predicted, sides
from .price import DIVERGENCE, TEXT, Price, price, reference_name
from .tones import Statement

THUMBS: Final = "thumbs_model"
# What is said of answers' texts, in this order, with what a reader calls it.
_TEXTS: Final = {
    "reference_nats_per_token": "Nats a token under {reference}",
    "own_nats_per_token": "Nats a token under the model itself",
    DIVERGENCE: "Divergence from {reference}, nats a token",
    "tokens": "Tokens",
    "characters": "Characters",
    "repetition": "Text that repeats itself",
    "refusals": "Refusals",
    "empty": "Empty answers",
    "cut_off": "Cut off at the limit",
}
# What a judge's table begins with.
_LED_BY: Final = {name: place for place, name in enumerate((WINS, f"{WINS}_p", "wins", "ties", "losses"))}
# Bins of predicted rates in the picture; each holds about as many answers.
_BINS: Final = 10


class TextChange(NamedTuple):
    """One measure of the answers' texts.

    Attributes:
        title: What it is.
        before: Of the baseline; None where it has none.
        after: Of the model.
        gap: The difference; None where it was not computed.
    """

    title: str
    before: Metric | None
    after: Metric
    gap: Metric | None


class JudgeFacts(NamedTuple):
    """A judge.

    Attributes:
        name: Its name.
        opinion: What it says of the model; None where it compares no two.
        main: Numbers of the model that the report is about and of the baseline.
        rest: All other numbers over all answers, such as those of further models.
    """

    name: str
    opinion: Statement | None
    main: tuple[Metric, ...]
    rest: tuple[Metric, ...]


class RateBin(NamedTuple):
    """Held-out answers of about the same predicted thumbs-up rate.

    Attributes:
        predicted: Mean of the calibrated rates.
        observed: Share of thumbs up, weighted.
        answers: How many.
    """

    predicted: float
    observed: float
    answers: int


@dataclass(frozen=True)
class AnswersFacts:
    """What sampled answers say.

    Attributes:
        sides: Whose answers are compared.
        judges: The judges, the one that decides first.
        texts: How the texts changed.
        price: What they cost; None where nothing is known of it.
        slices: Numbers of parts of the answers.
        further: What is known of further models' texts.
    """

    sides: Sides
    judges: tuple[JudgeFacts, ...]
    texts: tuple[TextChange, ...]
    price: Price | None
    slices: tuple[Metric, ...]
    further: tuple[Metric, ...]


@dataclass(frozen=True)
class ThumbsFacts:
    """The thumbs model, and what is predicted by it.

    Attributes:
        quality: How well it tells held-out thumbs apart.
        parts: The same by parts, such as its reliability by predicted rate.
        reliability: Predicted against observed rates on the test split.
        predicted: The predicted rate in words; None where none was asked for.
        rates: Its numbers: rates, differences, the audit.
    """

    quality: tuple[Metric, ...]
    parts: tuple[Metric, ...]
    reliability: tuple[RateBin, ...]
    predicted: Statement | None
    rates: tuple[Metric, ...]


def answers_facts(inputs: ReportInputs, facts: EvaluationFacts) -> AnswersFacts | Missing:
    """What judges and texts say; Missing, with what to set, where no answer was sampled."""
    of_answers = [row for row in facts.rows() if row.evaluator in {WINS, SCORES, TEXT}]
    if not of_answers:
        return Missing(_why_none(inputs))
    found = sides(facts)
    whole = [row for row in of_answers if row.slice is None]
    names = judge_names(inputs, facts)
    changes = _text_changes(facts, found, reference_name(inputs, facts))
    shown = {(row.metric, row.model) for change in changes for row in change[1:] if isinstance(row, Metric)}
    return AnswersFacts(
        sides=found,
        judges=tuple(_judge(inputs, facts, whole, name) for name in names),
        texts=changes,
        price=price(inputs, facts, *found),
        slices=tuple(row for row in of_answers if row.slice is not None),
        further=tuple(row for row in whole if row.evaluator == TEXT and (row.metric, row.model) not in shown),
    )


def _why_none(inputs: ReportInputs) -> str:
    if inputs.config is None:
        return "No sampled answers are evaluated here: held-out preferences are all that this page knows."
    return "No answers were sampled. `generations: {samples: 4}` and `judges` in the run file ask the model itself."


def _judge(inputs: ReportInputs, facts: EvaluationFacts, whole: list[Metric], name: str) -> JudgeFacts:
    own = set(sides(facts))
    rows = [row for row in whole if row.judge == name]
    main = [row for row in rows if row.model in own and row.compared_with in {None, *own}]
    # What the opinion is read from comes first, then what it is made of.
    main.sort(key=lambda row: (row.evaluator != WINS, _LED_BY.get(row.metric, len(_LED_BY))))
    return JudgeFacts(name, opinion(inputs, facts, name), tuple(main), tuple(row for row in rows if row not in main))


def _text_changes(facts: EvaluationFacts, found: Sides, reference: str) -> tuple[TextChange, ...]:
    changes = []
    for name, title in _TEXTS.items():
        before, after = (facts.find(TEXT, name, model) for model in (found.baseline, found.model))
        if after is not None:
            gap = facts.find(TEXT, f"{name}_difference", found.model, found.baseline)
            changes.append(TextChange(title.format(reference=reference), before, after, gap))
    return tuple(changes)


def thumbs_facts(inputs: ReportInputs, facts: EvaluationFacts) -> ThumbsFacts | Missing:
    """The thumbs model and the predicted rate; Missing, with what to set, where there is none."""
    by = {name: tuple(row for row in facts.rows() if row.evaluator == name) for name in (THUMBS, PREDICTED)}
    if not any(by.values()):
        return Missing(
            "There is no thumbs model here."
            if inputs.config is None
            else "No thumbs model was trained. `thumbs: {method: reward_bce}` in the run file makes one of the votes."
        )
    whole, parts = (tuple(row for row in by[THUMBS] if (row.slice is None) == wanted) for wanted in (True, False))
    return ThumbsFacts(whole, parts, rate_bins(inputs), predicted(inputs, facts), by[PREDICTED])


def rate_bins(inputs: ReportInputs) -> tuple[RateBin, ...]:
    """Test answers in order of their calibrated rate, cut into bins of about as many."""
    frame = inputs.table("thumbs_scores")
    if frame is None:
        return ()
    rows = frame.filter((pl.col("split") == "test") & pl.col("probability").is_not_null())
    # An answer of weight 0 is no evidence of any rate.
    rows = rows.filter(pl.col("weight") > 0).sort("probability", "response_id")
    bins = min(_BINS, rows.height)
    if not bins:
        return ()
    grouped = rows.with_columns(bin=pl.int_range(pl.len()) * bins // pl.len()).group_by("bin", maintain_order=True)
    weight = pl.col("weight")
    means = grouped.agg(
        predicted=(pl.col("probability") * weight).sum() / weight.sum(),
        observed=(pl.col("probability_desirable") * weight).sum() / weight.sum(),
        answers=pl.len(),
    )
    return tuple(RateBin(*row) for row in means.select("predicted", "observed", "answers").iter_rows())
