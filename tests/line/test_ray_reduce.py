"""Tables made by tasks of a Ray cluster are the bytes of one machine, also where a task's process is killed."""

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.benchmarks.feedback_log import feedback_lines
from tests.ray_tasks import Cut, cut
from tests.unit.line.test_together import STAGES, configured, left
from thumbline.pipeline import line
from thumbline.pipeline.context import BatchSizes
from thumbline.pipeline.scale.tasks import RaySpread

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'thumbline[ray]'"),
]
SIZES = BatchSizes(part_rows=150, row_group_rows=100, pass_bytes=1 << 16, process_bytes=1)
EVENTS = {"unit_bytes": 1 << 16, "partition_bytes": 1 << 17, "workers": None}
WHOLE_LOG = {"responses": {"reliability": "one_label", "one_label_votes": 2, "half_life_days": 30.0}}


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"".join(feedback_lines(300)))
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, log) -> Iterator[RaySpread]:
    """Three tasks at a time."""
    place = tmp_path_factory.mktemp("ray")
    config = configured(place, log, scale={"runner": "ray", "workers": 3, "shuffle": str(place / "shuffle")})
    with RaySpread(config) as spread:
        yield spread


class Watched:
    """A cluster whose tasks are counted; the process of the second of a kind is killed once where that is asked for."""

    is_cluster, engines = True, None

    def __init__(self, spread: RaySpread, marks: Path | None = None) -> None:
        self.spread, self.marks, self.done = spread, marks, Counter()

    @property
    def workers(self) -> int:
        return self.spread.workers

    def place(self, folder: Path) -> Path:
        return self.spread.place(folder)

    def map(self, function, items, most):
        name = function.__name__
        marks = {1: self.marks / name} if self.marks is not None else {}
        cuts = (Cut(function, item, marks.get(number)) for number, item in enumerate(items))
        for result in self.spread.map(cut, cuts, most):
            self.done[name] += 1
            yield result


def run_over(config, spread) -> dict:
    done = list(line.run(config, line.select(None, "splits"), sizes=SIZES, spread=spread))
    assert [entry.action for entry in done] == ["ran"] * len(STAGES)
    return left(config)


@pytest.mark.parametrize(
    "sections", [{}, WHOLE_LOG, {"pairs": {"group_prompts": "normalised"}, "splits": {"near_duplicates": True}}]
)
def test_three_workers_and_one_give_the_bytes_of_one_machine(cluster, tmp_path, log, sections):
    here = configured(tmp_path / "here", log, events=EVENTS | {"workers": 2}, **sections)
    there = configured(tmp_path / "there", log, events=EVENTS, **sections)
    one = configured(tmp_path / "one", log, events=EVENTS | {"workers": 1}, **sections)
    spread, single = Watched(cluster), Watched(cluster)
    made = run_over(there, spread)
    assert made == run_over(here, None) == run_over(one, single)
    assert spread.done["make_tables"] > 3
    assert bool(spread.done["find_facts"]) == (sections == WHOLE_LOG)
    # One at a time is not worth files between processes.
    assert "make_tables" not in single.done


def test_a_task_that_is_killed_while_it_writes_is_done_again(cluster, tmp_path, log):
    here, there = (configured(tmp_path / name, log, events=EVENTS, **WHOLE_LOG) for name in ("here", "there"))
    spread = Watched(cluster, tmp_path)
    assert run_over(there, spread) == run_over(here, None)
    for name in ("find_facts", "make_tables"):
        assert (tmp_path / name).exists() and spread.done[name] > 3
    assert not list(spread.place(tmp_path).iterdir())


def test_stages_by_themselves_have_no_such_tasks(cluster, tmp_path, log):
    here, there = (configured(tmp_path / name, log, events=EVENTS) for name in ("here", "there"))
    spread = Watched(cluster)
    for name in STAGES:
        list(line.run(there, line.select(name, name), sizes=SIZES, spread=spread))
    assert left(there) == run_over(here, None)
    assert set(spread.done) == {"write_task"}
