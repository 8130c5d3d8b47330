"""Rounds side by side: the models of all rounds on the same held-out rows, on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..evaluation.compare import compare, training_logs
from ..evaluation.outcome import Choices, write_outcome

if TYPE_CHECKING:
    from ..report import Summary

# Folder beside the round's stages that holds the page.
PAGE_FOLDER: Final = "rounds"


def write_rounds(runs: list[Path], command: str) -> "Summary":
    """Compare the rounds' models, write the page into the last one's folder, and return it in short.

    Args:
        runs: Folders of the runs, the first one first; at least two.
        command: The command line, for the page.

    Raises:
        InputError: They were not evaluated on the same rows.
    """
    locations = [str(run) for run in runs]
    done = compare(locations, Choices(), ())
    logs = training_logs(locations)
    return write_outcome(done, runs[-1] / PAGE_FOLDER, command, title="thumbline rounds", training_logs=logs)
