"""Which of this process's run folders stand for a run at an address, and what is asked of it then.

Whoever reads or publishes below a folder asks here; of a run that lies in a folder nothing happens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from .uploads import Progress

if TYPE_CHECKING:
    from .manifests import Manifest

# How deep files lie below a run's folder, at most: stage, folder of a model, and folders in it.
_DEEPEST: Final = 6


class Source(NamedTuple):
    """Where a stage's folder lies at an address, for a machine that has no folder of the run.

    Attributes:
        address: Of the run, without secrets.
        stage: Whose folder it is.
        folder: Its name below the address.
        files: Digests of the files below it, by name.
    """

    address: str
    stage: str
    folder: str
    files: dict[str, str]


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

    def source(self, inner: str) -> Source | None:
        """Where a stage's folder lies at the address; None where none of that name was published."""

    def publish(self, stage: str, folder: Path, manifest: "Manifest") -> None:
        """Upload a stage's files from a folder, then its manifest."""

    def set_aside(self, name: str) -> bool:
        """Put what lies there beside the stages under another name; whether there was anything."""

    def forget_aside(self, name: str) -> None:
        """Delete what was put aside."""

    def keep_begun(self, folder: Path, step: int) -> None:
        """Upload what a stage has begun in its working folder."""

    def bring_begun(self, folder: Path, step: int) -> int | None:
        """Fetch what another machine has begun, where that is further; how far it was."""

    def report(self, progress: Progress) -> None:
        """Show large uploads by this from now on."""

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


def source_of(path: Path) -> Source | None:
    """Where a folder of a finished stage can be had by another machine; None where its run lies in a folder."""
    found = _below(path)
    return None if found is None else found[0].source(found[1])


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


def keep_begun(folder: Path, step: int) -> None:
    """Upload what a stage has begun, where its run lies at an address, so that another machine can go on from it.

    Not each call uploads: no more than a tenth of the time goes into it.

    Args:
        folder: The stage's working folder.
        step: How far it is.

    Raises:
        BusyError: The run was lost to another process.
    """
    run = attached(folder.parent)
    if run is not None:
        run.keep_begun(folder, step)


def bring_begun(folder: Path, step: int) -> int | None:
    """Fetch what another machine has begun of a stage, where its run lies at an address.

    Args:
        folder: The stage's working folder.
        step: How far what lies in it has come; -1 where nothing does.

    Returns:
        How far the other machine had come; None where what is here is as far, or further.

    Raises:
        PipelineError: The store refuses, or fails.
    """
    run = attached(folder.parent)
    return None if run is None else run.bring_begun(folder, step)


def report_there(folder: Path, progress: Progress) -> None:
    """Show large uploads of a run at an address by a bar.

    Args:
        folder: The run's working folder.
        progress: Opens the bar.
    """
    run = attached(folder)
    if run is not None:
        run.report(progress)


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
