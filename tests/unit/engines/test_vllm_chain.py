"""What the vLLM engine does around vLLM, with workers that stand in for it: checks, switches, failures, endings."""

import logging
import math
import multiprocessing
import os
import signal
import sys
import time

import psutil
import pytest
import torch

from pipeline.config import EngineConfig
from pipeline.engines.base import Score, TokenSequence
from pipeline.engines.hf import HFEngine
from pipeline.engines.vllm import process as processes
from pipeline.engines.vllm.check import CHECK_ROWS, check_places, disagreement
from pipeline.engines.vllm.engine import VLLMEngine
from pipeline.engines.vllm.worker import Answer, RawScore, _end_with_parent, _one_line, _prepare
from pipeline.errors import EngineError
from tests.engine_inputs import random_sequences
from tests.tiny import save_tiny_model

VOCABULARY = 258
CONFIG = EngineConfig(engine="vllm", dtype="float32")


def _right(settings, sequences):
    scores = HFEngine(settings.model_dir, settings.config).score(sequences)
    return [RawScore(score.logps, score.token_count) for score in scores]


def _loop(connection, answer):
    connection.send(Answer([]))
    while True:
        try:
            sequences = connection.recv()
        except EOFError:
            return
        connection.send(answer(sequences))


def serve_right(connection, settings):
    _loop(connection, lambda sequences: Answer(_right(settings, sequences)))


def serve_one_wrong(connection, settings):
    """The adapter is off by a nat in one sequence; prompt_logprobs is right."""

    def answer(sequences):
        scores = _right(settings, sequences)
        if settings.route == "adapter":
            scores[0] = RawScore(scores[0].logps - 1.0, scores[0].token_count)
        return Answer(scores)

    _loop(connection, answer)


def serve_short(connection, settings):
    """Both routes leave a token out."""
    _loop(
        connection,
        lambda sequences: Answer(
            [RawScore(score.logps, score.token_count - 1) for score in _right(settings, sequences)]
        ),
    )


def serve_nothing(connection, settings):
    """Neither route loads the model."""
    connection.send(Answer([], f"ValueError: {settings.route} does not know this model"))


def serve_until_second_call(connection, settings):
    """Right once, then killed as if by a lack of memory."""
    calls = []

    def answer(sequences):
        if calls:
            print("last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(1)
        return Answer(_right(settings, sequences))

    log = os.open(settings.log, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 2)
    _loop(connection, answer)


def serve_and_hang(connection, settings):
    _end_with_parent()
    connection.send(Answer([]))
    time.sleep(600)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def entries():
    return random_sequences(20, VOCABULARY)


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

    monkeypatch.setattr("pipeline.engines.vllm.engine.HFEngine", refuse)
    engine = opened(serve_one_wrong)
    with caplog.at_level(logging.WARNING):
        assert engine.score(entries) == expected
    assert engine.route == "prompt_logprobs"
    assert "transformers failed: not a model it knows" in caplog.text


def test_without_a_yardstick_nothing_is_scored(opened, entries, monkeypatch):
    monkeypatch.setattr("pipeline.engines.vllm.engine.HFEngine", lambda *arguments: 1 / 0)
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


def _start_and_wait(model_dir, ready):
    processes.serve = serve_and_hang
    worker = processes.WorkerProcess("adapter", model_dir, CONFIG, 128)
    worker._receive()
    ready.send(worker._process.pid)
    time.sleep(600)


def test_a_worker_ends_when_its_parent_is_killed(model):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=_start_and_wait, args=(model, theirs))
    parent.start()
    worker = psutil.Process(ours.recv())
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    worker.wait(timeout=20)
    assert not worker.is_running()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 10, 11, 512])
def test_the_checked_places_are_spread_in_neighbouring_pairs(count):
    places = check_places(count)
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


def _environment_after(settings_parts, connection):
    _prepare(processes.Settings("adapter", "", *settings_parts))
    connection.send({name: value for name, value in os.environ.items() if name.startswith(("VLLM", "OMP"))})


@pytest.mark.parametrize(("own", "seen"), [({}, None), ({"OMP_NUM_THREADS": "7"}, "7")])
def test_the_workers_environment_keeps_what_the_user_set(own, seen, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "log").touch()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    config = EngineConfig(cpu_kv_cache_gib=3)
    worker = context.Process(target=_environment_after, args=((config, 128, str(tmp_path / "log")), theirs))
    worker.start()
    environment = ours.recv()
    worker.join()
    assert environment["OMP_NUM_THREADS"] == (seen or str(len(os.sched_getaffinity(0))))
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["VLLM_LOGGING_LEVEL"] == "ERROR"


def test_sequences_travel_to_a_worker_as_they_are(opened, model):
    entry = TokenSequence("a" * 32, (3, 4), (5,))
    assert opened(serve_right).score([entry]) == HFEngine(model, CONFIG).score([entry])
