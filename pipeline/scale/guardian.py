"""A small process that outlives a command's end, and ends what the command's own Ray cluster left behind.

Ray's servers end with the process that started them, but its agents look for a server that is gone for minutes, and
its folder stays. Whatever ends the command, even kill -9, closes the pipe that this process reads. What belongs to the
cluster is known by its logs, which Ray keeps open in the cluster's folder. Where Ray's servers end first, Ray ends the
command without a word that its user would understand, and without an error that Python could tell: this process tells
it. Nothing but Python's own library is imported, so that this takes some megabytes.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 0.05
# A command that is killed takes its servers with it, at the same time; one that loses them goes on for longer.
_TOGETHER_SECONDS = 0.3
_ENDED = b"."
_SERVERS = ("raylet", "gcs_server")
_LOST = (
    "error: Ray's own processes on this machine have ended, and Ray has ended this command with them: something killed "
    "them, or memory ran out. What was finished is kept: run the command again.\n"
)


class Guardian:
    """The process, from the side of the command that it watches."""

    def __init__(self, folder: Path) -> None:
        """Start it.

        Args:
            folder: The cluster's, which is deleted at the end.
        """
        self.command = os.getpid()
        self._folder = folder
        arguments = [sys.executable, "-I", "-S", str(Path(__file__)), str(folder), str(self.command)]
        # A session of its own: Ctrl-C in a terminal ends the command, and this after it.
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, start_new_session=True)

    def started(self) -> None:
        """Have it look at the cluster's servers, which run by now."""
        self._tell(b" ".join(b"%d" % server for server in servers(self._folder, self.command)) + b"\n")

    def ending(self) -> None:
        """Tell it that the servers end now since the command has them end."""
        self._tell(_ENDED)

    def close(self) -> None:
        """Have it clear up, and wait until it has."""
        self._process.communicate()

    def _tell(self, said: bytes) -> None:
        assert self._process.stdin is not None
        # It may have been killed itself.
        with suppress(BrokenPipeError):
            self._process.stdin.write(said)
            self._process.stdin.flush()


def watch(folder: Path, command: int) -> None:
    """Wait for the end of the input, then end the processes of a cluster, and delete its folder.

    Args:
        folder: The cluster's.
        command: The process that is watched, which goes on where it has ended the cluster itself.
    """
    told = sys.stdin.buffer
    started = told.readline()
    lost = _are_lost([int(word) for word in started.split() if word.isdigit()])
    if _ENDED not in started + told.read() and lost:
        sys.stderr.write(_LOST)
        sys.stderr.flush()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := members(folder, command)) and time.monotonic() < deadline:
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(_PAUSE_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def servers(folder: Path, command: int) -> list[int]:
    """Those of a cluster's processes that it cannot go on without; the arguments are those of `members`."""
    return [process for process in members(folder, command) if _name(process) in _SERVERS]


def _are_lost(servers: list[int]) -> bool:
    """Whether one of these processes ends while the input goes on; returns once one has, or the input ends."""
    events = select.poll()
    events.register(sys.stdin, select.POLLIN)
    gone = False
    for server in servers:
        try:
            events.register(os.pidfd_open(server), select.POLLIN)
        except OSError:
            gone = True
    ended = [] if gone else [handle for handle, _ in events.poll()]
    return sys.stdin.fileno() not in ended and not select.select([sys.stdin], [], [], _TOGETHER_SECONDS)[0]


def _name(process: int) -> str:
    try:
        return (Path("/proc") / str(process) / "comm").read_text().strip()
    except OSError:
        return ""


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
