"""What a method on prompts needs of a run, said before any work; torch is not needed to say it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...config import RunConfig
from ...errors import ConfigError

# Settings of rows that were logged.
_OF_ROWS: Final = ("only_model", "ratio_floor", "ratio_ceiling", "reference_steps")

if TYPE_CHECKING:
    from thumbline.losses import Method


def check_rollouts(methods: "Sequence[Method]", config: RunConfig) -> None:
    """Refuse a run whose answers nobody would score, or whose settings its method cannot take.

    Args:
        methods: The run's, of which the first samples answers.
        config: The run.

    Raises:
        ConfigError: Names the setting and what to change.
    """
    method, train = methods[0], config.train
    if not config.thumbs.is_on:
        raise ConfigError(
            f"train.method: {method.name} trains on scores of the run's thumbs model, and the run makes none; set "
            f"thumbs.method (reward_bce learns from thumbs, reward_bt from pairs), or thumbs.model to one that exists."
        )
    unread = [name for name in _OF_ROWS if getattr(train, name) is not None]
    if unread:
        raise ConfigError(
            f"train.{unread[0]}: it is about rows of the log, and {method.name} samples its own answers; take it away."
        )
    least = int(getattr(method.spec, "least_samples", 1))
    if train.rollouts.samples < least:
        raise ConfigError(
            f"train.rollouts.samples: {method.name} compares the answers to one prompt and takes at least {least}, not "
            f"{train.rollouts.samples}."
        )
    if getattr(method.spec, "has_values", False) and train.rollouts.value_model == "thumbs" and train.adapter != "none":
        raise ConfigError(
            f"train.rollouts.value_model: thumbs is a second model that is trained whole, beside an adapter "
            f"({train.adapter}) that is to save just that; set it to policy, or train.adapter to none."
        )
    if train.rollouts.engine != "hf" and (train.adapter == "dora" or train.weights == "nf4"):
        raise ConfigError(
            f"train.rollouts.engine: vLLM takes LoRA adapters on unquantised weights, and the run trains "
            f"adapter {train.adapter} on {train.weights}; set it to hf."
        )
    if (train.keep == "best" or train.patience is not None) and train.best_by != "penalised_reward":
        raise ConfigError(
            f"train.best_by: {train.best_by} is measured of rows of the log, and {method.name} samples its own "
            f"answers; set it to penalised_reward."
        )
