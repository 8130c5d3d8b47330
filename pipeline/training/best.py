"""The weights of the best step so far, in a file of their own until a model is written."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import torch

from ..errors import TrainingError
from ..storage.files import atomic_file
from .whole_files import DAMAGE, first_line, read_whole

_PREFIX: Final = "best-"


def best_file(folder: Path, step: int) -> Path:
    """Where the weights after a step lie."""
    return folder / f"{_PREFIX}{step:08d}.pt"


def save_best(folder: Path, step: int, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the trained weights after a step that may turn out to be the best; whole or not at all."""
    with atomic_file(best_file(folder, step)) as temporary:
        torch.save(dict(weights), temporary)


def load_best(folder: Path, step: int) -> dict[str, torch.Tensor]:
    """The trained weights that `save_best` wrote after this step.

    Raises:
        TrainingError: They are gone or damaged.
    """
    path = best_file(folder, step)
    try:
        weights: dict[str, torch.Tensor] = read_whole(path)
    except DAMAGE as error:
        raise TrainingError(
            f"train: the weights of the best step, {step}, cannot be read from {path} ({first_line(error)}). Delete "
            f"the folder {folder} and run again."
        ) from error
    return weights


def best_steps(folder: Path) -> list[int]:
    """The steps whose weights `save_best` wrote, the first one first."""
    return sorted(int(path.stem.removeprefix(_PREFIX)) for path in folder.glob(f"{_PREFIX}*.pt"))


def drop_best(folder: Path, but: Collection[int] = ()) -> None:
    """Delete what `save_best` wrote, but for that of some steps."""
    for step in best_steps(folder):
        if step not in but:
            best_file(folder, step).unlink()
