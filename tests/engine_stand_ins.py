"""Workers that stand in for vLLM's: they read the right scores from a file and do one thing wrong.

Kept apart from the tests, so that a worker process imports neither torch nor transformers.
"""

import json
import os
import signal
import time
from pathlib import Path

from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.vllm import process as processes
from thumbline.pipeline.engines.vllm import routes, worker
from thumbline.pipeline.engines.vllm.messages import Answer, RawScore, Settings
from thumbline.pipeline.engines.vllm.worker import _prepare
from thumbline.pipeline.workers import end_with_parent

RIGHT_SCORES = "right_scores.json"
CALLS = "calls.jsonl"


def _right(settings, sequences):
    known = json.loads((Path(settings.model_dir) / RIGHT_SCORES).read_text())
    return [RawScore(known[entry.sequence_id], len(entry.completion_token_ids)) for entry in sequences]


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


def serve_native_only(connection, settings):
    """vLLM's own scoring is right; every other route leaves a token out."""
    if settings.route == "native":
        serve_right(connection, settings)
    else:
        serve_short(connection, settings)


def serve_with_tokens(connection, settings):
    """Right sums, each with its tokens' values."""

    def answer(sequences):
        return Answer(
            [
                score._replace(token_logps=(score.logps / score.token_count,) * score.token_count)
                for score in _right(settings, sequences)
            ]
        )

    _loop(connection, answer)


def serve_wrong_setting(connection, settings):
    connection.send(Answer([], "reference.engine_args: unknown vLLM engine argument", is_setting=True))


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
            os.write(2, b"last words\n")
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(1)
        return Answer(_right(settings, sequences))

    log = os.open(settings.log, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 2)
    _loop(connection, answer)


def serve_and_hang(connection, settings):
    end_with_parent()
    connection.send(Answer([]))
    time.sleep(600)


def start_and_wait(model_dir, ready):
    """A parent that starts a worker, says its process id, and waits to be killed."""
    processes.serve = serve_and_hang
    started = processes.WorkerProcess("adapter", model_dir, EngineConfig(), 128)
    started._receive()
    ready.send(started._process.pid)
    time.sleep(600)


def send_environment(config, log, connection):
    """What a worker's environment is once prepared."""
    _prepare(Settings("adapter", "", config, 128, log))
    connection.send({name: value for name, value in os.environ.items() if name.startswith(("VLLM", "OMP"))})


def serve_wrong_pooler(connection, settings):
    """vLLM itself, but the adapter scores every token by the row of the one before it."""
    open_adapter = worker.OPENERS["adapter"]

    def open_wrong(settings):
        from thumbline.pipeline.engines.vllm.pooler import CompletionLogpsPooler

        right = CompletionLogpsPooler._chunk_logps
        CompletionLogpsPooler._chunk_logps = lambda self, hidden, targets: right(self, hidden, targets.roll(1))
        return open_adapter(settings)

    worker.OPENERS = {**worker.OPENERS, "adapter": open_wrong}
    worker.serve(connection, settings)


def serve_and_count(connection, settings):
    """vLLM itself; each call of the adapter leaves a line: how many sequences, and whether without the cache."""
    encode = routes._encode

    def counted(engine, settings, sequences, *, skip_cache):
        with (Path(settings.model_dir) / CALLS).open("a") as calls:
            calls.write(json.dumps([len(sequences), skip_cache]) + "\n")
        return encode(engine, settings, sequences, skip_cache=skip_cache)

    routes._encode = counted
    worker.serve(connection, settings)
