"""Checkpoints of shared-out weights: each process writes and reads its own part, by torch.distributed.checkpoint.

A checkpoint is a folder named after its step. It is written under another name and takes its own once every process is
done, so that a folder of that name is whole.
"""

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from ...storage.digests import digest_file
from ...storage.files import atomic_file
from ..whole_files import DAMAGE, read_whole
from .team import Team

_LOG = logging.getLogger(__name__)
_PREFIX: Final = "shards-"
_PARTIAL: Final = ".partial"
_FACTS: Final = "facts.pt"
_INDEX: Final = "index"
_INDEX_OF_TORCH: Final = ".metadata"
# What is frozen lies in the untrained model.
_OPTIONS: Final = StateDictOptions(ignore_frozen_params=True)


def save_shards(
    folder: Path,
    step: int,
    scorer: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    team: Team,
    newest: int = 1,
) -> None:
    """Write the trained weights and the optimiser's state to a folder in `folder`; then the oldest go.

    Args:
        folder: Where checkpoints lie; every process writes there.
        step: Optimiser steps done.
        scorer: What is trained.
        optimizer: It holds a state for each trained weight.
        facts: Plain values; the first process's are kept.
        team: The processes; each calls this.
        newest: How many checkpoints of this kind stay.
    """
    whole = folder / f"{_PREFIX}{step:08d}"
    partial = whole.with_name(whole.name + _PARTIAL)
    if team.is_first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    team.wait()
    model, state = get_state_dict(scorer, optimizer, options=_OPTIONS)
    save({"model": model, "optimizer": state}, checkpoint_id=partial)
    # Each process reads back what it wrote itself, so that none reads all of it.
    own = {path.name: digest_file(path) for path in partial.glob(f"__{team.rank}_*")}
    digests = {name: digest for part in team.gather(own) for name, digest in part.items()}
    if team.is_first:
        # A stage's folder is cleared of what is hidden before it is taken up again.
        (partial / _INDEX_OF_TORCH).replace(partial / _INDEX)
        with atomic_file(partial / _FACTS) as temporary:
            digests[_INDEX] = digest_file(partial / _INDEX)
            torch.save({**facts, "sizes": _sizes(partial), "digests": digests}, temporary)
        partial.replace(whole)
        remove_shards(folder, newest)


def load_shards(path: Path, scorer: torch.nn.Module, optimizer: torch.optim.Optimizer, team: Team) -> dict[str, Any]:
    """Put a checkpoint's weights and state in their places, however they are shared out now; returns its facts.

    Args:
        path: A folder of `shards_in`.
        scorer: What is trained; it may be whole.
        optimizer: A new one of the same kind.
        team: The processes; each calls this.
    """
    if team.is_first:
        shutil.copyfile(path / _INDEX, path / _INDEX_OF_TORCH)
    team.wait()
    model, state = get_state_dict(scorer, optimizer, options=_OPTIONS)
    found: dict[str, Any] = {"model": model, "optimizer": state}
    with warnings.catch_warnings():
        # One process reads all parts by itself, which it is told that it does.
        warnings.simplefilter("ignore", UserWarning)
        load(found, checkpoint_id=path)
    set_state_dict(
        scorer,
        optimizer,
        model_state_dict=found["model"],
        optim_state_dict=found["optimizer"],
        options=StateDictOptions(strict=False),
    )
    facts: dict[str, Any] = torch.load(path / _FACTS, weights_only=True)
    return facts


def shards_in(folder: Path, team: Team) -> Path | None:
    """The newest checkpoint of this kind in a folder of which nothing is missing; None where there is none.

    Args:
        folder: Where they lie.
        team: The processes; each calls this, and the first one looks.
    """
    found = sorted(_folders(folder), reverse=True) if team.is_first else []
    for path in found:
        if _is_whole(path):
            return team.from_first(path)
        _LOG.warning("train: the checkpoint %s is damaged; it is left out", path)
    return team.from_first(None)


def _is_whole(path: Path) -> bool:
    try:
        facts = read_whole(path / _FACTS)
        # Older versions wrote sizes alone.
        sizes, digests = facts["sizes"], facts.get("digests", {})
    except DAMAGE:
        return False
    if any(not (path / name).is_file() or (path / name).stat().st_size != size for name, size in sizes.items()):
        return False
    return all((path / name).is_file() and digest_file(path / name) == digest for name, digest in digests.items())


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir() if not path.name.startswith(".")}


def step_of(path: Path) -> int:
    """Optimiser steps done at a checkpoint of this kind."""
    return int(path.name.removeprefix(_PREFIX))


def shard_steps(folder: Path) -> list[int]:
    """Optimiser steps whose whole checkpoints of this kind lie in a folder."""
    return [step_of(path) for path in _folders(folder)]


def remove_shards(folder: Path, newest: int = 0) -> None:
    """Delete all checkpoints of this kind in a folder but the newest, and what a killed process left of one."""
    kept = sorted(_folders(folder), reverse=True)[:newest]
    for path in folder.glob(f"{_PREFIX}*"):
        if path not in kept and path.is_dir():
            # Under its own name a folder is whole, also while it goes.
            gone = path if path.suffix == _PARTIAL else path.replace(path.with_name(path.name + _PARTIAL))
            shutil.rmtree(gone)


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob(f"{_PREFIX}*") if path.is_dir() and path.suffix != _PARTIAL)
