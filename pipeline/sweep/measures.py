"""What settings are chosen by: numbers of the validation split that mean the same under every setting."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from ..config import RunConfig, TrainConfig
from ..errors import ConfigError, unknown_name
from ..report.evaluation_facts import ACCURACY, AUC, MARGIN, TRAINED, UNTRAINED
from ..report.judges import WINS
from ..stages.metrics import reward_of_run
from ..training.methods import main_method

if TYPE_CHECKING:
    from .plan import Trial


class Measure(NamedTuple):
    """A number of held-out rows.

    Attributes:
        name: What `--metric` calls it.
        title: As a heading.
        sources: Evaluator and metric, the first that has a value counts.
        unit: Its unit, as `metrics` says it.
        sign: 1 where more is better, -1 where less is.
    """

    name: str
    title: str
    sources: tuple[tuple[str, str], ...]
    unit: str
    sign: int


_LOSS: Final = Measure("loss", "Method's loss", (("pair_loss", "loss"), ("unpaired_loss", "loss")), "loss", -1)
MEASURES: Final = {
    headline.name: Measure(headline.name, headline.title, ((headline.evaluator, headline.metric),), unit, 1)
    for headline, unit in ((ACCURACY, "share"), (MARGIN, "reward"), (AUC, "share"))
} | {_LOSS.name: _LOSS}
# By the judge that decides; only where the run file has answers sampled and judged.
WIN_RATE: Final = Measure("win_rate", "Win rate of answers", ((WINS, WINS),), "share", 1)
MEASURES[WIN_RATE.name] = WIN_RATE
AUTO: Final = "auto"
# The cheapest setting whose answers are surely better.
FRONTIER: Final = "frontier"
# What decides between settings that are equal by the measure itself, where it means the same under all of them.
_TIES: Final = {"accuracy": ("margin", "auc"), "auc": ("accuracy",), "margin": ("accuracy",), "loss": ("accuracy",)} | {
    WIN_RATE.name: ("accuracy",)
}


class Value(NamedTuple):
    """A measure of one trial.

    Attributes:
        value: The number; None where the rows do not determine it.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        n: Rows behind it.
        n_groups: Prompt groups behind it.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_groups: int


class Average(NamedTuple):
    """A measure of one setting over its seeds.

    Attributes:
        mean: Mean over the seeds.
        low: Mean of the intervals' lower ends: a mean of several estimates is at least as sure as they are on average.
        high: Mean of the upper ends.
        spread: Standard deviation over the seeds; None for one seed.
        n: Rows behind each seed's value.
        n_groups: Prompt groups behind it.
    """

    mean: float
    low: float | None
    high: float | None
    spread: float | None
    n: int
    n_groups: int


def measure_of(name: str, trials: "Sequence[Trial]") -> Measure:
    """The measure that settings are chosen by.

    Args:
        name: Its name; `auto`: AUC where no method takes pairs, else preference accuracy; or `frontier`, which looks at
            win rates and what they cost.
        trials: One of each setting.

    Raises:
        ConfigError: There is no such measure, or it means something else under another setting.
    """
    configs = [trial.config for trial in trials]
    if name == AUTO:
        paired = any(main_method(config.train).spec.paired for config in configs)
        return MEASURES["accuracy" if paired else "auc"]
    if name not in (*MEASURES, FRONTIER):
        raise ConfigError(f"--metric: {unknown_name('measure', name, (*MEASURES, FRONTIER, AUTO))}")
    if name in {FRONTIER, WIN_RATE.name}:
        _check_asked(name, configs[0])
        return WIN_RATE
    if not is_comparable(name, configs):
        raise ConfigError(
            f"--metric {name}: the settings differ in what a {name} is (its method, beta or the like), so the "
            f"size of one says nothing beside that of another; take accuracy or auc."
        )
    return MEASURES[name]


def _check_asked(name: str, config: RunConfig) -> None:
    """Refuse to choose by answers that nobody samples or judges.

    Raises:
        ConfigError: Says what to set.
    """
    if not config.generations.is_on or not config.judges:
        raise ConfigError(
            f"--metric {name}: it looks at sampled answers that are judged; set `generations: {{samples: 4}}` and "
            f"`judges` in the run file (`thumbline judges` lists them)."
        )


def is_comparable(name: str, configs: Sequence[RunConfig]) -> bool:
    """Whether a measure means the same in all of these runs: a margin has a reward's scale, a loss is its method's."""
    if name == "margin":
        return len({reward_of_run(config) for config in configs}) == 1
    return name != "loss" or all(_loss(config.train) == _loss(configs[0].train) for config in configs)


def _loss(train: TrainConfig) -> tuple[Any, ...]:
    return (train.method, main_method(train).config, train.also, train.weighting, train.ld_alpha)


def ties_of(measure: Measure, configs: Sequence[RunConfig]) -> tuple[Measure, ...]:
    """The measures that decide between equal settings, in this order."""
    return tuple(MEASURES[name] for name in _TIES[measure.name] if is_comparable(name, configs))


def values_of(metrics: pl.DataFrame, judge: str | None = None) -> dict[str, Value]:
    """Every measure of the trained model, by name, from table `metrics`.

    Args:
        metrics: Of one trial.
        judge: Whose win rate counts; None for none.
    """
    own = metrics.filter((pl.col("model") == TRAINED) & pl.col("slice").is_null())
    alone = pl.col("compared_with").is_null() & (pl.col("evaluator") != WINS)
    if judge is not None:
        won = (pl.col("evaluator") == WINS) & (pl.col("compared_with") == UNTRAINED) & (pl.col("judge") == judge)
        alone = alone | won
    whole = own.filter(alone)
    rows = {(row["evaluator"], row["metric"]): row for row in whole.iter_rows(named=True)}
    found = {}
    for measure in MEASURES.values():
        known = [rows[source] for source in measure.sources if source in rows]
        row = next((row for row in known if row["value"] is not None), known[0] if known else None)
        found[measure.name] = Value(None, None, None, 0, 0) if row is None else _value(row)
    return found


def _value(row: dict[str, Any]) -> Value:
    return Value(row["value"], row["ci_low"], row["ci_high"], row["n"], row["n_groups"])


def average(values: Sequence[Value]) -> Average | None:
    """The measure over a setting's seeds; None where one of them has none."""
    numbers = [value.value for value in values if value.value is not None]
    if not numbers or len(numbers) < len(values):
        return None
    lows = [value.low for value in values if value.low is not None]
    highs = [value.high for value in values if value.high is not None]
    bounded = len(lows) == len(highs) == len(values)
    return Average(
        mean=fmean(numbers),
        low=fmean(lows) if bounded else None,
        high=fmean(highs) if bounded else None,
        spread=stdev(numbers) if len(numbers) > 1 else None,
        n=values[0].n,
        n_groups=values[0].n_groups,
    )
