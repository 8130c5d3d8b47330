"""What a model's answers cost beside those of the baseline: stranger, longer, repeating, refusing, empty or cut off."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from thumbline.evaluators import Metric

from ..config import ReportConfig
from .evaluation_facts import UNTRAINED, EvaluationFacts
from .formatting import change, difference, model_name, percent
from .inputs import ReportInputs

TEXT: Final = "answer_text"
STRANGER: Final = "reference_nats_per_token_ratio"
LENGTH: Final = "tokens_ratio"
DIVERGENCE: Final = "kl_per_token"
# Shares of answers, or of their text, that are a price where they rise.
_SHARES: Final = {
    "repetition": "text that repeats itself",
    "refusals": "refusals",
    "empty": "empty answers",
    "cut_off": "answers cut off",
}
# Those that make an answer worthless, whatever it is liked for.
_BREAKING: Final = ("repetition", "empty")


class Cost(NamedTuple):
    """One thing that changed from the baseline's answers to the model's.

    Attributes:
        name: The metric's name.
        text: What changed and by how much, with its interval.
        share: By how much: the ratio less one, or the difference of shares.
        exceeds: Whether that is more than `report.most_price`; never of length, which is said alone.
        breaks: Whether the whole interval lies above `report.most_broken`.
    """

    name: str
    text: str
    share: float
    exceeds: bool
    breaks: bool


@dataclass(frozen=True)
class Price:
    """What the answers cost.

    Attributes:
        costs: What is known, the language first.
        most: `report.most_price`.
    """

    costs: tuple[Cost, ...]
    most: float

    @property
    def exceeds(self) -> bool:
        """Whether anything costs more than is stated."""
        return any(cost.exceeds for cost in self.costs)

    @property
    def broken(self) -> tuple[Cost, ...]:
        """What makes the answers worthless."""
        return tuple(cost for cost in self.costs if cost.breaks)

    def sentence(self) -> str:
        """All of it in one sentence: language and length always, a share where it moved by half a point."""
        said = [
            cost.text
            for cost in self.costs
            if cost.name in {STRANGER, LENGTH} or cost.exceeds or abs(cost.share) >= 5e-3
        ]
        return f"{'; '.join(said) or 'no share moved by half a point'}."


def limits(inputs: ReportInputs) -> ReportConfig:
    """What is too much: the run file's, or the defaults."""
    return ReportConfig() if inputs.config is None else inputs.config.report


def reference_name(inputs: ReportInputs, facts: EvaluationFacts) -> str:
    """The model that sampled answers are scored under.

    That is the untrained one of a run, or of runs that are compared; of models that were asked here the baseline, which
    a model alone is itself.
    """
    is_run = inputs.config is not None or UNTRAINED in facts.models
    asked_here = UNTRAINED if is_run else facts.baseline or facts.subject
    return model_name(asked_here or UNTRAINED)


def price(inputs: ReportInputs, facts: EvaluationFacts, model: str, baseline: str) -> Price | None:
    """What `model`'s answers cost beside `baseline`'s; None where neither ratio nor shares are known."""
    stated = limits(inputs)
    under = reference_name(inputs, facts)
    costs = [_ratio(facts.find(TEXT, name, model, baseline), under, stated) for name in (STRANGER, LENGTH)]
    costs += [_share(facts.find(TEXT, f"{name}_difference", model, baseline), name, stated) for name in _SHARES]
    known = tuple(cost for cost in costs if cost is not None)
    return Price(known, stated.most_price) if known else None


def _ratio(row: Metric | None, under: str, stated: ReportConfig) -> Cost | None:
    if row is None or row.value is None:
        return None
    moved = row.value - 1.0
    language = row.metric == STRANGER
    more = "more" if moved >= 0 else "fewer"
    what = f"{more} nats a token under {under}" if language else f"{more} tokens an answer"
    ends = "" if row.ci_low is None or row.ci_high is None else _ends(row.ci_low - 1.0, row.ci_high - 1.0)
    text = f"{percent(abs(moved))} {what}{ends}"
    return Cost(row.metric, text, moved, language and moved > stated.most_price, breaks=False)


def _ends(low: float, high: float) -> str:
    return f" ({percent(low, signed=True)} to {percent(high, signed=True)})"


def _share(row: Metric | None, name: str, stated: ReportConfig) -> Cost | None:
    if row is None or row.value is None:
        return None
    ends = "" if row.ci_low is None else f" ({difference(row.ci_low, row.ci_high, 'share', 'pp')})"
    text = f"{_SHARES[name]} {change(row.value, 'share')}{ends}"
    # Answers that all changed alike have no interval to resample.
    low = row.value if row.ci_low is None and row.n_groups > 1 else row.ci_low
    breaks = name in _BREAKING and low is not None and low > stated.most_broken
    return Cost(name, text, row.value, row.value > stated.most_price, breaks)
