"""A small process that outlives a command's end, and ends what the command's own Ray cluster left behind.

Ray's servers end with the process that started them, but its agents look for a server that is gone for minutes, and
its folder stays. Whatever ends the command, even kill -9, closes the pipe that this process reads. What belongs to the
cluster is known by its logs, which Ray keeps open in the cluster's folder. Nothing but Python's own library is
imported, so that this takes some megabytes.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 0.05


class Guardian:
    """The process, from the side of the command that it watches."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Args:
            folder: The cluster's, which is deleted at the end.
        """
        self.command = os.getpid()
        arguments = [sys.executable, "-I", "-S", str(Path(__file__)), str(folder), str(self.command)]
        # A session of its own: Ctrl-C in a terminal ends the command, and this after it.
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """Have it clear up, and wait until it has."""
        self._process.communicate()


def watch(folder: Path, command: int) -> None:
    """Wait for the end of the input, then end the processes of a cluster, and delete its folder.

    Args:
        folder: The cluster's.
        command: The process that is watched, which goes on where it has ended the cluster itself.
    """
    sys.stdin.buffer.read()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := members(folder, command)) and time.monotonic() < deadline:
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(_PAUSE_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def members(folder: Path, command: int) -> list[int]:
    """Processes of the cluster in a folder: those that have a file in it open.

    Args:
        folder: The cluster's.
        command: The process that uses it, which is none of them.
    """
    inside = f"{folder.resolve()}{os.sep}"
    others = (int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit())
    return [process for process in others if process != command and inside in _opened(process, len(inside))]


def _opened(process: int, length: int) -> Iterator[str]:
    """The first characters of the path of each file that a process has open."""
    try:
        links = list((Path("/proc") / str(process) / "fd").iterdir())
    except OSError:
        # It has ended, or belongs to somebody else.
        return
    for link in links:
        try:
            yield str(link.readlink())[:length]
        except OSError:
            # Closed meanwhile.
            continue


if __name__ == "__main__":
    watch(Path(sys.argv[1]), int(sys.argv[2]))
