"""Whether length alone ranks held-out rows as well as a model does: a paired test by prompt group against that rule."""

from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from thumbline.evaluators.auc import clustered_auc
from thumbline.evaluators.groups import Groups, group_numbers
from thumbline.evaluators.paired_tests import sign_flip_exact, t_test
from thumbline.evaluators.scores import win_shares
from thumbline.evaluators.uncertainty import clustered_error

from .evaluation_facts import ACCURACY, AUC, EvaluationFacts, Headline
from .examples import rewards
from .inputs import Missing, ReportInputs


class LengthRule(NamedTuple):
    """Always preferring the longer answer, or always the shorter one, whichever is right more often.

    Attributes:
        side: Which of the two.
        share: Share of held-out pairs that it ranks right, a tie counting half; of unpaired rows its AUC.
        rows: Pairs or rows that this rests on.
        model: The same share of the model.
        p_value: Of no difference between the model and the rule, by prompt group; None with one group.
    """

    side: Literal["longer", "shorter"]
    share: float
    rows: int
    model: float
    p_value: float | None

    @property
    def does_as_well(self) -> bool:
        """Whether the rule is right at least as often as the model."""
        return self.share >= self.model

    def may_explain(self, confidence: float) -> bool:
        """Whether the model is not surely better than the rule."""
        return self.does_as_well or (self.p_value is not None and self.p_value > 1 - confidence)


def length_rule(inputs: ReportInputs, facts: EvaluationFacts, headline: Headline) -> LengthRule | None:
    """The better of the two rules beside the model that the report is about, by the number that it is told by.

    None where there are no scored rows, no rewards, or another headline number than accuracy or AUC.
    """
    kind = {ACCURACY.name: "pairs", AUC.name: "unpaired"}.get(headline.name)
    scored = Missing("") if kind is None else rewards(inputs, kind)
    if isinstance(scored, Missing):
        return None
    rows = scored.filter(pl.col("model").eq_missing(pl.lit(facts.subject, dtype=pl.String)))
    if rows.is_empty():
        return None
    groups = group_numbers(rows["group_id"], 0)
    return _of_pairs(rows, groups) if kind == "pairs" else _of_labels(rows, groups)


def _of_pairs(rows: pl.DataFrame, groups: Groups) -> LengthRule:
    model = win_shares(rows["margin"].to_numpy())
    # A user's counts may be unsigned, and would turn round below 0.
    chosen, rejected = (rows[f"{side}_token_count"].cast(pl.Float64).to_numpy() for side in ("chosen", "rejected"))
    longer = win_shares(chosen - rejected)
    by_length = longer if longer.mean() >= 0.5 else 1.0 - longer
    p_value = sign_flip_exact(groups.sums(model - by_length)) if groups.present() > 1 else None
    side: Literal["longer", "shorter"] = "longer" if longer.mean() >= 0.5 else "shorter"
    return LengthRule(side, float(by_length.mean()), rows.height, float(model.mean()), p_value)


def _of_labels(rows: pl.DataFrame, groups: Groups) -> LengthRule | None:
    labels = rows["label"].to_numpy()
    reward, tokens = rows["reward"].to_numpy(), rows["token_count"].to_numpy().astype(np.float64)
    model, longer = (clustered_auc(one, labels, np.argsort(one, kind="stable")) for one in (reward, tokens))
    if model is None or longer is None:
        return None
    turned = longer.value < 0.5
    share = 1.0 - longer.value if turned else longer.value
    influence = model.influence - (-longer.influence if turned else longer.influence)
    fewest = min(groups.present(labels), groups.present(~labels))
    error = clustered_error(influence, groups, fewest)
    p_value = None if error is None else t_test(model.value - share, error, fewest)
    return LengthRule("shorter" if turned else "longer", share, rows.height, model.value, p_value)
