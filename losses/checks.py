"""Checks of hyper-parameters, with one wording for all methods."""

import math
from collections.abc import Iterable

from losses.types import LossInputError


def require_positive(owner: object, **values: float) -> None:
    """Refuse a hyper-parameter that is not a finite number above zero.

    Raises:
        LossInputError: names the configuration, the hyper-parameter and its value.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise LossInputError(f"{type(owner).__name__}.{name} is {value}; it must be a finite number above 0.")


def require_at_least_zero(owner: object, **values: float) -> None:
    """Refuse a hyper-parameter that is not a finite number of at least zero.

    Raises:
        LossInputError: names the configuration, the hyper-parameter and its value.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise LossInputError(
                f"{type(owner).__name__}.{name} is {value}; it must be a finite number of at least 0."
            )


def require_below(owner: object, limit: float, **values: float) -> None:
    """Refuse a hyper-parameter outside [0, limit).

    Raises:
        LossInputError: names the configuration, the hyper-parameter and its value.
    """
    for name, value in values.items():
        if not 0 <= value < limit:
            raise LossInputError(f"{type(owner).__name__}.{name} is {value}; it must lie in [0, {limit}).")


def require_one_of(owner: object, known: Iterable[str], **values: str) -> None:
    """Refuse a switch that has none of its known settings.

    Raises:
        LossInputError: names the configuration, the switch, its value and the known settings.
    """
    settings = list(known)
    for name, value in values.items():
        if value not in settings:
            raise LossInputError(
                f"{type(owner).__name__}.{name} is {value!r}; it must be one of {', '.join(settings)}."
            )
