"""How a command ends that is stopped from outside: by Ctrl-C, or by SIGTERM from a job queue or a container."""

import signal
from types import FrameType
from typing import Final

from .terminal import err

# Whose work is kept step by step; the others have nothing to go on with.
_RESUMING: Final = frozenset({"run", "prepare", "train", "sweep", "compare-methods", "annotation-curve", "next-round"})
_STORING: Final = frozenset({"reference", "evaluate"})


class Terminated(KeyboardInterrupt):
    """SIGTERM: whatever is open is closed as after Ctrl-C."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def heed_termination() -> None:
    """Let SIGTERM end this process as Ctrl-C does: what is open is closed, and workers end too."""
    signal.signal(signal.SIGTERM, _terminate)


def stop_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The stop that a library, stopped in the middle, made another error of; None where there was none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def exit_code(stopped: KeyboardInterrupt) -> int:
    """128 and the signal's number, as shells say it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(stopped, Terminated) else signal.SIGINT)


def tell_stopped(stopped: KeyboardInterrupt, command: str | None = None) -> int:
    """Say what is kept of the work; gives the exit code.

    Args:
        stopped: What ended it.
        command: Which command it was; None where none had begun.
    """
    what = "Terminated." if isinstance(stopped, Terminated) else "Interrupted."
    if command in _RESUMING:
        what += " Finished stages are kept; the same command resumes."
    elif command in _STORING:
        what += " What has been scored is kept; the same command goes on from there."
    err.print(what, soft_wrap=True)
    return exit_code(stopped)
