"""The store: nothing is scored twice, nothing broken or foreign is joined, and a killed run loses one shard."""

import logging
import multiprocessing
import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from tests.engine_inputs import FakeEngine, random_sequences, score_all, sequence, sequences_table
from thumbline.pipeline.engines.store import LogpsStore
from thumbline.pipeline.errors import EngineError
from thumbline.pipeline.storage.buckets import BucketWriter
from thumbline.pipeline.storage.folders import LocalFolder, open_folder
from thumbline.pipeline.tables import polars_schema, validate

KEY = {"model": "m", "tokenizer": "t", "engine": "e", "route": "fake"}
ROWS = 8


@pytest.fixture
def table():
    return sequences_table(random_sequences(100, 90))


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path)


def store_at(root, **key):
    return LogpsStore(open_folder(root), KEY | key)


def fill(table, store, engine=None, shard_rows=ROWS, **options):
    engine = engine or FakeEngine()
    return score_all(table, {"fake": store}, lambda: engine, shard_rows, **options), engine


def never():
    raise AssertionError("the engine was opened")


def folder(store):
    return Path(store.folder.address(store.name))


def shard_files(store):
    return sorted(folder(store).glob("*.parquet"))


def contents(store):
    return {file.name: store.folder.read(f"{store.name}/{file.name}") for file in store.folder.files(store.name)}


def stored(store, table):
    return score_all(table, {"fake": store}, FakeEngine, ROWS).n_stored


def test_every_sequence_is_scored_once(table, store):
    result, engine = fill(table, store)
    assert sorted(name for call in engine.calls for name in call) == sorted(table["sequence_id"])
    assert engine.closed
    assert (result.n_stored, result.n_scored) == (0, 100)
    assert result.n_tokens == table["prompt_token_count"].sum() + table["completion_token_count"].sum()
    expected = {name: -float(sum(ids)) for name, ids in table.select("sequence_id", "completion_token_ids").iter_rows()}
    assert dict(result.results.frame().select("sequence_id", "logps").iter_rows()) == pytest.approx(expected, abs=1e-4)
    assert result.results.frame()["sequence_id"].is_sorted()
    validate("reference", result.results.frame())


def test_a_second_run_does_not_open_the_engine(table, store):
    first, _ = fill(table, store)
    second = score_all(table, {"fake": store}, never)
    assert second.results.frame().equals(first.results.frame())
    assert (second.n_stored, second.n_scored, second.n_tokens) == (100, 0, 0)


def test_new_rows_are_scored_and_no_others(table, store):
    fill(table.head(90), store)
    result, engine = fill(table, store)
    assert {name for call in engine.calls for name in call} == set(table["sequence_id"].tail(10))
    assert (result.n_stored, result.n_scored) == (90, 10)


def test_only_the_sequences_asked_for_come_back(table, store):
    fill(table, store)
    part = table.sample(20, seed=1)
    result = score_all(part, {"fake": store}, never)
    assert sorted(result.results.frame()["sequence_id"]) == sorted(part["sequence_id"])


def test_a_repeated_sequence_counts_once(table, store):
    result, engine = fill(pl.concat([table, table.head(30)]), store)
    assert sum(len(call) for call in engine.calls) == result.results.frame().height == 100


def test_no_sequences_are_no_work(store):
    empty = pl.DataFrame(schema=polars_schema("sequences"))
    result = score_all(empty, {"fake": store}, never)
    assert (result.results.frame().height, result.n_scored) == (0, 0)


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
    one, other = store_at(tmp_path / "one"), store_at(tmp_path / "other")
    fill(table, one)
    fill(table.sample(fraction=1.0, shuffle=True, seed=3), other)
    assert contents(one) == contents(other)


def test_progress_adds_up(table, store):
    fill(table.head(33), store)
    totals, steps = [], []
    score_all(table, {"fake": store}, FakeEngine, ROWS, totals=totals, steps=steps)
    rest = table.tail(67)
    tokens = rest["prompt_token_count"].sum() + rest["completion_token_count"].sum()
    assert totals == [tokens]
    assert sum(steps) == tokens
    assert len(steps) == 9  # 67 sequences in shards of 8


@pytest.mark.parametrize("part", KEY)
def test_another_key_is_another_store(table, store, tmp_path, part):
    fill(table, store)
    other = store_at(tmp_path, **{part: "another"})
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
    victim = shard_files(store)[3]
    victim.write_bytes(DAMAGES[damage](bytearray(victim.read_bytes())))
    with caplog.at_level(logging.WARNING):
        again, engine = fill(table, store)
    assert [len(call) for call in engine.calls] == [ROWS]
    assert again.results.frame().equals(whole.results.frame())
    assert len(caplog.records) == 1
    assert str(victim) in caplog.text
    assert victim.with_suffix(".bad").is_file()
    victim.with_suffix(".bad").unlink()
    assert contents(store) == before


def test_no_flipped_byte_gets_through(store):
    table = sequences_table(random_sequences(4, 90))
    whole, _ = fill(table, store)
    frame = whole.results.frame()
    (shard,) = shard_files(store)
    data = shard.read_bytes()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        shard.write_bytes(damaged)
        # Either the shard is refused, or the byte carried nothing (a name of the writer, statistics).
        found = list(store.shards(token_logps=False))
        assert not found or found[0].sort("sequence_id").equals(frame), place


def test_a_shard_of_another_model_is_never_joined(table, store, tmp_path, caplog):
    other = store_at(tmp_path, model="another")
    fill(table, other)
    folder(store).mkdir()
    for path in folder(other).iterdir():
        path.rename(folder(store) / path.name)
    result, engine = fill(table, store)
    assert result.n_stored == 0
    assert sum(len(call) for call in engine.calls) == 100
    assert "belongs to another model, engine or route" in caplog.text


def test_a_shard_that_says_how_it_was_made(table, store):
    fill(table, store)
    metadata = pl.read_parquet_metadata(shard_files(store)[0])
    assert metadata["thumbline.key.route"] == "fake"
    assert metadata["thumbline.key.model"] == "m"


def test_a_short_score_is_refused_and_not_stored(table, store):
    engine = FakeEngine(short=True)
    with pytest.raises(EngineError, match=r"8 of 8 scores are not of all completion tokens"):
        fill(table, store, engine)
    assert engine.closed
    assert not folder(store).exists()


def _fill_slowly(root, rows):
    fill(sequences_table(random_sequences(rows, 90)), store_at(root), FakeEngine(pause=0.02))


def _start(*arguments):
    process = multiprocessing.get_context("spawn").Process(target=_fill_slowly, args=arguments)
    process.start()
    return process


@pytest.mark.parametrize("shards", [1, 4, 9])
def test_a_killed_run_repeats_only_what_it_had_not_finished(table, tmp_path, shards):
    whole, store = store_at(tmp_path / "whole"), store_at(tmp_path / "killed")
    fill(table, whole)
    process = _start(store.folder.address(""), 100)
    deadline = time.monotonic() + 60
    while len(shard_files(store)) < shards and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = len(shard_files(store))
    assert done >= shards
    result, engine = fill(table, store)
    assert result.n_stored == min(done * ROWS, 100)
    assert result.n_stored + sum(len(call) for call in engine.calls) == 100
    finished = {name: data for name, data in contents(store).items() if name.endswith(".parquet")}
    assert finished == contents(whole)


def test_two_processes_share_a_store(table, tmp_path):
    whole, store = store_at(tmp_path / "whole"), store_at(tmp_path / "shared")
    fill(table, whole)
    processes = [_start(store.folder.address(""), 100), _start(store.folder.address(""), 100)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert contents(store) == contents(whole)


def test_a_shard_set_aside_by_another_process_is_no_error(table, store, monkeypatch):
    fill(table, store)
    gone, broken = shard_files(store)[:2]
    broken.write_bytes(b"x")
    read = LocalFolder.read

    def slow_read(folder, name):
        data = b"" if name.endswith(gone.name) else read(folder, name)
        for victim in (gone, broken):
            # The other process is quicker: between listing and reading, and between reading and setting aside.
            if name.endswith(victim.name):
                victim.unlink(missing_ok=True)
        return read(folder, name) if name.endswith(gone.name) else data

    monkeypatch.setattr(LocalFolder, "read", slow_read)
    assert stored(store, table) == 100 - 2 * ROWS


def test_blocks_and_buckets_change_nothing(tmp_path):
    table = sequences_table([*random_sequences(40, 90), sequence([7], [8])])
    one, other = store_at(tmp_path / "one"), store_at(tmp_path / "other")
    result, _ = fill(table, one)
    again, _ = fill(table, other, block_rows=7, bucket_tokens=50)
    whole = result.results.frame()
    assert again.results.frame().equals(whole)
    batches = list(again.results.batches(6))
    assert [batch.height for batch in batches] == [6] * 6 + [5]
    assert pl.concat(batches).equals(whole)
    assert contents(one) == contents(other)


def test_a_stores_numbers_are_of_the_route_that_really_scored(table, tmp_path):
    """A fall-back fills its own route's store; the next run finds it there, and a later repair starts afresh."""
    stores = {route: store_at(tmp_path, route=route) for route in ("adapter", "transformers")}
    fallen = score_all(table, stores, lambda: FakeEngine(route="transformers"))
    assert (fallen.route, fallen.n_scored) == ("transformers", 100)
    assert not contents(stores["adapter"])
    again = score_all(table, stores, never)
    assert (again.route, again.n_stored) == ("transformers", 100)
    more = sequences_table(random_sequences(120, 90))
    engine = FakeEngine(route="adapter")
    repaired = score_all(more, stores, lambda: engine)
    assert (repaired.route, repaired.n_stored, repaired.n_scored) == ("adapter", 0, 120)
    assert len(engine.sample) == 8
    other = score_all(more, stores, never)
    assert other.route == "adapter"


def test_a_fallen_back_engine_uses_what_its_route_has(table, tmp_path):
    stores = {route: store_at(tmp_path, route=route) for route in ("adapter", "transformers")}
    score_all(table.head(90), stores, lambda: FakeEngine(route="transformers"))
    engine = FakeEngine(route="transformers")
    result = score_all(table, stores, lambda: engine)
    assert (result.n_stored, sum(map(len, engine.calls))) == (90, 10)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 0.1])
def test_what_is_no_log_probability_is_refused_and_not_stored(table, store, value):
    with pytest.raises(EngineError, match=r"8 of 8 scores are no log-probability.*reference.dtype to float32"):
        fill(table, store, FakeEngine(spoil=value))
    assert not contents(store)


def test_values_a_token_come_back_in_order_and_serve_sums_too(table, store):
    made = score_all(table, {"fake": store}, lambda: FakeEngine(tokens=True), token_logps=True).results.frame()
    expected = {
        name: [-float(token) for token in ids] for name, ids in table[["sequence_id", "completion_token_ids"]].rows()
    }
    assert dict(made.select("sequence_id", "token_logps").iter_rows()) == expected
    again = score_all(table, {"fake": store}, never, token_logps=True).results.frame()
    assert again.equals(made)
    assert score_all(table, {"fake": store}, never).results.frame().equals(made.drop("token_logps"))


def test_sums_alone_do_not_serve_values_a_token(table, store):
    fill(table, store)
    result = score_all(table, {"fake": store}, lambda: FakeEngine(tokens=True), token_logps=True)
    assert result.n_scored == 100
    assert result.results.frame()["token_logps"].null_count() == 0


def test_an_engine_that_forgets_values_a_token_is_refused(table, store):
    with pytest.raises(EngineError, match="not of all completion tokens"):
        score_all(table, {"fake": store}, FakeEngine, token_logps=True)


def test_many_tokens_go_by_way_of_files_that_are_gone_afterwards(table, store, monkeypatch, tmp_path):
    whole = score_all(table, {"fake": store}, lambda: FakeEngine(tokens=True), token_logps=True).results.frame()
    written = []
    open_file = BucketWriter._open
    monkeypatch.setattr(BucketWriter, "_open", lambda *given: (written.append(given[0]._path), open_file(*given)))
    other = store_at(tmp_path / "other")
    sizes = {"block_rows": 7, "bucket_tokens": 20}
    result = score_all(table, {"fake": other}, lambda: FakeEngine(tokens=True), token_logps=True, **sizes)
    assert result.results.frame().equals(whole)
    assert len(set(written)) == 2
    assert not any(path.exists() for path in written)


def test_two_machines_share_a_store_behind_an_address(table, tmp_path):
    whole, shared = store_at(tmp_path), store_at(f"memory://shared-{tmp_path.name}")
    fill(table, whole)
    fill(table.head(40), shared)
    result, engine = fill(table, store_at(f"memory://shared-{tmp_path.name}"))
    assert (result.n_stored, sum(map(len, engine.calls))) == (40, 60)
    assert result.results.frame()["sequence_id"].equals(fill(table, whole)[0].results.frame()["sequence_id"])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_behind_an_address_is_set_aside_too(table, tmp_path, damage, caplog):
    store = store_at(f"memory://damage-{tmp_path.name}")
    fill(table, store)
    (victim, *_) = contents(store)
    path = f"{store.name}/{victim}"
    store.folder.write(path, bytes(DAMAGES[damage](bytearray(store.folder.read(path)))))
    with caplog.at_level(logging.WARNING):
        result, engine = fill(table, store)
    assert [len(call) for call in engine.calls] == [ROWS]
    assert result.n_stored == 100 - ROWS
    assert store.folder.address(path) in caplog.text
    assert victim.replace(".parquet", ".bad") in contents(store)
