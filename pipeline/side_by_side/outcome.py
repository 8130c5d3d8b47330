"""What a comparison of methods found, as it is written: one row a trial, and everything as JSON."""

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from ..sweep.shared import Found, write_found
from .arms import Arm, Plan
from .facts import FOLK, Cost, costs, needs_of
from .measures import MEASURES, Cell, Table, table_of
from .running import ArmTrial

SCHEMA_VERSION: Final = 1
TABLE: Final = "methods.parquet"
FACTS: Final = "methods.json"


@dataclass(frozen=True)
class Outcome(Found):
    """A comparison that is done.

    Attributes:
        plan: What was done.
        trials: What became of each trial, in the order of seeds and arms.
        table: Every measure of every arm whose trials are done.
        costs: What each arm took.
    """

    plan: Plan
    trials: tuple[ArmTrial, ...]
    table: Table
    costs: dict[str, Cost]

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that some arm has a value of."""
        return tuple(name for name, cells in self.table.items() if any(cell.average for cell in cells.values()))

    def cell(self, measure: str, arm: str) -> Cell | None:
        """One measure of one arm; None where the arm failed."""
        return self.table.get(measure, {}).get(arm)

    def of_arm(self, name: str) -> tuple[ArmTrial, ...]:
        """An arm's trials, in the order of the seeds."""
        return tuple(trial for trial in self.trials if trial.arm == name)

    def error_of(self, name: str) -> str | None:
        """Why an arm failed; None where all its trials are done."""
        return next((trial.result.error for trial in self.of_arm(name) if trial.result.error is not None), None)


def outcome_of(plan: Plan, trials: list[ArmTrial]) -> Outcome:
    """What was found, from the folders of all trials."""
    table = table_of(trials, plan.baseline, plan.config.metrics.confidence)
    return Outcome(plan, tuple(trials), table, costs(plan, trials))


def write_files(outcome: Outcome) -> None:
    """Write table and facts into the comparison's folder."""
    write_found(outcome.plan.output, TABLE, trial_table(outcome), FACTS, as_json(outcome))


def trial_table(outcome: Outcome) -> pl.DataFrame:
    """One row a trial: its method and seed, how long it trained, what that took, and measures with intervals."""
    schema: dict[str, Any] = {
        "trial": pl.String,
        "method": pl.String,
        "seed": pl.Int64,
        "status": pl.String,
        "error": pl.String,
        "rows": pl.Int64,
        "steps": pl.Int64,
        "epochs": pl.Float64,
        "completion_tokens": pl.Int64,
        "train_seconds": pl.Float64,
        "seconds": pl.Float64,
        "peak_memory_gib": pl.Float64,
        **{f"{name}{end}": pl.Float64 for name in MEASURES for end in ("", "_low", "_high")},
    }
    return pl.DataFrame([_row(outcome, trial) for trial in outcome.trials], schema=schema)


def _row(outcome: Outcome, trial: ArmTrial) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial": trial.result.trial.name,
        "method": trial.arm,
        "seed": trial.seed,
        "status": trial.result.status,
        "error": trial.result.error,
        "rows": trial.steps.rows,
        "steps": trial.steps.steps,
        "epochs": trial.steps.epochs,
        "completion_tokens": trial.steps.tokens,
        "train_seconds": trial.train_seconds,
        "seconds": trial.result.seconds,
        "peak_memory_gib": trial.peak_memory_gib,
    }
    place = outcome.plan.seeds.index(trial.seed)
    for name in MEASURES:
        row |= seed_values(name, outcome.cell(name, trial.arm), place)
    return row


def seed_values(name: str, cell: Cell | None, place: int) -> dict[str, float | None]:
    """A measure with one seed and its interval, by column; null where the arm failed.

    Args:
        name: Of the measure.
        cell: Of the arm.
        place: The seed's among all.
    """
    value = None if cell is None else cell.per_seed[place]
    ends = (None, None, None) if value is None else (value.value, value.low, value.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The whole outcome as JSON values; `schema_version` names their layout."""
    plan = outcome.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "run": plan.config.name,
        "split": plan.config.metrics.split,
        "baseline": plan.baseline,
        "seeds": list(plan.seeds),
        "tokens_asked": plan.tokens,
        "confidence": outcome.confidence,
        "judge": outcome.judge,
        "left_out": dict(plan.left_out),
        "measures": {
            name: {"title": one.title, "unit": one.unit, "meaning": one.meaning} for name, one in MEASURES.items()
        },
        "methods": [_arm_json(outcome, arm) for arm in plan.arms],
    }


def _arm_json(outcome: Outcome, arm: Arm) -> dict[str, Any]:
    error = outcome.error_of(arm.name)
    told = FOLK.get(arm.name)
    return {
        "method": arm.name,
        "status": "done" if error is None else "failed",
        "error": error,
        "needs": needs_of(arm)._asdict(),
        "told": None if told is None else told._asdict(),
        "cost": outcome.costs[arm.name]._asdict(),
        "trained": [trial.steps._asdict() | {"seed": trial.seed} for trial in outcome.of_arm(arm.name)],
        "values": {name: cell_json(outcome.cell(name, arm.name), outcome.confidence) for name in MEASURES},
    }


def cell_json(cell: Cell | None, confidence: float) -> dict[str, Any] | None:
    """A cell as JSON values; None where there is nothing in it."""
    if cell is None or cell.average is None:
        return None
    compared = cell.comparison
    less_baseline = None if compared is None else compared._asdict()
    if compared is not None and less_baseline is not None:
        del less_baseline["other"]
        less_baseline["more_than_noise"] = is_clear(compared, confidence)
    return {**cell.average._asdict(), "less_baseline": less_baseline}


def is_clear(compared: Any, confidence: float) -> bool:
    """Whether a difference, of either sign, is more than noise by rows and, as far as they are known, by seeds."""
    if compared.p_value is None or compared.p_value > 1 - confidence:
        return False
    ends = [
        (low, high)
        for low, high in ((compared.low, compared.high), (compared.seeds_low, compared.seeds_high))
        if low is not None and high is not None
    ]
    return all(low > 0 for low, _ in ends) or all(high < 0 for _, high in ends)
