"""What tests have Ray's workers do, who import it from here, and what they look at of a cluster's processes."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from thumbline.pipeline.errors import TableError
from thumbline.pipeline.scale.guardian import members


class Step(NamedTuple):
    """A task that writes a file."""

    number: int
    folder: Path
    kills: int = 0


def written(step: Step) -> Path:
    """Write the step's number to a file, having ended the process the first few times."""
    with (step.folder / f"{step.number}.begun").open("a") as begun:
        begun.write("x")
    if (step.folder / f"{step.number}.begun").stat().st_size <= step.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    # The first are the slowest.
    time.sleep(0.2 if step.number == 0 else 0.0)
    path = step.folder / f"{step.number}.txt"
    path.write_text(f"{step.number} on {os.environ['POLARS_MAX_THREADS']} thread")
    return path


def refused(number: int) -> int:
    if number == 3:
        raise TableError("row 3 is broken")
    return number


def slept(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def processes(folder: Path, name: str = "") -> list[int]:
    """Processes of the cluster in a folder whose command holds a name."""
    return [pid for pid in members(folder, os.getpid()) if name in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """The process that began one; 0 where it is gone."""
    try:
        # The name before it, in brackets, may hold anything.
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for somebody to ask for its exit code."""
    try:
        return "(zombie)" in (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return True


def wait_for(holds: Callable[[], bool], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert holds()


def listening(pids: list[int]) -> set[str]:
    """Addresses, in hexadecimal digits as the system has them, at which processes listen."""
    nodes = set()
    for pid in pids:
        for link in (Path("/proc") / str(pid) / "fd").iterdir():
            try:
                nodes.add(str(link.readlink()))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (Path("/proc/net") / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in nodes:
                found.add(fields[1].partition(":")[0])
    return found


def slowly_written(step: Step) -> Path:
    """As `written`, some seconds after its beginning has been noted."""
    with (step.folder / f"{step.number}.begun").open("a") as begun:
        begun.write("s")
    time.sleep(3.0)
    return written(step)


class Cut(NamedTuple):
    """A task of the pass, and the file that says that its process has been ended once; None: it is not."""

    function: Callable[[Any], Any]
    item: Any
    marker: Path | None


def cut(step: Cut) -> Any:
    """What the task gives, whose process is ended the first time once a part of its file is written."""
    if step.marker is not None and not step.marker.exists():
        step.marker.touch()
        whole = pl.DataFrame.write_ipc_stream

        def ending(frame: pl.DataFrame, file: Any, **options: Any) -> None:
            whole(frame, file, **options)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        pl.DataFrame.write_ipc_stream = ending
    return step.function(step.item)
