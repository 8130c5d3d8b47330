"""Checks of tensors' shapes: torch would spread one that does not fit over the others, and give a wrong number."""

from collections.abc import Mapping

import torch


def one_a_row(owner: str, **tensors: torch.Tensor | None) -> None:
    """Refuse tensors that do not hold one number for each of the same rows.

    Args:
        owner: What is being computed, for the error.
        tensors: Each should be (batch,), by its name; None for what is not given.

    Raises:
        ValueError: Names every tensor with its shape.
    """
    _alike(owner, tensors, 1, "one number a row, all (batch,)")


def one_a_token(owner: str, **tensors: torch.Tensor | None) -> None:
    """Refuse tensors that do not hold one number for each of the same rows' tokens.

    Args:
        owner: What is being computed, for the error.
        tensors: Each should be (batch, time), by its name; None for what is not given.

    Raises:
        ValueError: Names every tensor with its shape.
    """
    _alike(owner, tensors, 2, "one number a token, all (batch, time)")


def _alike(owner: str, tensors: Mapping[str, torch.Tensor | None], dimensions: int, wanted: str) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if tensor is not None}
    told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{owner}: {told} differ in shape; give {wanted}.")
    if any(len(shape) != dimensions for shape in shapes.values()):
        raise ValueError(f"{owner}: {told} have the wrong shape; give {wanted}.")
