"""What is trained side by side: arms, each a method on some of the rows, over one run that they share."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..config import RunConfig, build_config, put
from ..errors import ConfigError
from ..line import select
from ..sweep.plan import BASE, LAST_SHARED, TRIALS, Trial, laid, shared_settings
from ..training.methods import check_training, main_method

if TYPE_CHECKING:
    from thumbline.losses import LossSpec

# Settings of the run file's method that another method does not take over.
_OF_THE_METHOD: Final[Mapping[str, Any]] = {"loss": {}, "also": [], "weighting": "none", "ld_alpha": 1.0}


class Arm(NamedTuple):
    """One method on all of its rows, or on some of them.

    Attributes:
        name: What it is called in tables, and its folders.
        config: The run that it is, with the run file's seed and passes over the rows.
        budget: The arm whose trained tokens it is given.
    """

    name: str
    config: RunConfig
    budget: str

    @property
    def spec(self) -> "LossSpec":
        """What its method says of itself."""
        return main_method(self.config.train).spec


class Steps(NamedTuple):
    """How long an arm trains.

    Attributes:
        rows: Pairs or rows that it trains on.
        row_tokens: Completion tokens of all of them, once.
        steps: Optimiser steps.
        epochs: Passes over the rows that these are.
        tokens: Completion tokens that carry a gradient over all steps; of a method that samples its own answers, at
            most so many until it has trained.
    """

    rows: int
    row_tokens: int
    steps: int
    epochs: float
    tokens: int


@dataclass(frozen=True)
class Plan:
    """What is trained side by side.

    Attributes:
        output: Folder of all of it.
        config: The run file's settings, with absolute paths.
        arms: What is trained.
        seeds: `train.seed` of each arm's trials.
        baseline: Name of the arm that others are compared with.
        tokens: Completion tokens that every arm trains on; None: as many as the arm that it names takes by itself.
        keep: Whether trained models stay on disk: `none` or `all`.
        left_out: Arms that were left out, and why.
    """

    output: Path
    config: RunConfig
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    baseline: str
    tokens: int | None = None
    keep: str = "none"
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> RunConfig:
        """The run whose stages up to the reference all arms take."""
        return laid(self.arms[0].config, self.output, BASE)

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def trial(self, arm: Arm, seed: int, steps: int) -> Trial:
        """An arm's run with a seed and a number of optimiser steps."""
        name = f"{arm.name}__seed_{seed}"
        # As many passes as the steps take, of which the last ends with them.
        update = {"seed": seed, "max_steps": steps, "epochs": float(steps)}
        train = arm.config.train.model_copy(update=update)
        config = arm.config.model_copy(update={"train": train})
        return Trial(name, arm.name, seed, laid(config, self.output / TRIALS, name))


def method_config(config: RunConfig, method: str, changes: Mapping[str, Any]) -> RunConfig:
    """The run trained by a method: what belongs to the run file's method alone is left out for others.

    Args:
        config: The run.
        method: Name of the method.
        changes: Settings by key below `train`, for this method alone.

    Raises:
        ConfigError: A setting does not hold for this method; the message names it.
    """
    origin = f"method {method}"
    document = config.model_dump(mode="json", exclude_unset=True)
    train = document.setdefault("train", {})
    if method != config.train.method:
        train |= {key: deepcopy(value) for key, value in _OF_THE_METHOD.items() if key in train}
    train["method"] = method
    for key, value in changes.items():
        put(document, f"train.{key}", value, origin=origin)
    made = build_config(document, origin=origin)
    try:
        if main_method(made.train).takes_whole_steps and made.train.micro_batch_rows < made.train.batch_rows:
            update = {"micro_batch_rows": made.train.batch_rows, "micro_batch_tokens": None}
            made = made.model_copy(update={"train": made.train.model_copy(update=update)})
        check_training(made)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    return made


def sharing(config: RunConfig, made: Mapping[str, RunConfig], budgets: Mapping[str, str]) -> tuple[Arm, ...]:
    """Arms over one set of sequences and reference log-probs.

    Args:
        config: The run.
        made: Each arm's run by its name.
        budgets: By its name the arm whose trained tokens it is given.

    Raises:
        ConfigError: A method's settings change what all arms share.
    """
    shared = shared_settings(config, list(made.values()))
    arms = tuple(Arm(name, one.model_copy(update=shared), budgets[name]) for name, one in made.items())
    check_shared(arms)
    return arms


def check_shared(arms: Sequence[Arm]) -> None:
    """Refuse arms that would not share all that comes before training.

    Raises:
        ConfigError: Names the arm and the stage.
    """
    first = arms[0]
    for stage in select(None, LAST_SHARED):
        for arm in arms:
            if stage.settings(arm.config) != stage.settings(first.config):
                raise ConfigError(
                    f"{arm.name}: its settings change the stage {stage.name}, which all share; compare it in a run of "
                    f"its own."
                )
