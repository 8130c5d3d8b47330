"""The difference in the thumbs-up rate that a run predicts for its own launch, from its table of metrics."""

from typing import Any, Final, NamedTuple

import polars as pl

EVALUATOR: Final = "predicted_thumbs_up"
METRIC: Final = "rate_difference"
_SUBJECT: Final = ("trained", "untrained")


class Predicted(NamedTuple):
    """What a run predicts.

    Attributes:
        difference: As a share; None where nothing is predicted that a test could be planned for.
        said: The prediction, or why there is none, in a sentence.
    """

    difference: float | None
    said: str


def predicted_of(metrics: pl.DataFrame | None) -> Predicted | None:
    """The predicted difference of the trained model from the untrained one; None where none was asked for.

    A difference whose interval holds zero is no plan: the test for it would be as large as the noise is small.

    Args:
        metrics: Table `metrics`; None where there is none.
    """
    row = None if metrics is None else _row(metrics)
    if row is None:
        return None
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    if value is None:
        return Predicted(None, f"No difference is predicted from sampled answers: {row['reason'] or 'no value'}.")
    points = f"{100 * value:+.1f} points"
    if low is None or high is None:
        return Predicted(
            None, f"The difference predicted from sampled answers, {points}, has no interval: {row['reason']}."
        )
    points += f" (interval {100 * low:+.1f} to {100 * high:+.1f})"
    if low <= 0 <= high:
        return Predicted(
            None, f"The difference predicted from sampled answers, {points}, may be none at all, so a grid is planned."
        )
    return Predicted(value, f"The difference of {points} is predicted: calibrated thumbs of sampled answers.")


def _row(metrics: pl.DataFrame) -> dict[str, Any] | None:
    model, baseline = _SUBJECT
    rows = metrics.filter(
        (pl.col("evaluator") == EVALUATOR)
        & (pl.col("metric") == METRIC)
        & (pl.col("model") == model)
        & (pl.col("compared_with") == baseline)
        & pl.col("slice").is_null()
    )
    return rows.row(0, named=True) if rows.height else None
