"""What a sweep found, in words, as a table and as JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from thumbline.evaluators import FrontierPoint

from ..config import RunConfig
from ..storage.kept import check_kept
from ..storage.tables import read_table
from .choosing import SettingResult
from .comparing import Comparison
from .frontier import cheapest, judge_of, on_frontier
from .measures import FRONTIER, MEASURES, Value, values_of
from .plan import Plan, Setting
from .shared import Found
from .trials import TrialResult

SCHEMA_VERSION: Final = 1


class FinalResult(NamedTuple):
    """The best setting's model on rows that nothing was chosen by.

    Attributes:
        split: Which rows: `test`, unless the run file says otherwise.
        values: Measures by name.
        verdict: What the report says of the model against the untrained one.
        report: The page.
        model: The trained model's folder.
    """

    split: str
    values: dict[str, Value]
    verdict: str
    report: Path
    model: Path

    @classmethod
    def of_run(cls, config: RunConfig) -> "FinalResult":
        """What a finished run found."""
        folder = config.run_dir
        page = folder / "report" / "metrics.json"
        check_kept(page)
        said = json.loads(page.read_text(encoding="utf-8"))
        metrics = read_table(folder / "metrics" / "metrics.parquet", "metrics")
        return cls(
            config.metrics.split,
            values_of(metrics, judge_of(config)),
            said["verdict"]["sentence"],
            folder / "report" / "report.html",
            folder / "train" / "model",
        )


@dataclass(frozen=True)
class Outcome(Found):
    """A sweep that is done.

    Attributes:
        plan: What was done.
        results: What became of each setting, from the best to the worst.
        best: The best setting.
        comparisons: The best against each other setting that is done.
        tested: The best on rows that nothing was chosen by; None where the run file keeps none.
    """

    plan: Plan
    results: tuple[SettingResult, ...]
    best: Setting
    comparisons: tuple[Comparison, ...]
    tested: FinalResult | None

    @property
    def points(self) -> tuple[FrontierPoint, ...]:
        """What the settings win and pay, of those whose answers were judged."""
        return tuple(result.point for result in self.results if result.point is not None)

    @property
    def frontier(self) -> tuple[str, ...]:
        """Names of the settings that no other beats in both, the cheapest first."""
        return tuple(on_frontier(self.points))

    @property
    def cheapest(self) -> str | None:
        """Name of the cheapest setting whose answers are surely better; None where there is none."""
        return cheapest(self.points, len(self.plan.settings), self.confidence)

    def comparison(self, name: str) -> Comparison | None:
        """The best against the setting of this name; None for the best itself and for one that failed."""
        return next((one for one in self.comparisons if one.other == name), None)


def trial_table(outcome: Outcome) -> pl.DataFrame:
    """One row a trial: its setting and seed, the values of what varies, what became of it, measures with intervals."""
    measured = {f"{name}{end}": pl.Float64 for name in MEASURES for end in ("", "_low", "_high")}
    schema: dict[str, Any] = {
        "trial": pl.String,
        "setting": pl.String,
        "seed": pl.Int64,
        **{axis.key: _type_of(axis.values) for axis in outcome.plan.axes},
        "status": pl.String,
        "error": pl.String,
        "seconds": pl.Float64,
        **measured,
        "best": pl.Boolean,
    }
    rows = [row for result in outcome.results for row in _trial_rows(outcome, result, schema)]
    return pl.DataFrame(rows, schema=schema)


def _trial_rows(outcome: Outcome, result: SettingResult, schema: dict[str, Any]) -> list[dict[str, Any]]:
    values = {
        key: json.dumps(value) if schema[key] == pl.String and not isinstance(value, str) else value
        for key, value in result.setting.values.items()
    }
    rows = []
    for found in result.trials:
        row = {"trial": found.trial.name, "setting": result.setting.name, "seed": found.trial.seed} | values
        row |= {"status": found.status, "error": found.error, "seconds": found.seconds}
        for name, value in found.values.items():
            row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        rows.append(row | {"best": result.setting.name == outcome.best.name})
    return rows


def _type_of(values: tuple[Any, ...]) -> Any:
    """The column's type: of values of one plain type that one, else text as JSON."""
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return pl.Int64
    if kinds <= {int, float}:
        return pl.Float64
    return pl.Boolean if kinds == {bool} else pl.String


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The whole outcome as JSON values; `schema_version` names their layout."""
    plan = outcome.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "over": {axis.key: list(axis.values) for axis in plan.axes},
        "seeds": list(plan.seeds),
        "metric": FRONTIER if plan.frontier else plan.measure.name,
        "confidence": outcome.confidence,
        "judge": outcome.judge,
        "cheapest_surely_better": outcome.cheapest,
        "settings": [_setting_json(outcome, result) for result in outcome.results],
        "best": {"setting": outcome.best.name, "values": outcome.best.values, "seed": plan.seeds[0]},
        "tested": None if outcome.tested is None else _final_json(outcome.tested),
    }


def _setting_json(outcome: Outcome, result: SettingResult) -> dict[str, Any]:
    compared = outcome.comparison(result.setting.name)
    best_less_this = None if compared is None else compared._asdict()
    if compared is not None and best_less_this is not None:
        best_less_this["more_than_noise"] = compared.is_more_than_noise(outcome.confidence)
    return {
        "setting": result.setting.name,
        "values": result.setting.values,
        "is_run_file": result.setting.is_default,
        "status": result.status,
        "averages": {name: None if found is None else found._asdict() for name, found in result.averages.items()},
        "trials": [_trial_json(found) for found in result.trials],
        "price": None if result.point is None else result.point._asdict(),
        "on_frontier": result.setting.name in outcome.frontier,
        "best_less_this": best_less_this,
    }


def _trial_json(found: TrialResult) -> dict[str, Any]:
    return {
        "trial": found.trial.name,
        "seed": found.trial.seed,
        "status": found.status,
        "error": found.error,
        "seconds": found.seconds,
        "values": {name: value._asdict() for name, value in found.values.items()},
    }


def _final_json(tested: FinalResult) -> dict[str, Any]:
    values = {name: value._asdict() for name, value in tested.values.items()}
    return {"split": tested.split, "verdict": tested.verdict, "values": values}
