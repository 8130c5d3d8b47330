"""Work made ahead in threads and in processes: the order of the work, little in flight, and errors as they are."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from thumbline.pipeline.errors import TableError
from thumbline.pipeline.workers import available_cores, map_in_processes, map_in_threads


def test_results_come_in_the_order_of_the_work():
    def slower_first(number):
        time.sleep(0.02 if number == 0 else 0)
        return number

    assert list(map_in_threads(slower_first, range(20))) == list(range(20))
    assert list(map_in_threads(slower_first, [])) == []
    assert list(map_in_processes(str, range(5), 1)) == [str(number) for number in range(5)]
    assert list(map_in_processes(str, range(9), 2)) == [str(number) for number in range(9)]


SCRIPT = """
import math
from thumbline.pipeline.workers import map_in_processes

print("started")
print(list(map_in_processes(math.sqrt, [1, 4, 9], 2)))
"""


def test_a_script_without_a_main_guard_is_not_run_again_in_each_process(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "started\n[1.0, 2.0, 3.0]\n", done.stderr


def test_only_a_few_are_taken_ahead_and_in_the_callers_thread():
    taken, threads = [], set()

    def items():
        for number in range(50):
            taken.append(number)
            threads.add(threading.current_thread())
            yield number

    results = map_in_threads(lambda number: number, items())
    assert next(results) == 0
    assert len(taken) <= available_cores() + 1
    assert list(results) == list(range(1, 50))
    assert threads == {threading.current_thread()}


def test_what_fails_in_a_thread_is_raised_in_its_place():
    def made(number):
        if number == 3:
            raise TableError("row 3")
        return number

    found = []
    with pytest.raises(TableError, match="row 3"):
        found.extend(map_in_threads(made, range(100)))
    assert found == [0, 1, 2]


SLEEPING = """
import time
from thumbline.pipeline.workers import map_in_processes

list(map_in_processes(time.sleep, [60.0] * 4, 2))
"""


def workers_of(pid: int) -> list[Path]:
    """Folders of /proc of the processes that a process started, Python's own helper among them."""
    children = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
    return [Path("/proc") / child for child in children]


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def has_ended(process: Path) -> bool:
    """Whether it is gone, or waits only for somebody to ask for its exit code."""
    try:
        return "(zombie)" in (process / "status").read_text()
    except OSError:
        return True


@pytest.mark.parametrize("settled", [0.1, 1.0])
@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGKILL, False), (signal.SIGINT, True), (signal.SIGINT, False)])
def test_workers_end_with_their_parent_and_say_nothing(tmp_path, number, to_all, settled):
    with (tmp_path / "said").open("w+") as said:
        command = [sys.executable, "-c", SLEEPING]
        parent = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        # Python's helper and two workers, which are still importing, or at work.
        wait_for(lambda: len(workers_of(parent.pid)) == 3)
        time.sleep(settled)
        workers = workers_of(parent.pid)
        (os.killpg if to_all else os.kill)(parent.pid, number)
        assert parent.wait(20) == -number
        wait_for(lambda: all(map(has_ended, workers)))
        said.seek(0)
        told = said.read()
    # What Python says of the parent itself, where it can.
    assert told.count("Traceback") == told.count("KeyboardInterrupt") == (number == signal.SIGINT)
    assert "_Process" not in told and "leaked" not in told
