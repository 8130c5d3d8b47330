"""What stands beside a model's number on the same rows: chance, log-probs before training, and length alone."""

from typing import Final

import polars as pl

from thumbline.evaluators import needs_reference

from .evaluation_facts import ACCURACY, RULES_EVALUATOR, UNTRAINED, EvaluationFacts, Headline
from .examples import rewards
from .formatting import model_name, percent
from .inputs import Missing, ReportInputs
from .length import LengthRule
from .tones import Tone

_OWN: Final = "reference_free_sum_accuracy"


def beside(
    inputs: ReportInputs, facts: EvaluationFacts, headline: Headline, length: LengthRule | None, tone: Tone
) -> str:
    """What else ranks these rows and how well, in one sentence or two; empty where nothing but chance is known.

    Args:
        inputs: The report's inputs.
        facts: The metrics.
        headline: The number that the verdict is told by.
        length: What length alone gets.
        tone: What the number says of the model.
    """
    chance = f"Chance is {100 * (headline.chance or 0.0):g}%"
    rules = ", ".join(part for part in (_own(facts, headline), _of_length(headline, length, tone)) if part)
    if ties_by_construction(inputs, facts, headline):
        row = "pair" if headline is ACCURACY else "row"
        tied = f"{chance}, which {model_name(facts.baseline)} has by construction: as the reference it ties on every"
        return f"{tied} {row}.{f' {rules[:1].upper()}{rules[1:]}.' if rules else ''}"
    return f"{chance}; {rules}." if rules else ""


def ties_by_construction(inputs: ReportInputs, facts: EvaluationFacts, headline: Headline) -> bool:
    """Whether the baseline is the model that rewards are measured against, so that every reward of it is 0."""
    if facts.baseline is None or not needs_reference(inputs.reward):
        return False
    scored = rewards(inputs, "pairs" if headline is ACCURACY else "unpaired")
    if isinstance(scored, Missing):
        return facts.baseline == UNTRAINED
    rows = scored.filter(pl.col("model") == facts.baseline)
    value = rows["margin" if headline is ACCURACY else "reward"]
    return not rows.is_empty() and not bool((value != 0).any())


def _own(facts: EvaluationFacts, headline: Headline) -> str:
    """What log-probs rank right of the model that training started from; empty where they are its reward."""
    row = facts.find(RULES_EVALUATOR, _OWN, facts.baseline) if headline is ACCURACY and facts.baseline else None
    before = facts.headline(headline, facts.baseline)
    if row is None or row.value is None or (before is not None and before.value == row.value):
        return ""
    whose = "log-probs before training" if facts.baseline == UNTRAINED else f"log-probs of {facts.baseline} alone"
    return f"{whose} rank {percent(row.value)} right"


def _of_length(headline: Headline, length: LengthRule | None, tone: Tone) -> str:
    if length is None:
        return ""
    score = f"is right in {percent(length.share)}" if headline is ACCURACY else f"has an AUC of {percent(length.share)}"
    end = ", so length may explain it" if tone == "length" else ""
    return f"preferring the {length.side} answer {score}{end}"
