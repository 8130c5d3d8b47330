"""The launch plan from Python: what an A/B test of a new model takes, from a log or from stated numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from . import view
from .arguments import check_numbers
from .runs import Run, load

if TYPE_CHECKING:
    # Imported where it is used: `import thumbline` should not wait for what is not called.
    from ..evidence.launch import Plan
    from ..evidence.launch_predicted import Predicted


class LaunchPlan:
    """A launch plan.

    Attributes:
        basis: What it rests on: base rate, votes a user, correlation, design effect, pace.
        needs: One row a difference and power: users, votes, answers and days.
        assumed: Sentences: what was assumed, left out or is not known.
    """

    def __init__(self, plan: "Plan") -> None:
        """Set the plan into a frame."""
        from ..evidence.launch import Need

        self.basis, self.assumed = plan.basis, plan.assumed
        kinds = {"difference": pl.Float64, "power": pl.Float64, "days": pl.Float64}
        schema = {name: kinds.get(name, pl.Int64) for name in Need._fields}
        self.needs = pl.DataFrame(list(plan.needs), schema=schema, orient="row")
        self._plan = plan

    def as_dict(self) -> dict[str, object]:
        """The plan as JSON values; what is not known is None."""
        return {
            "alpha": self._plan.alpha,
            "traffic": self._plan.traffic,
            "basis": self.basis._asdict(),
            "needs": [need._asdict() for need in self._plan.needs],
            "assumed": list(self.assumed),
        }

    def __repr__(self) -> str:
        """The first row, in a line."""
        first = self._plan.needs[0]
        return (
            f"<thumbline.LaunchPlan: {first.users:,} users for {100 * first.difference:+g} points at power "
            f"{first.power:g}; {self.needs.height} rows>"
        )

    def _repr_html_(self) -> str:
        """What it rests on, what is needed, and what was assumed."""
        basis = [(name.replace("_", " "), value) for name, value in self.basis._asdict().items()]
        return view.page(
            view.frame(self.needs), view.table(("basis", "value"), basis), *(view.paragraph(t) for t in self.assumed)
        )


def launch_plan(
    run: Run | str | Path | None = None,
    *,
    difference: float | None = None,
    base_rate: float | None = None,
    votes_per_user: float | None = None,
    variation: float | None = None,
    icc: float | None = None,
    rating_rate: float | None = None,
    users_per_day: float | None = None,
    powers: Sequence[float] = (0.8, 0.9),
    alpha: float = 0.05,
    traffic: float = 1.0,
) -> LaunchPlan:
    """The users and days that an A/B test needs to see the thumbs-up rate change by so much.

        plan = thumbline.launch_plan("runs/quickstart", difference=0.03)
        plan.needs, plan.basis.design_effect, plan.assumed

        thumbline.launch_plan(base_rate=0.7, votes_per_user=3, icc=0.1, users_per_day=200)

    Args:
        run: A run that has counted votes (`prepare` will do), or its folder; None: all is stated.
        difference: What the new model is to bring, as a share; smaller ones are planned beside it. None: what the
            run predicts from sampled answers, where its interval lies beside zero; else a grid from 10 points to 1.
        base_rate: Share of thumbs up among votes, in place of the log's.
        votes_per_user: Mean votes of a user who votes, in place of the log's; without a log 1.
        variation: Standard deviation of that over its mean, in place of the log's; without a log 0.
        icc: Intra-class correlation of the votes of one user, in place of the log's.
        rating_rate: Share of answers shown that are rated, in place of the log's.
        users_per_day: Users who vote, a day, in place of the log's.
        powers: Chances to find the difference.
        alpha: Level of the two-sided test.
        traffic: Share of users in the test.

    Raises:
        ConfigError: A number is outside its range, it is no run, or nothing is given to plan from.
        InputError: The log has not been counted, names no user, or has too few votes or users.
    """
    from ..evidence.launch import launch_plan as planned
    from ..evidence.launch_basis import Stated

    check_numbers(difference=difference, base_rate=base_rate, votes_per_user=votes_per_user, variation=variation)
    check_numbers(icc=icc, rating_rate=rating_rate, users_per_day=users_per_day, alpha=alpha, traffic=traffic)
    stated = Stated(base_rate, votes_per_user, variation, icc, rating_rate, users_per_day)
    raters, responses = (None, None) if run is None else _votes(run)
    return LaunchPlan(
        planned(
            raters,
            responses,
            stated,
            difference=difference,
            predicted=None if run is None else _predicted(run),
            powers=tuple(powers),
            alpha=alpha,
            traffic=traffic,
        )
    )


def _predicted(run: Run | str | Path) -> "Predicted | None":
    """What the run predicts; None where it has come to no metrics."""
    from ..evidence.launch_predicted import predicted_of
    from ..storage.kept import trusted_manifest
    from ..storage.tables import read_table

    folder = _folder(run) / "metrics"
    if trusted_manifest(folder) is None:
        return None
    return predicted_of(read_table(folder / "metrics.parquet", "metrics"))


def _folder(run: Run | str | Path) -> Path:
    return run.folder if isinstance(run, Run) else load(run).folder


def _votes(run: Run | str | Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    from ..errors import InputError
    from ..evidence.launch_basis import COLUMNS
    from ..storage.kept import trusted_manifest
    from ..storage.tables import read_table

    folder = _folder(run)
    if trusted_manifest(folder / "responses") is None:
        raise InputError(f"{folder}: its votes are not counted yet; run it until the stage `responses` at least.")
    raters, responses = (
        read_table(folder / "responses" / f"{name}.parquet", name, columns) for name, columns in COLUMNS.items()
    )
    return raters, responses
