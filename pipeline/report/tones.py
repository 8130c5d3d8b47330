"""What a number's interval and its test say together: better, the same, worse, or nothing."""

from typing import Final, Literal, NamedTuple, TypeAlias

from thumbline.evaluators import Metric

from .formatting import interval, measure
from .inputs import ReportInputs

# `priced` is better, at a price: what was asked for came, and the language paid more for it than is stated. `length`
# is better than before, and yet not surely better than a liking for long or for short answers would be.
Tone: TypeAlias = Literal["better", "priced", "length", "same", "worse", "unknown"]

WORDS: Final[dict[Tone, str]] = {
    "better": "Better",
    "priced": "Better, at a price",
    "length": "Better, but length may explain it",
    "same": "Not distinguishable",
    "worse": "Worse",
    "unknown": "No verdict",
}


class Statement(NamedTuple):
    """What one source of evidence says of the model.

    Attributes:
        source: Which: held-out preferences, sampled answers, the predicted thumbs-up rate, or the price.
        title: The source in words.
        tone: What it says.
        sentence: The same with its numbers.
        basis: What it rests on: the test, its size.
        decides: Whether the verdict is this one.
        measure: Name of the headline number that it is about; None where it is about another.
    """

    source: Literal["preferences", "answers", "predicted", "price"]
    title: str
    tone: Tone
    sentence: str
    basis: str = ""
    decides: bool = False
    measure: str | None = None

    @property
    def word(self) -> str:
        """The tone in words."""
        return WORDS[self.tone]


def tone_of_interval(low: float | None, high: float | None, chance: float) -> Tone:
    """Which side of `chance` the interval lies on; unknown where there is none."""
    if low is None or high is None:
        return "unknown"
    if low > chance:
        return "better"
    return "worse" if high < chance else "same"


def tone_by_test(inputs: ReportInputs, row: Metric, test: Metric | None, chance: float) -> Tone | None:
    """From a number's interval and its test, which must agree; None where there is no test, or one prompt group.

    An interval knows nothing of the other models that were tried, nor of how little a few groups can show.
    """
    if row.value is None or test is None or test.value is None or row.n_groups < 2:
        return None
    if test.value > 1 - inputs.confidence:
        return "same"
    # Groups that all agree have no interval, and yet their test decides.
    low, high = (row.value, row.value) if row.ci_low is None else (row.ci_low, row.ci_high)
    return tone_of_interval(low, high, chance)


def told(inputs: ReportInputs, row: Metric) -> str:
    """`71.2% (95% interval 63.4% to 78.9%)`."""
    if row.ci_low is None:
        return f"{measure(row.value, row.unit)} ({no_interval(row)})"
    return f"{measure(row.value, row.unit)} ({mass(inputs)} {interval(row.ci_low, row.ci_high, row.unit)})"


def no_interval(row: Metric) -> str:
    """Why a number has no interval; most reasons begin with these very words."""
    reason = row.reason or "not given"
    return reason if "no interval" in reason else f"no interval: {reason}"


def mass(inputs: ReportInputs) -> str:
    """`95% interval`."""
    return f"{100 * inputs.confidence:g}% interval"
