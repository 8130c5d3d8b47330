"""Stages made in one pass leave what they leave when each runs by itself, to the byte, whatever happens in between."""

import json
from dataclasses import replace

import polars as pl
import pytest

from tests.benchmarks.feedback_log import feedback_lines
from thumbline.pipeline import line
from thumbline.pipeline.config import build_config
from thumbline.pipeline.context import BatchSizes
from thumbline.pipeline.errors import InputError, PipelineError
from thumbline.pipeline.stages import pairs, responses

STAGES = ("events", "responses", "unpaired", "pairs", "splits")
# Several buckets, passes, parts and row groups of a small log.
SIZES = BatchSizes(part_rows=150, row_group_rows=100, read_bytes=1 << 18, pass_bytes=1 << 17)
EVENTS = {"unit_bytes": 1 << 18, "partition_bytes": 1 << 18, "workers": 1}
# What a clock says.
CLOCKED = ("check", "seconds", "finished_at")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"".join(feedback_lines(700)))
    return path


def configured(folder, log, **sections):
    document = {"name": "run", "runs": str(folder), "model": "none", "events": EVENTS | {"inputs": [str(log)]}}
    for name, section in sections.items():
        document[name] = document.get(name, {}) | section
    return build_config(document, origin="test")


def left(config):
    """Every file of the stages' folders: its bytes, of a manifest all but what a clock says."""
    found = {}
    for path in sorted(config.run_dir.rglob("*/*")):
        name = path.relative_to(config.run_dir).as_posix()
        found[name] = path.read_bytes()
        if path.name == "manifest.json":
            document = json.loads(found[name])
            found[name] = {key: value for key, value in document.items() if key not in CLOCKED}
    return found


def one_by_one(config):
    return [done for name in STAGES for done in line.run(config, line.select(name, name), sizes=SIZES)]


def at_once(config, until="splits", forced=False, sizes=SIZES):
    return list(line.run(config, line.select(None, until), sizes=sizes, forced=forced))


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"responses": {"reliability": "one_label", "one_label_votes": 2, "half_life_days": 30.0}},
        {"pairs": {"group_prompts": "normalised"}, "splits": {"group_by": "prompt"}},
        {"pairs": {"weights": "margin"}, "splits": {"group_by": "prompt_conversation_and_user", "method": "time"}},
    ],
)
def test_one_pass_gives_the_bytes_of_stage_by_stage(tmp_path, log, sections):
    alone, together = (configured(tmp_path / name, log, **sections) for name in ("alone", "together"))
    one_by_one(alone)
    done = at_once(together)
    assert [(entry.stage.name, entry.action) for entry in done] == [(name, "ran") for name in STAGES]
    assert left(together) == left(alone)
    assert [entry.action for entry in at_once(together)] == ["skipped"] * len(STAGES)


def write_popular(path):
    """A log of which three prompts hold most events: spelled in several ways, answered alike by several models."""
    rows = []
    for number in range(900):
        asked = ("Say hello.", "Say  hello.", "What is new?", "Compare these.", f"Rare {number // 3}")[number % 5]
        user, answer = f"u{number * 7 % 60}", f"Answer {number * 13 % 170} in {number % 3} words or more of them."
        row = {"prompt": asked, "response": answer, "user_id": user, "model": f"m{number % 2}"}
        row |= {"timestamp": f"2026-01-{1 + number % 28:02d}T00:00:00Z", "conversation_id": f"c{number // 4}"}
        rows.append(row | {"feedback": ("thumbs_up", "thumbs_down", "thumbs_up", None)[number * 11 % 4]})
        if asked == "Compare these.":
            chosen = {"comparison_id": f"k{number}", "feedback": "chosen"}
            rows += [row | chosen, row | chosen | {"response": f"Worse {number % 40}", "feedback": "rejected"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def popular(tmp_path_factory):
    return write_popular(tmp_path_factory.mktemp("popular") / "log.jsonl")


@pytest.mark.parametrize("pass_bytes", [1 << 14, 1 << 17])
@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"pairs": {"strategy": "all_above_margin", "same_model": True, "max_per_prompt": 3, "opposite_labels": False}},
        {"splits": {"group_by": "prompt_conversation_and_user"}, "responses": {"min_confidence": 0.5}},
        {"splits": {"near_duplicates": True}},
        {"responses": {"reliability": "one_label", "one_label_votes": 2, "half_life_days": 30.0}},
    ],
)
def test_a_prompt_that_comes_in_several_parts_gives_what_it_gives_whole(tmp_path, popular, sections, pass_bytes):
    alone, together = (configured(tmp_path / name, popular, **sections) for name in ("alone", "together"))
    one_by_one(alone)
    at_once(together, sizes=replace(SIZES, pass_bytes=pass_bytes))
    assert left(together) == left(alone)
    held = pl.read_parquet(together.run_dir / "pairs" / "pairs.parquet")["prompt_id"].value_counts()
    assert held["count"].max() > 1 or "pairs" not in sections


def test_the_pass_ends_where_the_run_is_to_end(tmp_path, log):
    config = configured(tmp_path, log)
    assert [done.stage.name for done in at_once(config, until="unpaired")] == list(STAGES[:3])
    assert {path.name for path in config.run_dir.iterdir() if path.is_dir()} == set(STAGES[:3])
    # What is there by now is not made again.
    assert [done.action for done in at_once(config)] == ["skipped"] * 3 + ["ran"] * 2


def test_a_stage_that_is_up_to_date_is_kept_whatever_was_made_with_others(tmp_path, log):
    config = configured(tmp_path, log)
    at_once(config)
    before = left(config)
    (config.run_dir / "events" / "rejects.parquet").unlink()
    assert [done.action for done in at_once(config)] == ["ran"] + ["skipped"] * 4
    assert left(config) == before
    assert [done.action for done in at_once(config, forced=True)] == ["ran"] * 5
    assert left(config) == before


def test_an_error_in_the_middle_keeps_the_stages_before_it(tmp_path, log, monkeypatch):
    def failing(*_):
        raise PipelineError("pairs: this cannot be")

    alone, together = (configured(tmp_path / name, log) for name in ("alone", "together"))
    monkeypatch.setattr(pairs.Work, "made", failing)
    for config, way in ((alone, one_by_one), (together, at_once)):
        with pytest.raises(PipelineError, match="pairs: this cannot be"):
            way(config)
    assert left(together) == left(alone)
    assert (together.run_dir / "unpaired" / "manifest.json").is_file()


def test_what_splits_refuses_keeps_the_stages_before_it(tmp_path, log):
    alone, together = (configured(tmp_path / name, log, responses={"min_confidence": 0.99999}) for name in "ab")
    for config, way in ((alone, one_by_one), (together, at_once)):
        with pytest.raises(InputError, match="nothing to split"):
            way(config)
    assert left(together) == left(alone)


def test_a_log_that_is_refused_leaves_events_alone(tmp_path, log):
    config = configured(tmp_path, log, events={"most_rejected": 0.001})
    with pytest.raises(InputError, match="rows were rejected"):
        at_once(config)
    assert [path.name for path in config.run_dir.iterdir() if path.is_dir()] == ["events"]


def test_a_pass_that_ends_by_anything_else_leaves_nothing_half_made(tmp_path, log, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    config = configured(tmp_path, log)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(responses.Work, "passed", killed)
        at_once(config)
    assert not list(config.run_dir.rglob("*.parquet"))
    alone = configured(tmp_path / "alone", log)
    one_by_one(alone)
    at_once(config)
    assert left(config) == left(alone)
