"""The store: nothing is scored twice, nothing broken or foreign is joined, and a killed run loses one shard."""

import logging
import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise

import polars as pl
import pytest

from pipeline.engines.base import Score
from pipeline.engines.store import LogpsStore, score_missing
from pipeline.engines.store import _set_aside as set_aside
from pipeline.errors import EngineError
from pipeline.tables import polars_schema, validate
from tests.engine_inputs import random_sequences, sequence, sequences_table

KEY = {"model": "m", "tokenizer": "t", "engine": "e"}
ROWS = 8


class FakeEngine:
    """Log-probs that, like a real engine's, depend in their last digits on what else is in the call."""

    route = "fake"

    def __init__(self, pause=0.0, short=False):
        self.calls = []
        self.closed = False
        self._pause = pause
        self._short = short

    def score(self, sequences):
        time.sleep(self._pause)
        self.calls.append([entry.sequence_id for entry in sequences])
        noise = len(sequences) * 1e-9 + sum(len(entry.prompt_token_ids) for entry in sequences) * 1e-12
        return [
            Score(
                entry.sequence_id,
                -float(sum(entry.completion_token_ids)) - noise * place,
                len(entry.completion_token_ids) - self._short,
            )
            for place, entry in enumerate(sequences)
        ]

    def close(self):
        self.closed = True


@pytest.fixture
def table():
    return sequences_table(random_sequences(100, 90))


@pytest.fixture
def store(tmp_path):
    return LogpsStore(tmp_path, KEY)


def fill(table, store, engine=None, shard_rows=ROWS):
    engine = engine or FakeEngine()
    return score_missing(table, store, lambda: engine, shard_rows, lambda count: None), engine


def never():
    raise AssertionError("the engine was opened")


def contents(store):
    return {path.name: path.read_bytes() for path in store.folder.iterdir()}


def test_every_sequence_is_scored_once(table, store):
    result, engine = fill(table, store)
    assert sorted(name for call in engine.calls for name in call) == sorted(table["sequence_id"])
    assert engine.closed
    assert (result.n_stored, result.n_scored) == (0, 100)
    assert result.n_tokens == table["prompt_token_count"].sum() + table["completion_token_count"].sum()
    expected = {name: -float(sum(ids)) for name, ids in table.select("sequence_id", "completion_token_ids").iter_rows()}
    assert dict(result.frame.select("sequence_id", "logps").iter_rows()) == pytest.approx(expected, abs=1e-4)
    assert result.frame["sequence_id"].is_sorted()
    validate("reference", result.frame)


def test_a_second_run_does_not_open_the_engine(table, store):
    first, _ = fill(table, store)
    second = score_missing(table, store, never, ROWS, lambda count: None)
    assert second.frame.equals(first.frame)
    assert (second.n_stored, second.n_scored, second.n_tokens) == (100, 0, 0)


def test_new_rows_are_scored_and_no_others(table, store):
    fill(table.head(90), store)
    result, engine = fill(table, store)
    assert {name for call in engine.calls for name in call} == set(table["sequence_id"].tail(10))
    assert (result.n_stored, result.n_scored) == (90, 10)


def test_only_the_sequences_asked_for_come_back(table, store):
    fill(table, store)
    part = table.sample(20, seed=1)
    result = score_missing(part, store, never, ROWS, lambda count: None)
    assert sorted(result.frame["sequence_id"]) == sorted(part["sequence_id"])
    assert store.load(table["sequence_id"].head(3)).height == 3


def test_a_repeated_sequence_counts_once(table, store):
    result, engine = fill(pl.concat([table, table.head(30)]), store)
    assert sum(len(call) for call in engine.calls) == result.frame.height == 100


def test_no_sequences_are_no_work(store):
    empty = pl.DataFrame(schema=polars_schema("sequences"))
    result = score_missing(empty, store, never, ROWS, lambda count: None)
    assert (result.frame.height, result.n_scored) == (0, 0)


def test_completions_of_a_prompt_are_adjacent_and_long_prompts_come_first(store):
    entries = random_sequences(60, 90)
    random.Random(1).shuffle(entries)
    _, engine = fill(sequences_table(entries), store, shard_rows=1000)
    by_name = {entry.sequence_id: entry.prompt_token_ids for entry in entries}
    prompts = [by_name[name] for name in engine.calls[0]]
    changes = sum(one != other for one, other in pairwise(prompts))
    assert changes == len(set(prompts)) - 1
    assert [len(prompt) for prompt in prompts] == sorted(map(len, prompts), reverse=True)


def test_the_order_of_the_table_changes_nothing(table, tmp_path):
    one, other = LogpsStore(tmp_path / "one", KEY), LogpsStore(tmp_path / "other", KEY)
    fill(table, one)
    fill(table.sample(fraction=1.0, shuffle=True, seed=3), other)
    assert contents(one) == contents(other)


def test_progress_adds_up(table, store):
    fill(table.head(33), store)
    steps = []
    score_missing(table, store, FakeEngine, ROWS, steps.append)
    assert steps[0] == 33
    assert sum(steps) == 100


@pytest.mark.parametrize("part", KEY)
def test_another_key_is_another_store(table, store, tmp_path, part):
    fill(table, store)
    other = LogpsStore(tmp_path, KEY | {part: "another"})
    assert other.load(table["sequence_id"]).height == 0
    _, engine = fill(table, other)
    assert sum(len(call) for call in engine.calls) == 100


def flip(data):
    data[len(data) // 2] ^= 0xFF
    return data


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "not parquet": lambda data: b"x" * len(data),
    "a byte flipped": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_named_set_aside_and_scored_again(table, store, damage, caplog):
    whole, _ = fill(table, store)
    before = contents(store)
    victim = sorted(store.folder.iterdir())[3]
    victim.write_bytes(DAMAGES[damage](bytearray(victim.read_bytes())))
    with caplog.at_level(logging.WARNING):
        again, engine = fill(table, store)
    assert [len(call) for call in engine.calls] == [ROWS]
    assert again.frame.equals(whole.frame)
    assert len(caplog.records) == 1
    assert str(victim) in caplog.text
    assert victim.with_suffix(".bad").is_file()
    victim.with_suffix(".bad").unlink()
    assert contents(store) == before


def test_no_flipped_byte_gets_through(store):
    table = sequences_table(random_sequences(4, 90))
    whole, _ = fill(table, store)
    (shard,) = store.folder.glob("*.parquet")
    data = shard.read_bytes()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        shard.write_bytes(damaged)
        # Either the shard is refused, or the byte carried nothing (a name of the writer, statistics).
        found = store.load(table["sequence_id"])
        assert found.height == 0 or found.sort("sequence_id").equals(whole.frame), place


def test_a_shard_of_another_model_is_never_joined(table, store, tmp_path, caplog):
    other = LogpsStore(tmp_path, KEY | {"model": "another"})
    fill(table, other)
    store.folder.mkdir()
    for path in other.folder.iterdir():
        path.rename(store.folder / path.name)
    result, engine = fill(table, store)
    assert result.n_stored == 0
    assert sum(len(call) for call in engine.calls) == 100
    assert "belongs to another model or engine" in caplog.text


def test_a_shard_that_says_how_it_was_made(table, store):
    fill(table, store)
    metadata = pl.read_parquet_metadata(next(store.folder.glob("*.parquet")))
    assert metadata["thumbline.route"] == "fake"
    assert metadata["thumbline.key.model"] == "m"


def test_a_short_score_is_refused_and_not_stored(table, store):
    engine = FakeEngine(short=True)
    with pytest.raises(EngineError, match=r"8 of 8 scores are not of all completion tokens"):
        fill(table, store, engine)
    assert engine.closed
    assert not store.folder.exists()


def _fill_slowly(root, rows):
    fill(sequences_table(random_sequences(rows, 90)), LogpsStore(root, KEY), FakeEngine(pause=0.02))


def _start(*arguments):
    process = multiprocessing.get_context("spawn").Process(target=_fill_slowly, args=arguments)
    process.start()
    return process


@pytest.mark.parametrize("shards", [1, 4, 9])
def test_a_killed_run_repeats_only_what_it_had_not_finished(table, tmp_path, shards):
    whole, store = LogpsStore(tmp_path / "whole", KEY), LogpsStore(tmp_path / "killed", KEY)
    fill(table, whole)
    process = _start(store.root, 100)
    deadline = time.monotonic() + 60
    while len(list(store.folder.glob("*.parquet"))) < shards and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = len(list(store.folder.glob("*.parquet")))
    assert done >= shards
    result, engine = fill(table, store)
    assert result.n_stored == min(done * ROWS, 100)
    assert result.n_stored + sum(len(call) for call in engine.calls) == 100
    finished = {name: data for name, data in contents(store).items() if name.endswith(".parquet")}
    assert finished == contents(whole)


def test_two_processes_share_a_store(table, tmp_path):
    whole, store = LogpsStore(tmp_path / "whole", KEY), LogpsStore(tmp_path / "shared", KEY)
    fill(table, whole)
    processes = [_start(store.root, 100), _start(store.root, 100)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert contents(store) == contents(whole)


def test_a_shard_set_aside_by_another_process_is_no_error(table, store, monkeypatch):
    fill(table, store)
    victim = sorted(store.folder.iterdir())[0]
    victim.write_bytes(b"x")
    monkeypatch.setattr("pipeline.engines.store._set_aside", lambda path: (path.unlink(), set_aside(path)))
    assert store.load(table["sequence_id"]).height == 100 - ROWS


def test_the_prompt_order_does_not_depend_on_block_size(monkeypatch, tmp_path):
    table = sequences_table([*random_sequences(40, 90), sequence([7], [8])])
    one, other = LogpsStore(tmp_path / "one", KEY), LogpsStore(tmp_path / "other", KEY)
    fill(table, one)
    monkeypatch.setattr("pipeline.engines.store._PROMPTS_PER_BLOCK", 7)
    fill(table, other)
    assert contents(one) == contents(other)
