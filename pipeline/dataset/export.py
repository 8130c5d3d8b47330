"""A run's rows as the files that somebody else's trainer takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from ..config import RunConfig
from ..errors import ConfigError, InputError
from ..storage.attached import push_there
from ..storage.files import make_folder, remove_temporary, write_text
from .card import CARD
from .hub import push_dataset
from .lines import REJECTS, write_lines
from .readme import README, notes_of, page
from .rows import read_splits
from .targets.base import Target, Written
from .targets.registry import TRL, find_target
from .trl import write_dataset

FOLDER: Final = "export"
_TRAINED_ON: Final = ("train", "validation")


class Export(NamedTuple):
    """What was written.

    Attributes:
        folder: Where.
        rows: Rows by file, relative to it.
        rejected: Rows that the target cannot take, by reason; `rejects.jsonl` names each.
        notes: What a person should know before the files are used, a sentence each.
        page: The page that says how to use them, relative to the folder.
        address: Where the hub has it; None where it was not pushed.
    """

    folder: Path
    rows: Mapping[str, int]
    rejected: Mapping[str, int]
    notes: tuple[str, ...]
    page: str
    address: str | None = None


class Push(NamedTuple):
    """A data set of the hub that the export goes to."""

    repo_id: str
    private: bool = True


def export_run(
    config: RunConfig, target: str, *, output: Path | None = None, test: bool = False, push: Push | None = None
) -> Export:
    """Write a run's training and validation rows in the format of a target.

    Args:
        config: A run that has reached its splits.
        target: A name of `targets.registry`, or `trl`.
        output: Where to; None for `export/TARGET` in the run's folder.
        test: Write the test split too. Whoever trains on it has nothing left to be judged on.
        push: Where on the hub it goes; of TRL's layout alone.

    Raises:
        ConfigError: There is no such target, it is not one that is pushed, or the folder holds something else.
        InputError: The run has not reached its splits, the target takes none of its rows, or the hub refuses.
    """
    found = find_target(target)
    if push is not None and found is not None:
        raise ConfigError(
            f"export: the hub gets the data set in TRL's layout, not that of '{target}'; use --for {TRL}."
        )
    folder = output if output is not None else config.run_dir / FOLDER / target
    _check_folder(folder)
    make_folder(folder)
    remove_temporary(folder)
    wanted = (*_TRAINED_ON, "test") if test else _TRAINED_ON
    if found is not None:
        made = _written(config, found, folder, wanted)
        push_there(folder)
        return made
    written = write_dataset(config, folder, wanted)
    if not any(written.rows.values()):
        raise InputError(_nothing(TRL, folder, written.left_out))
    push_there(folder)
    address = None if push is None else push_dataset(folder, push.repo_id, private=push.private)
    return Export(folder, written.rows, written.left_out, (), CARD, address)


def _check_folder(folder: Path) -> None:
    """Nothing of somebody's own is written over."""
    if (folder / README).exists() and not (folder / REJECTS).exists():
        raise ConfigError(f"export: {folder} holds a {README} of something else; choose another folder to write to.")


def _written(config: RunConfig, target: Target, folder: Path, wanted: tuple[str, ...]) -> Export:
    lines = write_lines(config.run_dir, folder, target, read_splits(config.run_dir), wanted)
    if not lines.rows:
        raise InputError(_nothing(target.title, folder, lines.rejected))
    written = Written(config.name, dict(sorted(lines.rows.items())))
    for name, text in target.companions(written).items():
        write_text(folder / name, text)
    write_text(folder / README, page(target, written, lines))
    return Export(folder, written.rows, lines.rejected, tuple(notes_of(target, written, lines)), README)


def _nothing(title: str, folder: Path, rejected: Mapping[str, int]) -> str:
    if not rejected:
        return f"export: the run has no rows in these splits that {title} takes."
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(rejected.items()))
    total = sum(rejected.values())
    return f"export: {title} takes none of {total:,} rows ({reasons}); {folder / REJECTS} says why of each."
