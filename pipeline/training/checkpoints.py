"""What an interrupted training needs to go on to the same bytes: weights, optimiser, place and log so far."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from ..storage.files import atomic_file
from .adapters import Base, merged, save_adapter
from .best import best_file, drop_best
from .dropout import restore_dropout
from .parallel.shards import load_shards, remove_shards, save_shards, shard_steps, shards_in, step_of
from .parallel.team import ALONE, Team
from .parallel.wrapping import is_part, is_shared_out, spread
from .policy import Policy
from .whole_files import DAMAGE, check_whole, first_line, read_whole

_LOG = logging.getLogger(__name__)
_PREFIX: Final = "checkpoint-"

Say = Callable[[str], None]
# Which step's weights a training with this log needs beside its checkpoint; None: none.
BestStep = Callable[[Sequence["LogRow"]], int | None]


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
        model: The trained weights by name, in the order in which the optimiser has them.
        optimizer: The optimiser's state.
        log: Log rows so far.
        processes: How many trained.
    """

    step: int
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    log: list[LogRow]
    processes: int = 1


class Place(NamedTuple):
    """Where a training goes on.

    Attributes:
        step: Optimiser steps done.
        log: Log rows so far.
    """

    step: int
    log: list[LogRow]


def keep(
    folder: Path,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    place: Place,
    *,
    newest: int = 1,
    team: Team = ALONE,
) -> None:
    """Write a checkpoint, whole or not at all; then the oldest go.

    Args:
        folder: Where it goes.
        policy: Whole, or shared out among the processes: each then writes its own part.
        optimizer: Its state is kept.
        place: Where training stands.
        newest: How many checkpoints stay.
        team: The processes; each calls this.
    """
    if is_shared_out(policy.scorer):
        facts = {"step": place.step, "log": [tuple(row) for row in place.log], "processes": team.size}
        save_shards(folder, place.step, policy.scorer, optimizer, facts, team, newest)
    elif team.is_first:
        weights = trained_weights(policy.model)
        save_checkpoint(folder, Checkpoint(place.step, weights, optimizer.state_dict(), place.log, team.size), newest)


def take_up(
    folder: Path,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    *,
    team: Team = ALONE,
    say: Say = lambda _: None,
    best_step: BestStep = lambda _: None,
) -> Place | None:
    """Put the weights and state of the folder's last checkpoint in their places; None where there is no checkpoint.

    It may come from another number of processes, or of weights that lay otherwise on them: training then goes on
    with other rounding, and says so.

    Args:
        folder: Where it lies.
        policy: Untrained.
        optimizer: A new one.
        team: The processes; each calls this.
        say: Told of a damaged checkpoint, which is deleted.
        best_step: See `load_checkpoint`.
    """
    shards, checkpoint = shards_in(folder, team), _same_everywhere(folder, team, say, best_step)
    if shards is not None and (checkpoint is None or step_of(shards) > checkpoint.step):
        facts = load_shards(shards, policy.scorer, optimizer, team)
        place, processes = Place(facts["step"], [LogRow(*row) for row in facts["log"]]), facts["processes"]
    elif checkpoint is not None:
        put_weights(policy.model, checkpoint.model)
        optimizer.load_state_dict(_spread(checkpoint, policy.model))
        place, processes = Place(checkpoint.step, list(checkpoint.log)), checkpoint.processes
    else:
        return None
    if processes != team.size and team.is_first:
        _LOG.warning(
            "train: the checkpoint of step %d was made by %d processes, and %d go on from it: as exact, but rounded "
            "in other places than a run that was not interrupted",
            place.step,
            processes,
            team.size,
        )
    return place


def _same_everywhere(folder: Path, team: Team, say: Say, best_step: BestStep) -> Checkpoint | None:
    """The newest whole checkpoint, which the first process finds and each reads."""
    found = load_checkpoint(folder, say, best_step) if team.is_first else None
    step = team.from_first(None if found is None else found.step)
    return found if team.is_first or step is None else _read(folder, step)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, newest: int = 1) -> None:
    """Write a checkpoint, whole or not at all; then the oldest go, so that the newest ones are there."""
    with atomic_file(_file(folder, checkpoint.step)) as temporary:
        torch.save(checkpoint._asdict() | {"log": [tuple(row) for row in checkpoint.log]}, temporary)
    for step in _steps(folder)[newest:]:
        _file(folder, step).unlink()


def load_checkpoint(folder: Path, say: Say = lambda _: None, best_step: BestStep = lambda _: None) -> Checkpoint | None:
    """The folder's newest checkpoint that is whole; None where there is none.

    Args:
        folder: Where checkpoints lie.
        say: Told of each that is damaged, which is deleted.
        best_step: Which step's weights a training with a checkpoint's log needs, which have to be whole too.
    """
    for step in _steps(folder):
        try:
            checkpoint = _read(folder, step)
            best = best_step(checkpoint.log)
            if best is not None:
                check_whole(best_file(folder, best))
            return checkpoint
        except DAMAGE as error:
            path = _file(folder, step)
            path.unlink()
            older = [other for other in _steps(folder) if other < step]
            then = f"training goes on from that of step {older[0]}" if older else "training begins anew"
            say(f"{path.name} is damaged ({first_line(error)}); {then}.")
    return None


def checkpoint_steps(folder: Path) -> list[int]:
    """Optimiser steps whose checkpoints lie in the folder, of either kind, the newest first."""
    return sorted({*_steps(folder), *shard_steps(folder)}, reverse=True)


def _read(folder: Path, step: int) -> Checkpoint:
    state = read_whole(_file(folder, step))
    return Checkpoint(**state)._replace(log=[LogRow(*row) for row in state["log"]])


def _file(folder: Path, step: int) -> Path:
    return folder / f"{_PREFIX}{step:08d}.pt"


def _steps(folder: Path) -> list[int]:
    return sorted((int(path.stem.removeprefix(_PREFIX)) for path in folder.glob(f"{_PREFIX}*.pt")), reverse=True)


def _spread(checkpoint: Checkpoint, model: torch.nn.Module) -> dict[str, Any]:
    """The optimiser's state, where it is as large as a weight shared out as that weight is."""
    weights = list(trained_weights(model).values())
    if not any(is_part(weight) for weight in weights):
        return checkpoint.optimizer
    state = {
        number: {name: spread(value, weights[number]) for name, value in values.items()}
        for number, values in checkpoint.optimizer["state"].items()
    }
    return checkpoint.optimizer | {"state": state}


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that training changes, by name: all of them, or an adapter's alone."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def put_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give a model the weights that `trained_weights` took of one like it.

    Raises:
        KeyError: It has other weights to train.
    """
    for name, weight in trained_weights(model).items():
        weight.copy_(spread(weights[name], weight))


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints, and the best weights, once the trained model is written."""
    for step in _steps(folder):
        _file(folder, step).unlink()
    remove_shards(folder)
    drop_best(folder)


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
