"""What a sweep is going to do, checked as a whole before any work starts: its trials, and the run that they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..config import RunConfig, build_config, placed, put
from ..errors import ConfigError, unknown_name
from ..line import select
from ..training.methods import check_training, main_method, makes_mismatched
from .grid import Axis, check_axes, combinations, described, setting_name, trial_name
from .measures import FRONTIER, Measure, measure_of

if TYPE_CHECKING:
    from thumbline.evaluators.types import RowKind

KEEPS: Final = ("best", "all")
BASE: Final = "base"
BEST: Final = "best"
TRIALS: Final = "trials"
# The last stage that all trials share.
LAST_SHARED: Final = "reference"
LAST_OF_TRIAL: Final = "metrics"


class Trial(NamedTuple):
    """One training: a setting with one seed.

    Attributes:
        name: Its folder's name.
        setting: Name of its setting.
        seed: `train.seed`.
        config: The run that it is; it ends with metrics of the validation split.
    """

    name: str
    setting: str
    seed: int
    config: RunConfig


class Setting(NamedTuple):
    """One combination of values.

    Attributes:
        name: Made of its values.
        values: By dotted key.
        is_default: Whether the run file trains just so.
        trials: One a seed, in the order of the seeds.
    """

    name: str
    values: dict[str, Any]
    is_default: bool
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        output: Its folder.
        config: The run file's settings, with absolute paths.
        axes: What varies.
        seeds: `train.seed` of each setting's trials.
        settings: Every combination, in the order of the grid.
        measure: What settings are chosen by, on the validation split.
        keep: Which trained models stay on disk.
        frontier: Whether the cheapest setting whose answers are surely better goes before the measure.
    """

    output: Path
    config: RunConfig
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    settings: tuple[Setting, ...]
    measure: Measure
    keep: str = "best"
    frontier: bool = False

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, in the order in which they are run."""
        return tuple(trial for setting in self.settings for trial in setting.trials)

    @property
    def base(self) -> RunConfig:
        """The run whose stages up to the reference all trials take."""
        return laid(self.trials[0].config, self.output, BASE)

    def best(self, setting: Setting) -> RunConfig:
        """The run that is left: of a setting with the first seed, with its metrics as the run file says."""
        trained = setting.trials[0].config
        return laid(trained.model_copy(update={"metrics": self.config.metrics}), self.output, BEST)


def plan_sweep(
    config: RunConfig,
    axes: Sequence[Axis],
    *,
    seeds: Sequence[int] | None = None,
    metric: str = "auto",
    output: Path | None = None,
    keep: str = "best",
) -> Plan:
    """The sweep over all combinations of values.

    Args:
        config: The run whose training varies.
        axes: What varies.
        seeds: `train.seed` of each setting's trials; None: the run's own.
        metric: What settings are chosen by, `auto` or `frontier`.
        output: The sweep's folder; None: beside the run's, with `-sweep` after its name.
        keep: Which trained models stay on disk.

    Raises:
        ConfigError: A key may not vary, a value does not hold, two settings are one, or nothing could choose between
            them.
    """
    check_axes(axes)
    check_seeds(seeds)
    if keep not in KEEPS:
        raise ConfigError(f"--keep: {unknown_name('choice', keep, KEEPS)}")
    if config.splits.validation == 0.0:
        raise ConfigError("sweep: splits.validation is 0, so no rows are held out to choose by; set it to 0.1.")
    config = absolute(config)
    folder = (output or Path(config.runs) / f"{config.name}-sweep").absolute()
    used = tuple(seeds) if seeds is not None else (config.train.seed,)
    values = combinations(axes)
    shared = shared_settings(config, [_trained(config, setting, used[0]) for setting in values])
    settings = tuple(_setting(config, shared, setting, used, folder) for setting in values)
    _check_settings(settings)
    measure = measure_of(metric, [setting.trials[0] for setting in settings])
    return Plan(folder, config, tuple(axes), used, settings, measure, keep, metric == FRONTIER)


def check_seeds(seeds: Sequence[int] | None) -> None:
    """Refuse no seed, and one that is there twice.

    Raises:
        ConfigError: Says which were given.
    """
    if seeds is not None and (not seeds or len(set(seeds)) < len(seeds)):
        raise ConfigError(f"--seeds {','.join(map(str, seeds))}: give one or more numbers, each once.")


def absolute(config: RunConfig) -> RunConfig:
    """The run with paths that mean the same wherever a file that holds them lies.

    Raises:
        ConfigError: It lies at an address.
    """
    if config.address is not None:
        raise ConfigError(
            f"runs: trainings beside each other share tables by links, which {config.place()} has none of; they lie in "
            f"a folder of this machine: --set runs=FOLDER. Inputs and reference.store may stay at an address."
        )
    document = placed(config.model_dump(mode="json", exclude_unset=True), RunConfig, Path.cwd())
    store = config.store if "://" in config.store else str(Path(config.store).absolute())
    document |= {
        "runs": str(Path(config.runs).absolute()),
        "reference": document.get("reference", {}) | {"store": store},
    }
    return build_config(document, origin="sweep")


def _trained(config: RunConfig, values: dict[str, Any], seed: int) -> RunConfig:
    """The run with one setting's values.

    Raises:
        ConfigError: One does not hold, alone or beside the others; the message names the setting.
    """
    origin = f"sweep, {described(values)}"
    document = config.model_dump(mode="json", exclude_unset=True)
    for key, value in (*values.items(), ("train.seed", seed)):
        put(document, key, value, origin=origin)
    made = build_config(document, origin=origin)
    try:
        check_training(made)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    return made


def shared_settings(config: RunConfig, trained: Sequence[RunConfig]) -> dict[str, Any]:
    """Settings of `sequences` under which there are the rows of every trial's method."""
    kinds: set[RowKind] = {main_method(one.train).spec.rows for one in trained}
    mismatched = {makes_mismatched(one) for one in trained}
    update: dict[str, Any] = {"scope": "all"} if len(kinds) > 1 else {}
    update |= {"mismatched": True} if len(mismatched) > 1 else {}
    return {"sequences": config.sequences.model_copy(update=update)} if update else {}


def _setting(
    config: RunConfig, shared: dict[str, Any], values: dict[str, Any], seeds: Sequence[int], folder: Path
) -> Setting:
    name = setting_name(values)
    validation = {"metrics": config.metrics.model_copy(update={"split": "validation"})}
    trials = []
    for seed in seeds:
        trained = _trained(config, values, seed).model_copy(update={**shared, **validation})
        trial = trial_name(name, seed)
        trials.append(Trial(trial, name, seed, laid(trained, folder / TRIALS, trial)))
    return Setting(name, values, _trains_like(trials[0].config, config, seeds[0]), tuple(trials))


def laid(config: RunConfig, folder: Path, name: str) -> RunConfig:
    """The run as one of a folder's, under a name."""
    return config.model_copy(update={"runs": str(folder), "name": name})


def _trains_like(trial: RunConfig, config: RunConfig, seed: int) -> bool:
    """Whether a trial trains as the run file says, the seed aside; hyper-parameters left out are their defaults."""
    own = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
    without = (
        {"train": own.train.model_copy(update={"loss": {}})},
        {"train": trial.train.model_copy(update={"loss": {}})},
    )
    same = without[0] == without[1]
    return same and main_method(own.train).config == main_method(trial.train).config


def _check_settings(settings: Sequence[Setting]) -> None:
    """Refuse settings that are one and the same, or that would not share what comes before training.

    Raises:
        ConfigError: Names them.
    """
    configs = [setting.trials[0].config for setting in settings]
    for stage in select(None, LAST_SHARED):
        for setting, config in zip(settings, configs, strict=True):
            if stage.settings(config) != stage.settings(configs[0]):
                raise ConfigError(
                    f"sweep: {described(setting.values)} changes the stage {stage.name}, which all trials share. "
                    f"Make a sweep of each."
                )
    (train,) = select("train", "train")
    seen: dict[str, Setting] = {}
    for setting, config in zip(settings, configs, strict=True):
        other = seen.setdefault(repr(train.settings(config)), setting)
        if other is not setting or sum(setting.name == one.name for one in settings) > 1:
            raise ConfigError(
                f"sweep: {described(setting.values)} trains the same model as {described(other.values)}: a value is "
                f"given twice, or the setting changes no result."
            )
