"""One bit of a file of a finished run flipped: refused, made again or without effect, never another result."""

from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.flipped_runs import Finished, finished_run
from tests.benchmarks.flips import FAULTS, campaign, flip, given, restore
from tests.line.conftest import write_config, write_log
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.errors import TableError
from thumbline.pipeline.storage.manifests import MANIFEST

FLIPS = 40
# Those that train nothing: `python -m tests.benchmarks.flips` tries them all.
READERS = ("--from splits", "--from metrics", "evaluate", "export")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Finished:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THUMBLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield finished_run(tmp_path_factory.mktemp("flips"))


def test_flipped_bits_are_never_read_as_something_else(finished):
    found = list(campaign(finished, FLIPS, 1, READERS))
    assert [one for one in found if one.outcome in FAULTS] == []
    assert Counter(one.outcome for one in found)["refused"] > FLIPS // 8


@pytest.mark.parametrize(
    ("file", "command", "outcome"),
    [
        ("policy/policy.parquet", "--from metrics", "refused"),
        ("train/model/model.safetensors", "--from policy", "refused"),
        ("train/model/tokenizer.json", "--from policy", "refused"),
        ("pairs/pairs.parquet", "export", "refused"),
        ("metrics/scored_pairs.parquet", "evaluate", "refused"),
        ("config.yaml", "evaluate", "refused"),
        ("pairs/pairs.parquet", "run", "made again"),
        ("splits/manifest.json", "run", "made again"),
        ("config.yaml", "run", "without effect"),
    ],
)
def test_a_flip_is_refused_or_mended_by(finished, file, command, outcome):
    restore(finished)
    expected = given(finished, command)
    bit = (finished.whole / "run" / file).stat().st_size * 4
    assert flip(finished, f"run/{file}", bit, command, expected)[3:4] == (outcome,)


def test_a_flip_in_a_file_that_two_runs_share_is_seen_in_both(tmp_path):
    log = write_log(tmp_path / "log.jsonl", prompts=12)
    first, second = (load_config(write_config(tmp_path, log, Path("demo"), name=name)) for name in ("one", "two"))
    stages = line.select(None, "pairs")
    list(line.run(first, stages))
    assert {done.action for done in line.run(second, stages, source=first.run_dir)} == {"taken"}
    shared = first.run_dir / "events" / "events.parquet"
    data = bytearray(shared.read_bytes())
    data[len(data) // 2] ^= 1
    with shared.open("r+b") as file:
        file.write(data)
    for config in (first, second):
        assert line.plan(config, stages)[0].reason == "damaged events.parquet"
        with pytest.raises(TableError, match=r"events\.parquet: its bytes are not those that stage 'events' wrote"):
            list(line.run(config, line.select("responses", "responses"), forced=True))
    # It is not taken from a run whose own is damaged, and neither is a folder whose manifest is.
    third = load_config(write_config(tmp_path, log, Path("demo"), name="three"))
    assert next(line.run(third, stages, source=first.run_dir)).action == "ran"
    (second.run_dir / "events" / MANIFEST).write_text("{")
    assert line.plan(second, stages)[0].reason == "damaged manifest.json"
    assert next(line.run(second, stages)).action == "ran"
