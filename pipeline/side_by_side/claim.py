"""Whether this log supports that thumbs do with half the effort what pairs do: a verdict by paired intervals."""

from collections.abc import Mapping
from statistics import fmean
from typing import Final, Literal, NamedTuple

from ..sweep.comparing import Comparison
from .curve import Effort, Point
from .measures import Table

Answer = Literal["supported", "not supported", "cannot tell"]
# What the claim is judged by, where there is a number of it.
DECIDES: Final = ("log_ratio_accuracy", "win_rate")
# An arm of this share of DPO's annotations, and no more or less, is one of half the effort.
_HALF: Final = (0.4, 0.6)


class Claim(NamedTuple):
    """The claim at one n, by one measure.

    Attributes:
        n: Pairs of DPO.
        measure: Name of the measure.
        point: The arm of KTO whose annotations are nearest to half of DPO's.
        share: Its annotations over DPO's.
        comparison: KTO less DPO; None where there is none.
        answer: The verdict.
        why: What it rests on, in a sentence.
    """

    n: int
    measure: str
    point: Point
    share: float
    comparison: Comparison | None
    answer: Answer
    why: str


def claims_at(n: int, table: Table, efforts: Mapping[str, tuple[Effort, ...]], within: float) -> list[Claim]:
    """The claim at one n, by each measure that decides.

    Args:
        n: Pairs of DPO.
        table: Measures of the arms of this n, the one of DPO as the baseline.
        efforts: What each arm's rows took.
        within: How much worse KTO may be and still do what DPO does; share of pairs, or of comparisons won.
    """
    share_of = {point: _share(point, efforts) for point in (Point(n, "kto"), Point(n, "kto_half"))}
    nearest = min(share_of, key=lambda point: abs(share_of[point] - 0.5))
    found = []
    for measure in DECIDES:
        cells = table.get(measure, {})
        dpo, cell = cells.get(Point(n, "dpo").arm), cells.get(nearest.arm)
        if dpo is None or cell is None or cell.average is None:
            continue
        answer, why = judged(cell.comparison, share_of[nearest], within)
        found.append(Claim(n, measure, nearest, share_of[nearest], cell.comparison, answer, why))
    return found


def _share(point: Point, efforts: Mapping[str, tuple[Effort, ...]]) -> float:
    own, dpo = efforts[point.arm], efforts[Point(point.n, "dpo").arm]
    return fmean(one.annotations for one in own) / max(fmean(one.annotations for one in dpo), 1.0)


def judged(compared: Comparison | None, share: float, within: float) -> tuple[Answer, str]:
    """The verdict on one comparison, and why.

    Supported: all intervals, over prompt groups and over the seeds, lie above minus `within`. Not supported: all lie
    below 0. An arm of more than about half of the annotations can refute the claim alone, one of less support it alone.

    Args:
        compared: KTO less DPO.
        share: KTO's annotations over DPO's.
        within: How much worse KTO may be.
    """
    if compared is None or compared.low is None or compared.high is None:
        return "cannot tell", "there is no interval of the difference"
    lows = [low for low in (compared.low, compared.seeds_low) if low is not None]
    highs = [high for high in (compared.high, compared.seeds_high) if high is not None]
    if min(lows) > -within:
        if share > _HALF[1]:
            return "cannot tell", "it keeps up, with more than half of the annotations"
        return "supported", f"it is at most {within:.1%} worse"
    if max(highs) < 0:
        if share < _HALF[0]:
            return "cannot tell", "it is worse, with less than half of the annotations"
        return "not supported", "it is worse"
    return "cannot tell", f"the intervals hold both no difference and one of {within:.1%} or more"


def together(claims: list[Claim]) -> Answer:
    """The verdict by all measures: one that refutes is enough, and all have to support."""
    answers = {claim.answer for claim in claims}
    if "not supported" in answers:
        return "not supported"
    return "supported" if answers == {"supported"} else "cannot tell"
