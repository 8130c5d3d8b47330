"""What the vLLM engine does around vLLM, with workers that stand in for it: checks, switches, failures, endings."""

import glob
import json
import logging
import math
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.engine_inputs import random_sequences
from tests.engine_stand_ins import (
    RIGHT_SCORES,
    send_environment,
    serve_native_only,
    serve_nothing,
    serve_one_wrong,
    serve_right,
    serve_short,
    serve_until_second_call,
    serve_with_tokens,
    serve_wrong_setting,
    start_and_wait,
)
from tests.tiny import save_tiny_model
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.base import Score
from thumbline.pipeline.engines.hf import HFEngine
from thumbline.pipeline.engines.vllm import process as processes
from thumbline.pipeline.engines.vllm.check import CHECK_ROWS, check_indices, disagreement
from thumbline.pipeline.engines.vllm.engine import VLLMEngine
from thumbline.pipeline.engines.vllm.process import PlainPaths
from thumbline.pipeline.engines.vllm.worker import _one_line
from thumbline.pipeline.errors import ConfigError, EngineError

VOCABULARY = 258
CONFIG = EngineConfig(engine="vllm", dtype="float32")


@pytest.fixture(scope="module")
def entries():
    return random_sequences(20, VOCABULARY)


@pytest.fixture(scope="module")
def model(tmp_path_factory, entries):
    folder = save_tiny_model(tmp_path_factory.mktemp("model"))
    scores = {score.sequence_id: score.logps for score in HFEngine(folder, CONFIG).score(entries)}
    (folder / RIGHT_SCORES).write_text(json.dumps(scores))
    return folder


@pytest.fixture(scope="module")
def expected(model, entries):
    return HFEngine(model, CONFIG).score(entries)


@pytest.fixture
def opened(model, monkeypatch):
    """Makes an engine whose workers run another function; closes it."""
    engines = []

    def open_with(serve, config=CONFIG):
        monkeypatch.setattr(processes, "serve", serve)
        engines.append(VLLMEngine(model, config, 128))
        return engines[-1]

    yield open_with
    for engine in engines:
        engine.close()


def test_right_scores_are_kept_without_a_word(opened, entries, expected, caplog):
    engine = opened(serve_right)
    assert engine.route is None
    assert engine.score(entries) == expected
    assert engine.route == "adapter"
    assert not caplog.records
    engine.close()
    assert not multiprocessing.active_children()


def test_a_wrong_sum_switches_the_route_in_one_line(opened, entries, expected, caplog):
    engine = opened(serve_one_wrong)
    with caplog.at_level(logging.WARNING):
        assert engine.score(entries) == expected
        assert engine.score(entries) == expected
    assert engine.route == "prompt_logprobs"
    (record,) = caplog.records
    assert record.getMessage() == (
        f"vLLM by adapter: 1 of 8 checked sequences differ (most: 1 nat, {entries[0].sequence_id}); "
        f"scoring by vLLM's prompt_logprobs, which is slower instead."
    )


@pytest.mark.parametrize(
    ("serve", "reason"),
    [(serve_short, "20 of 20 sequences lack scores of tokens"), (serve_nothing, "does not know this")],
)
def test_where_no_route_works_transformers_scores(opened, entries, expected, caplog, serve, reason):
    engine = opened(serve)
    with caplog.at_level(logging.WARNING):
        assert engine.score(entries) == expected
    assert engine.route == "transformers"
    assert [reason in record.getMessage() for record in caplog.records] == [True, True]
    assert not multiprocessing.active_children()


def test_each_switch_can_be_read_afterwards(opened, entries):
    engine = opened(serve_nothing)
    assert engine.settle(entries[:4]) == "transformers"
    assert engine.switches == (
        "vLLM by adapter: ValueError: adapter does not know this model; "
        "scoring by vLLM's prompt_logprobs, which is slower instead.",
        "vLLM by prompt_logprobs: ValueError: prompt_logprobs does not know this model; "
        "scoring by transformers instead.",
    )


def test_routes_are_tried_in_the_order_that_is_set(opened, entries, expected):
    engine = opened(serve_one_wrong, CONFIG.model_copy(update={"routes": ("prompt_logprobs", "adapter")}))
    assert engine.score(entries) == expected
    assert (engine.route, engine.switches) == ("prompt_logprobs", ())
    engine = opened(serve_nothing, CONFIG.model_copy(update={"routes": ("adapter",)}))
    with pytest.raises(EngineError, match="adapter does not know this model. No further route is in reference.routes"):
        engine.score(entries)
    engine = opened(serve_nothing, CONFIG.model_copy(update={"routes": ("transformers",)}))
    assert engine.score(entries) == expected


def test_vllms_own_scoring_is_left_out_where_its_runner_does_not_run(opened, entries, expected, monkeypatch):
    config = CONFIG.model_copy(update={"routes": ("native", "adapter")})
    with pytest.raises(EngineError, match="vLLM by adapter"):
        opened(serve_native_only, config).score(entries)
    with pytest.raises(EngineError, match="reference.routes: native cannot score here"):
        opened(serve_native_only, CONFIG.model_copy(update={"routes": ("native",)})).score(entries)
    monkeypatch.setattr(VLLMEngine, "_has_gpu", lambda self: True)
    engine = opened(serve_native_only, config)
    assert engine.score(entries) == expected
    assert engine.route == "native"


def test_quantised_weights_are_never_compared_with_or_left_to_whole_ones(opened, entries, monkeypatch):
    monkeypatch.setattr("thumbline.pipeline.engines.vllm.engine.HFEngine", lambda *arguments: 1 / 0)
    engine = opened(serve_right, CONFIG.model_copy(update={"quantization": "fp8"}))
    engine.score(entries)
    assert engine.route == "adapter"
    engine = opened(serve_nothing, CONFIG.model_copy(update={"quantization": "fp8"}))
    with pytest.raises(EngineError, match="does not know this model"):
        engine.score(entries)


def test_a_wrong_setting_stops_the_run_and_no_other_route_is_tried(opened, entries, caplog):
    engine = opened(serve_wrong_setting)
    with pytest.raises(ConfigError, match="reference.engine_args: unknown vLLM engine argument"):
        engine.score(entries)
    assert not caplog.records


def test_values_a_token_come_through_the_pipe(opened, entries, expected):
    engine = opened(serve_with_tokens, CONFIG.model_copy(update={"token_logps": True}))
    found = engine.score(entries)
    assert [len(score.token_logps) for score in found] == [score.token_count for score in expected]
    assert [sum(score.token_logps) for score in found] == pytest.approx([score.logps for score in expected])


def test_a_process_that_dies_later_stops_the_run_and_says_why(opened, entries, expected):
    engine = opened(serve_until_second_call)
    assert engine.score(entries) == expected
    with pytest.raises(EngineError, match=r"exit code -9, last line: last words.*max_num_batched_tokens.*engine to hf"):
        engine.score(entries)


def test_where_transformers_cannot_load_the_yardstick_is_prompt_logprobs(
    opened, entries, expected, caplog, monkeypatch
):
    def refuse(*arguments):
        raise EngineError("not a model it knows")

    monkeypatch.setattr("thumbline.pipeline.engines.vllm.engine.HFEngine", refuse)
    engine = opened(serve_one_wrong)
    with caplog.at_level(logging.WARNING):
        assert engine.score(entries) == expected
    assert engine.route == "prompt_logprobs"
    assert "transformers failed: not a model it knows" in caplog.text


def test_without_a_yardstick_nothing_is_scored(opened, entries, monkeypatch):
    monkeypatch.setattr("thumbline.pipeline.engines.vllm.engine.HFEngine", lambda *arguments: 1 / 0)
    engine = opened(serve_nothing, CONFIG.model_copy(update={"tensor_parallel_size": 2}))
    with pytest.raises(EngineError, match="prompt_logprobs does not know this model"):
        engine.score(entries)


def test_nothing_in_gives_nothing_out(opened):
    engine = opened(serve_nothing)
    assert engine.score([]) == []
    assert not multiprocessing.active_children()


def test_torch_in_this_process_is_left_alone(opened, entries):
    before = (torch.get_num_threads(), torch.set_num_threads, dict(os.environ))
    engine = opened(serve_right)
    engine.score(entries)
    engine.close()
    assert (torch.get_num_threads(), torch.set_num_threads, dict(os.environ)) == before


def test_a_worker_ends_when_its_parent_is_killed(model):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=start_and_wait, args=(model, theirs))
    parent.start()
    worker = Path("/proc") / str(ours.recv()) / "status"
    assert "(zombie)" not in worker.read_text()
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    deadline = time.monotonic() + 20
    # Whoever inherits the worker may not have asked for its exit code yet.
    while worker.exists() and "(zombie)" not in worker.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline


def test_a_folder_whose_name_is_a_pattern_is_given_to_vllm_by_another_name(tmp_path):
    odd, plain = tmp_path / "run[1]" / "*", tmp_path / "run"
    odd.mkdir(parents=True)
    paths = PlainPaths()
    given = paths.path(odd)
    assert paths.path(plain) == str(plain)
    assert not glob.has_magic(given) and Path(given).samefile(odd)
    paths.close()
    assert not Path(given).is_symlink() and odd.is_dir()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 10, 11, 512])
def test_the_checked_places_are_spread_in_neighbouring_pairs(count):
    places = check_indices(count)
    assert len(set(places)) == len(places) == min(count, CHECK_ROWS)
    assert all(0 <= place < count for place in places)
    if count > CHECK_ROWS:
        assert {0, 1, count - 2, count - 1} <= set(places)
        assert [second - first for first, second in zip(places[::2], places[1::2], strict=True)] == [1] * 4


@pytest.mark.parametrize(
    ("dtype", "difference", "differs"),
    [
        ("float32", 0.01, False),  # 0.002 sqrt(100) = 0.02 is allowed
        ("float32", 0.03, True),
        ("float16", 0.6, False),  # 0.0625 sqrt(100) = 0.625
        ("float16", 0.65, True),
        ("bfloat16", 4.9, False),  # 0.5 sqrt(100) = 5
        ("bfloat16", 5.1, True),
        ("bfloat16", math.nan, True),
        ("bfloat16", math.inf, True),
    ],
)
def test_what_counts_as_a_disagreement(dtype, difference, differs):
    expected = [Score("a", -50.0, 100), Score("b", -50.0, 100)]
    found = [Score("a", -50.0, 100), Score("b", -50.0 - difference, 100)]
    assert (disagreement(found, expected, dtype) is not None) == differs


def test_a_wrong_count_is_a_disagreement():
    assert "1 of 1" in disagreement([Score("a", -5.0, 3)], [Score("a", -5.0, 4)], "bfloat16")


def test_an_error_becomes_the_line_that_tells():
    text = "1 validation error for ModelConfig\n  Value error, it is too long [type=value_error, x=1]\n"
    assert _one_line(ValueError(text + "    For further information visit a page")) == (
        "ValueError: Value error, it is too long"
    )
    assert _one_line(KeyError()) == "KeyError: "
    assert len(_one_line(ValueError("word " * 1000))) < 300


@pytest.mark.parametrize(("own", "seen"), [({}, None), ({"OMP_NUM_THREADS": "7"}, "7")])
def test_the_workers_environment_keeps_what_the_user_set(own, seen, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "log").touch()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    config = EngineConfig(cpu_kv_cache_gib=3)
    worker = context.Process(target=send_environment, args=(config, str(tmp_path / "log"), theirs))
    worker.start()
    environment = ours.recv()
    worker.join()
    assert environment["OMP_NUM_THREADS"] == (seen or str(len(os.sched_getaffinity(0))))
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["VLLM_LOGGING_LEVEL"] == "ERROR"
