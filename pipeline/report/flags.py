"""What a reader must know before believing a verdict: rewards that both fell, length that does as well, odd splits."""

from typing import NamedTuple

import numpy as np
import polars as pl

from thumbline.evaluators import Metric, needs_reference

from .evaluation_facts import ACCURACY, EvaluationFacts
from .examples import rewards
from .formatting import count, number, percent
from .inputs import Missing, ReportInputs


class Flag(NamedTuple):
    """One warning."""

    title: str
    text: str


def warnings(inputs: ReportInputs, facts: EvaluationFacts, subject: Metric) -> tuple[Flag, ...]:
    """Warnings about held-out pairs; none where there are no pairs or no rewards."""
    scored = rewards(inputs, "pairs")
    if isinstance(scored, Missing):
        return ()
    rows = scored.filter(pl.col("model") == subject.model)
    if rows.is_empty():
        return ()
    before = scored.filter(pl.col("model").eq_missing(pl.lit(facts.baseline, dtype=pl.String)))
    found = [_both_fell(inputs, rows, before)]
    if subject.evaluator == ACCURACY.evaluator and subject.value is not None:
        found.append(_longer_wins(rows, subject.value))
    return tuple(flag for flag in found if flag is not None)


def split_warnings(inputs: ReportInputs) -> tuple[Flag, ...]:
    """Shares of the splits that are off; none where the rows were not split here."""
    manifest = inputs.manifests.get("splits")
    said = () if manifest is None else manifest.said
    return tuple(Flag("The splits are not as asked for", sentence) for sentence in said)


def _both_fell(inputs: ReportInputs, rows: pl.DataFrame, before: pl.DataFrame) -> Flag | None:
    """Both sides became less likely: against the reference where rewards are implicit, else against the baseline."""
    implicit = needs_reference(inputs.reward)
    if not implicit and before.is_empty():
        return None
    changes = {}
    for side in ("chosen", "rejected"):
        start = 0.0 if implicit else float(before[f"{side}_reward"].to_numpy().mean())
        changes[side] = float(rows[f"{side}_reward"].to_numpy().mean()) - start
    if changes["chosen"] >= 0 or changes["rejected"] >= 0:
        return None
    return Flag(
        "Both rewards fell",
        f"Better answers became less likely too: the mean reward of chosen moved by {number(changes['chosen'])}, "
        f"that of rejected by {number(changes['rejected'])}. A lower learning rate, a higher beta or a likelihood "
        f"term on chosen counters it.",
    )


def _longer_wins(rows: pl.DataFrame, accuracy: float) -> Flag | None:
    gaps = (rows["chosen_token_count"] - rows["rejected_token_count"]).to_numpy()
    longer = float((np.sign(gaps) + 1).mean() / 2)
    rule, share = ("longer", longer) if longer >= 0.5 else ("shorter", 1 - longer)
    if share < accuracy:
        return None
    return Flag(
        "Length alone does as well",
        f"Always preferring the {rule} answer is right in {percent(share)} of these {count(rows.height)} pairs, "
        f"at least as often as the model is, in {percent(accuracy)}.",
    )
