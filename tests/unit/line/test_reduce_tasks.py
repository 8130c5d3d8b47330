"""Tables that tasks of a cluster make are those of one machine, to the byte; here a cluster is this process."""

import pickle
from dataclasses import replace

import polars as pl
import pytest

from tests.benchmarks.feedback_log import feedback_lines
from tests.unit.line.test_together import SIZES, STAGES, configured, left, write_popular
from thumbline.pipeline import line
from thumbline.pipeline.context import BatchSizes
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.line.reduce_tasks import find_facts, make_tables
from thumbline.pipeline.stages import pairs, responses
from thumbline.pipeline.storage.frames import read_frames
from thumbline.pipeline.tables import TABLES
from thumbline.pipeline.workers import LocalSpread

# Of a log of some hundred rows: several tasks, and some of their buckets in several passes.
SHARED = BatchSizes(part_rows=150, row_group_rows=100, read_bytes=1 << 16, pass_bytes=1 << 16, process_bytes=1)
EVENTS = {"unit_bytes": 1 << 16, "partition_bytes": 1 << 17, "workers": 3}
OF_TABLES = (find_facts, make_tables)


class Cluster(LocalSpread):
    """Tasks in this process, on what a pickle holds of their items; each is done twice, as after a lost worker."""

    is_cluster = True

    def __init__(self):
        self.done, self.files, self.most_files = [], 0, 0

    def map(self, function, items, most):
        for item in items:
            sent = pickle.dumps(item)
            assert len(sent) < 100_000
            first = function(pickle.loads(sent))
            if function in OF_TABLES:
                before = [tables_of(file) for file in first]
                assert function(pickle.loads(sent)) == first
                assert all(map(equal, before, map(tables_of, first)))
                lying = list(first[0].path.parent.glob(f"*{first[0].path.suffix}"))
                self.files += len(first)
                self.most_files = max(self.most_files, len(lying))
            self.done.append(function)
            yield first


def tables_of(file) -> dict[str, pl.DataFrame]:
    """Those that become rows; what is counted or summed comes in any order."""
    return {name: frame for name, frame in read_frames(file).items() if name in TABLES}


def equal(one, other) -> bool:
    return list(one) == list(other) and all(one[name].equals(other[name]) for name in one)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"".join(feedback_lines(300)))
    return path


def run_over(config, spread, sizes=SHARED):
    return list(line.run(config, line.select(None, "splits"), sizes=sizes, spread=spread))


@pytest.mark.parametrize(
    ("sections", "functions"),
    [
        ({}, {make_tables}),
        (
            {
                "responses": {
                    "reliability": "one_label",
                    "one_label_votes": 2,
                    "half_life_days": 30.0,
                    "exposure": "position",
                }
            },
            {find_facts, make_tables},
        ),
        ({"pairs": {"group_prompts": "normalised"}, "splits": {"group_by": "prompt"}}, {make_tables}),
        (
            {
                "pairs": {"weights": "margin"},
                "splits": {"near_duplicates": True, "group_by": "prompt_conversation_and_user", "method": "time"},
            },
            {make_tables},
        ),
    ],
)
def test_tables_are_those_of_one_machine(tmp_path, log, sections, functions):
    here, there = (configured(tmp_path / name, log, events=EVENTS, **sections) for name in ("here", "there"))
    run_over(here, None, SIZES)
    cluster = Cluster()
    assert [done.action for done in run_over(there, cluster)] == ["ran"] * len(STAGES)
    assert left(there) == left(here)
    made = [function for function in cluster.done if function is make_tables]
    assert len(made) > 2 and functions <= set(cluster.done)
    assert find_facts in functions or find_facts not in cluster.done
    # A file is deleted once it is read, a few tasks later.
    assert cluster.most_files < cluster.files


def test_a_prompt_that_comes_in_several_parts_is_one_task_s(tmp_path):
    log = write_popular(tmp_path / "log.jsonl")
    here, there = (configured(tmp_path / name, log, events=EVENTS) for name in ("here", "there"))
    run_over(here, None, replace(SHARED, pass_bytes=1 << 30))
    cluster = Cluster()
    run_over(there, cluster, replace(SHARED, pass_bytes=1 << 13))
    assert left(there) == left(here)
    assert cluster.done.count(make_tables) > 1


def test_a_stage_by_itself_and_a_log_worth_one_task_need_no_tasks(tmp_path, log):
    alone, small = (configured(tmp_path / name, log, events=EVENTS) for name in ("alone", "small"))
    cluster = Cluster()
    for name in STAGES:
        list(line.run(alone, line.select(name, name), sizes=SHARED, spread=cluster))
    run_over(small, cluster, SIZES)
    assert make_tables not in cluster.done
    assert left(alone) == left(small)


def test_an_error_in_a_task_keeps_the_stages_before_it(tmp_path, log, monkeypatch):
    def failing(*_):
        raise PipelineError("pairs: this cannot be")

    here, there = (configured(tmp_path / name, log, events=EVENTS) for name in ("here", "there"))
    monkeypatch.setattr(pairs.Work, "made", failing)
    for config, spread in ((here, None), (there, Cluster())):
        with pytest.raises(PipelineError, match="pairs: this cannot be"):
            run_over(config, spread)
    assert left(there) == left(here)
    assert (there.run_dir / "unpaired" / "manifest.json").is_file()


def test_what_ends_in_the_middle_leaves_no_file(tmp_path, log, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    config = configured(tmp_path, log, events=EVENTS)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(responses.Work, "passed", killed)
        run_over(config, Cluster())
    assert not list(config.run_dir.rglob("*.tables")) and not list(config.run_dir.rglob(".buckets-*"))
