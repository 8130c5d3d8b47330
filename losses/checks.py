"""Checks of hyper-parameters, with one wording for all methods."""

import math
from collections.abc import Sequence


def above_zero(**values: float) -> None:
    """Refuse a hyper-parameter that is no finite number above 0.

    Raises:
        ValueError: Names the hyper-parameter and its value.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be above 0 and finite, not {value}.")


def at_least_zero(**values: float) -> None:
    """Refuse a hyper-parameter that is no finite number of at least 0.

    Raises:
        ValueError: Names the hyper-parameter and its value.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be at least 0 and finite, not {value}.")


def below_half(**values: float) -> None:
    """Refuse a share of wrong labels outside [0, 0.5).

    Raises:
        ValueError: Names the hyper-parameter and its value.
    """
    for name, value in values.items():
        if not 0 <= value < 0.5:
            raise ValueError(f"{name} must be in [0, 0.5), not {value}.")


def one_of(known: Sequence[str], **values: str) -> None:
    """Refuse a switch that has none of its known settings.

    Raises:
        ValueError: Names the switch, its value and the known settings.
    """
    for name, value in values.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not '{value}'.")


def one_trust(label_smoothing: float, soft_labels: bool) -> None:
    """Refuse two sayings on how far a label is to be trusted.

    Raises:
        ValueError: Labels are to be smoothed and soft.
    """
    if label_smoothing and soft_labels:
        raise ValueError("label_smoothing and soft_labels both say how far a label is to be trusted; choose one.")
