"""What a curve over annotations found, as it is written: one row a trial, and everything as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import polars as pl

from ..sweep.shared import Found, write_found
from .arms import Plan
from .claim import DECIDES, Answer, Claim, claims_at, together
from .curve import Effort, Point, efforts, grid_of, points
from .measures import MEASURES, Cell, Table, table_of
from .outcome import cell_json, seed_values
from .running import ArmTrial

SCHEMA_VERSION: Final = 1
TABLE: Final = "annotations.parquet"
FACTS: Final = "annotations.json"
# How much worse is still as good, where nothing is said.
WITHIN: Final = 0.02


@dataclass(frozen=True)
class Curve(Found):
    """A curve that is done.

    Attributes:
        plan: What was done.
        trials: What became of each trial.
        tables: By n every measure of its arms, DPO's as the baseline.
        efforts: By arm what its rows took of people, in the order of the seeds.
        within: How much worse KTO may be and still do what DPO does.
    """

    plan: Plan
    trials: tuple[ArmTrial, ...]
    tables: Mapping[int, Table]
    efforts: Mapping[str, tuple[Effort, ...]]
    within: float

    @property
    def grid(self) -> list[int]:
        """The numbers of pairs."""
        return grid_of(self.plan)

    @property
    def claims(self) -> list[Claim]:
        """The claim at every n whose arms are done."""
        return [claim for n in self.grid for claim in claims_at(n, self.tables[n], self.efforts, self.within)]

    @property
    def answer(self) -> Answer:
        """The verdict at the largest n: chosen before anything is seen, so that nothing is corrected for."""
        return together([claim for claim in self.claims if claim.n == max(self.grid)])

    def cell(self, measure: str, point: Point) -> Cell | None:
        """One measure of one arm; None where it failed."""
        return self.tables[point.n].get(measure, {}).get(point.arm)

    def annotations(self, point: Point) -> float:
        """Annotations of an arm's rows, mean over the seeds."""
        return fmean(one.annotations for one in self.efforts[point.arm])

    def error_of(self, arm: str) -> str | None:
        """Why an arm failed; None where all its trials are done."""
        return next((one.result.error for one in self.trials if one.arm == arm and one.result.error is not None), None)


def curve_of(plan: Plan, trials: list[ArmTrial], within: float = WITHIN) -> Curve:
    """What was found, from the folders of all trials."""
    confidence = plan.config.metrics.confidence
    tables = {}
    for n in grid_of(plan):
        arms = {point.arm for point in points([n])}
        tables[n] = table_of([one for one in trials if one.arm in arms], Point(n, "dpo").arm, confidence)
    return Curve(plan, tuple(trials), tables, efforts(plan), within)


def write_curve_files(curve: Curve) -> None:
    """Write table and facts into the curve's folder."""
    write_found(curve.plan.output, TABLE, trial_table(curve), FACTS, as_json(curve))


def trial_table(curve: Curve) -> pl.DataFrame:
    """One row a trial: its place in the grid, its rows and annotations, and what decides with intervals."""
    schema: dict[str, Any] = {
        "trial": pl.String,
        "n": pl.Int64,
        "method": pl.String,
        "seed": pl.Int64,
        "status": pl.String,
        "rows": pl.Int64,
        "annotations": pl.Int64,
        "answers": pl.Int64,
        "prompts": pl.Int64,
        "steps": pl.Int64,
        "completion_tokens": pl.Int64,
        **{f"{name}{end}": pl.Float64 for name in DECIDES for end in ("", "_low", "_high")},
    }
    by_arm = {point.arm: point for point in points(curve.grid)}
    return pl.DataFrame([_row(curve, trial, by_arm[trial.arm]) for trial in curve.trials], schema=schema)


def _row(curve: Curve, trial: ArmTrial, point: Point) -> dict[str, Any]:
    place = curve.plan.seeds.index(trial.seed)
    row: dict[str, Any] = {
        "trial": trial.result.trial.name,
        "n": point.n,
        "method": "dpo" if point.kind == "dpo" else "kto",
        "seed": trial.seed,
        "status": trial.result.status,
        "rows": trial.steps.rows,
        **curve.efforts[trial.arm][place]._asdict(),
        "steps": trial.steps.steps,
        "completion_tokens": trial.steps.tokens,
    }
    for name in DECIDES:
        row |= seed_values(name, curve.cell(name, point), place)
    return row


def as_json(curve: Curve) -> dict[str, Any]:
    """The whole curve as JSON values; `schema_version` names their layout."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": curve.plan.config.name,
        "split": curve.plan.config.metrics.split,
        "grid": curve.grid,
        "seeds": list(curve.plan.seeds),
        "confidence": curve.confidence,
        "judge": curve.judge,
        "within": curve.within,
        "half_the_effort": curve.answer,
        "claims": [_claim_json(claim) for claim in curve.claims],
        "points": [
            {
                "arm": point.arm,
                "n": point.n,
                "rows": point.rows,
                "annotations": curve.annotations(point),
                "error": curve.error_of(point.arm),
                "values": {name: cell_json(curve.cell(name, point), curve.confidence) for name in MEASURES},
            }
            for point in points(curve.grid)
        ],
    }


def _claim_json(claim: Claim) -> dict[str, Any]:
    compared = None if claim.comparison is None else claim.comparison._asdict()
    return claim._asdict() | {"point": claim.point.arm, "comparison": compared}
