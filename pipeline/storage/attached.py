"""Which of this process's run folders stand for a run at an address, and what is asked of it then.

Whoever reads or publishes below a folder asks here; of a run that lies in a folder nothing happens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from .manifests import Manifest

# How deep files lie below a run's folder, at most: stage, folder of a model, and folders in it.
_DEEPEST: Final = 6


class Attached(Protocol):
    """A run at an address, whose working folder is here.

    Attributes:
        shown: The address, without secrets.
        runs: The address of the folder of runs, as it was given.
    """

    shown: str
    runs: str

    def push(self, folder: str, source: Path, names: Sequence[str]) -> None:
        """Upload files under their own names."""

    def push_folder(self, name: str) -> None:
        """Upload a folder of the working folder, in place of what lies there."""

    def activity(self) -> tuple[str, bool]:
        """What the run's process says that it does, as JSON, and whether it is alive."""

    def bring(self, inner: str) -> None:
        """Fetch a stage's file or folder where it is not here, by its path in the working folder."""

    def holds(self, inner: str) -> bool:
        """Whether a stage's file is there to be fetched."""

    def publish(self, stage: str, folder: Path, manifest: "Manifest") -> None:
        """Upload a stage's files from a folder, then its manifest."""

    def set_aside(self, name: str) -> bool:
        """Put what lies there beside the stages under another name; whether there was anything."""

    def forget_aside(self, name: str) -> None:
        """Delete what was put aside."""

    def check_held(self) -> None:
        """Raise BusyError where this process has lost the run to another."""


_attached: dict[Path, Attached] = {}


def attach(folder: Path, run: Attached) -> None:
    """Let a working folder stand for a run at an address."""
    _attached[folder] = run


def attached(folder: Path) -> Attached | None:
    """The run at an address that a folder stands for; None where it is a run's folder itself."""
    return _attached.get(folder)


def shown_place(folder: Path) -> str:
    """A run's folder as a person knows it: the address that it stands for, else its path."""
    run = attached(folder)
    return str(folder) if run is None else run.shown


def bring(path: Path) -> None:
    """Fetch a file or folder of a finished stage where it is not here, and lies at the run's address.

    Raises:
        PipelineError: It cannot be fetched, or is not what its stage wrote.
    """
    found = _below(path)
    if found is not None:
        found[0].bring(found[1])


def lies_there(path: Path) -> bool:
    """Whether a file that is not here lies at the run's address."""
    found = _below(path)
    return found is not None and found[0].holds(found[1])


def publish_there(stage_dir: Path, folder: Path, manifest: "Manifest") -> None:
    """Upload what a stage has just made, where its run lies at an address.

    Args:
        stage_dir: The stage's folder.
        folder: Where its files lie now.
        manifest: What is published of it.
    """
    run = attached(stage_dir.parent)
    if run is not None:
        run.publish(stage_dir.name, folder, manifest)


def push_there(path: Path) -> None:
    """Upload a file or a folder that lies beside the stages, where the run lies at an address."""
    run = next((_attached[folder] for folder in path.parents if folder in _attached), None) if _attached else None
    if run is None:
        return
    if path.is_dir():
        run.push_folder(path.relative_to(_folder_of(run)).as_posix())
    else:
        run.push("", path.parent, [path.name])


def set_aside_there(path: Path) -> bool:
    """Put what lies beside the stages aside at the run's address as well; whether anything lay there."""
    run = attached(path.parent)
    return run is not None and run.set_aside(path.name)


def forget_aside_there(path: Path) -> None:
    """Delete what was put aside at the run's address."""
    run = attached(path.parent)
    if run is not None:
        run.forget_aside(path.name)


def check_held(folder: Path) -> None:
    """Stop where the run at an address that a folder stands for was lost to another process.

    Raises:
        BusyError: It was.
    """
    run = attached(folder)
    if run is not None:
        run.check_held()


def _folder_of(run: Attached) -> Path:
    return next(folder for folder, other in _attached.items() if other is run)


def _below(path: Path) -> tuple[Attached, str] | None:
    if not _attached:
        return None
    for folder in [*path.parents][:_DEEPEST]:
        if folder in _attached:
            return _attached[folder], path.relative_to(folder).as_posix()
    return None
