"""What each setting wins by its sampled answers over what they pay in language: the frontier, and the cheapest."""

from collections.abc import Sequence
from statistics import fmean

import polars as pl

from thumbline.evaluators import FrontierPoint, cheapest_surely_better, frontier, frontier_points

from ..config import RunConfig
from ..report.evaluation_facts import TRAINED


def judge_of(config: RunConfig) -> str | None:
    """The judge that decides; None where none is named or no answers are sampled."""
    return config.judges[0].called if config.judges and config.generations.is_on else None


def point_of(metrics: pl.DataFrame, config: RunConfig) -> FrontierPoint | None:
    """What a trial's model wins and pays; None where its answers were not judged.

    Args:
        metrics: Table `metrics` of the trial.
        config: The trial's run.
    """
    judge = judge_of(config)
    if judge is None:
        return None
    points = frontier_points(metrics, judge, most_broken=config.report.most_broken)
    return next((point for point in points if point.model == TRAINED), None)


def over_seeds(name: str, points: Sequence[FrontierPoint | None]) -> FrontierPoint | None:
    """One setting's point: means over its seeds; None where a seed has none.

    Twice the mean of p-values is one, however they depend on each other; the mean of intervals' ends is as wide as the
    intervals are on average. What broke under one seed is broken.

    Source: Vovk and Wang (2020), "Combining p-values via averaging".
    """
    known = [point for point in points if point is not None]
    if not known or len(known) < len(points):
        return None
    p_value = _mean([point.p for point in known])
    return FrontierPoint(
        model=name,
        won=_mean([point.won for point in known]),
        won_low=_mean([point.won_low for point in known]),
        won_high=_mean([point.won_high for point in known]),
        p=p_value if p_value is None or len(known) == 1 else min(1.0, 2.0 * p_value),
        paid=_mean([point.paid for point in known]),
        paid_low=_mean([point.paid_low for point in known]),
        paid_high=_mean([point.paid_high for point in known]),
        broken=tuple(sorted({name for point in known for name in point.broken})),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if len(numbers) == len(values) else None


def corrected(point: FrontierPoint, settings: int) -> FrontierPoint:
    """The point with its p-value corrected for how many settings there are, by Bonferroni: one of many is lucky."""
    return point if point.p is None else point._replace(p=min(1.0, point.p * settings))


def on_frontier(points: Sequence[FrontierPoint]) -> list[str]:
    """Names of the settings that no other beats, the cheapest first."""
    return [point.model for point in frontier(points)]


def cheapest(points: Sequence[FrontierPoint], settings: int, confidence: float) -> str | None:
    """Name of the cheapest setting that is surely better; None where none is.

    Args:
        points: One a setting that was judged.
        settings: How many were tried, judged or not.
        confidence: Mass of the intervals, and one minus the level of the test.
    """
    found = cheapest_surely_better([corrected(point, settings) for point in points], confidence)
    return None if found is None else found.model
