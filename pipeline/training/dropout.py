"""Dropout off everywhere: stored reference log-probs have none, and a resumed run could not draw the same again.

Many models call dropout as a function with a rate from their config, so that no module of theirs shows it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch


class Rate(NamedTuple):
    """A dropout rate in a model's config.

    Attributes:
        holder: The config, or the part of one, that holds it.
        name: Its attribute.
        value: The rate.
    """

    holder: Any
    name: str
    value: float


def dropout_rates(config: Any) -> Iterator[Rate]:
    """Every attribute of a config, and of the configs in it, that names dropout and holds a number.

    Args:
        config: A transformers config.
    """
    for name, value in sorted(vars(config).items()):
        if hasattr(value, "to_dict"):
            yield from dropout_rates(value)
        elif "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            yield Rate(config, name, value)


def without_dropout(config: Any) -> Any:
    """The config with every dropout rate at 0, changed in place: a model built from it calls none.

    Args:
        config: A transformers config.
    """
    for rate in list(dropout_rates(config)):
        setattr(rate.holder, rate.name, 0.0)
    return config


def restore_dropout(config: Any, original: Any) -> None:
    """Give a config the rates of `original` back, so that a trained model's folder says what the untrained one said.

    Args:
        config: The config of the model in training.
        original: A config of the same kind, as it was on disk.
    """
    for ours, theirs in zip(list(dropout_rates(config)), list(dropout_rates(original)), strict=True):
        setattr(ours.holder, ours.name, theirs.value)


def turn_off_modules(model: torch.nn.Module) -> None:
    """Every dropout module at rate 0: a model's own code may set rates that its config does not name."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
