"""Work made ahead in threads and in processes: the order of the work, little in flight, and errors as they are."""

import subprocess
import sys
import threading
import time

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
