"""What an interrupted training needs to go on to the same bytes: weights, optimiser, place and log so far."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..storage.files import atomic_file
from .adapters import Base, merged, save_adapter
from .dropout import restore_dropout
from .policy import Policy

_FILE = "checkpoint.pt"


class LogRow(NamedTuple):
    """One row of table `training_log`."""

    step: int
    phase: str
    metric: str
    value: float


class Checkpoint(NamedTuple):
    """A place in a training run.

    Attributes:
        step: Optimiser steps done.
        model: The trained weights by name, float32.
        optimizer: The optimiser's state.
        log: Log rows so far.
    """

    step: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    log: list[LogRow]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint, atomically."""
    with atomic_file(folder / _FILE) as temporary:
        torch.save(
            {
                "step": checkpoint.step,
                "model": checkpoint.model,
                "optimizer": checkpoint.optimizer,
                "log": [tuple(row) for row in checkpoint.log],
            },
            temporary,
        )


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The folder's checkpoint; None where there is none."""
    path = folder / _FILE
    if not path.is_file():
        return None
    # weights_only: a checkpoint is tensors and plain values, and nothing else in the file is ever executed.
    state = torch.load(path, map_location="cpu", weights_only=True)
    return Checkpoint(state["step"], state["model"], state["optimizer"], [LogRow(*row) for row in state["log"]])


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that training changes, by name: all of them, or an adapter's alone."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def put_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give a model the weights that `trained_weights` took of one like it.

    Raises:
        KeyError: It has other weights to train.
    """
    for name, weight in trained_weights(model).items():
        weight.copy_(weights[name])


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint once the trained model is written."""
    (folder / _FILE).unlink(missing_ok=True)


def save_model(policy: Policy, untrained_dir: Path, folder: Path, base: Base | None = None) -> None:
    """Write the trained weights, in the type that they had on disk before, with the tokenizer, to `folder`.

    Args:
        policy: The trained model; its weights take the type they are written in.
        untrained_dir: Folder of the untrained model, whose tokenizer is copied.
        folder: Where the new model goes; replaced if it is there.
        base: Name of the model that a trained adapter is for, to write the adapter alone; None for a whole model, with
            the adapter merged where there is one.
    """
    from transformers import AutoConfig, AutoTokenizer

    if folder.exists():
        shutil.rmtree(folder)
    restore_dropout(policy.model.config, AutoConfig.from_pretrained(untrained_dir))
    if base is not None:
        save_adapter(policy, base, folder)
    else:
        model = policy.model if policy.adapted is None else merged(policy)
        model.to(policy.saved_dtype).save_pretrained(folder)
    AutoTokenizer.from_pretrained(untrained_dir).save_pretrained(folder)
