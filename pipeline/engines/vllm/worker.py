"""The process that owns a vLLM engine: token ids in, log-probs out, over a pipe."""

import json
import multiprocessing
import os
import textwrap
import threading
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import connection as pipes
from multiprocessing import util
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pipeline.config import EngineConfig
from pipeline.engines.base import TokenSequence
from pipeline.engines.vllm.plugin import PREFIX, register_twins

Route = Literal["adapter", "prompt_logprobs"]
_MESSAGE_CHARACTERS: Final = 240
# The smallest that vLLM's CPU attention takes.
_CPU_BLOCK: Final = 32
# After multiprocessing's own clean-up, whose finalizers have priority 0 and above.
_LAST: Final = -100


class RawScore(NamedTuple):
    """Nats, summed over so many completion tokens."""

    logps: float
    token_count: int


class Settings(NamedTuple):
    """What the process is started with.

    Attributes:
        route: How vLLM is asked.
        model_dir: Folder of the model.
        config: The engine's settings.
        max_tokens: Tokens of the longest sequence.
        log: File that takes what vLLM prints.
    """

    route: Route
    model_dir: str
    config: EngineConfig
    max_tokens: int
    log: str


class Answer(NamedTuple):
    """What the process sends back: scores, or an error; neither once the model is loaded."""

    scores: list[RawScore]
    error: str = ""


Scorer = Callable[[list[TokenSequence]], list[RawScore]]


def serve(connection: Connection, settings: Settings) -> None:
    """Load the model, then answer requests until the pipe or the parent ends."""
    _prepare(settings)
    _end_with_parent()
    try:
        scorer = _OPENERS[settings.route](settings)
    except Exception as error:  # noqa: BLE001  whatever vLLM raises has to reach the parent as one line
        connection.send(Answer([], _one_line(error)))
        return
    connection.send(Answer([]))
    while True:
        try:
            sequences = connection.recv()
        except (EOFError, KeyboardInterrupt):
            if settings.config.tensor_parallel_size == 1:
                # Taking vLLM down piece by piece takes seconds and frees nothing that ending does not.
                util.Finalize(None, os._exit, args=(0,), exitpriority=_LAST)
            return
        connection.send(_answer(scorer, sequences))


def _answer(scorer: Scorer, sequences: list[TokenSequence]) -> Answer:
    try:
        return Answer(scorer(sequences))
    except Exception as error:  # noqa: BLE001  as above
        return Answer([], _one_line(error))


def _one_line(error: Exception) -> str:
    """The error's last line that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("For further information")]
    text = telling[-1].split(" [type=")[0] if telling else ""
    return f"{type(error).__name__}: {textwrap.shorten(text, _MESSAGE_CHARACTERS, placeholder=' ...')}"


def _prepare(settings: Settings) -> None:
    """Environment and silence, before vLLM is imported; what the user has set stays."""
    ranks = settings.config.tensor_parallel_size
    cores = sorted(os.sched_getaffinity(0))
    defaults = {
        "OMP_NUM_THREADS": str(max(1, len(cores) // ranks)),
        "VLLM_CPU_KVCACHE_SPACE": str(settings.config.cpu_kv_cache_gib),
        # Nothing else computes while this process does: it needs no core kept free.
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        # The scheduler in this process sees all requests of a call before it starts: the same call, the same steps.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if 1 < ranks <= len(cores):
        # Read on a CPU only, where vLLM would otherwise want a memory node a rank.
        share = len(cores) // ranks
        groups = [cores[rank * share : (rank + 1) * share] for rank in range(ranks)]
        defaults["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(",".join(map(str, group)) for group in groups)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    log = os.open(settings.log, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _end_with_parent() -> None:
    """End this process when its parent does, even by kill -9 in the middle of a call: a rerun needs the machine."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        pipes.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _engine_arguments(settings: Settings) -> dict[str, Any]:
    config = settings.config
    return {
        "model": settings.model_dir,
        "dtype": config.dtype,
        "max_num_batched_tokens": config.max_num_batched_tokens,
        "max_num_seqs": config.max_num_seqs,
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "tensor_parallel_size": config.tensor_parallel_size,
        # Compilation takes over a minute on a CPU and gains at most a tenth there.
        "enforce_eager": True,
        "skip_tokenizer_init": True,
    }


def _open_adapter(settings: Settings) -> Scorer:
    from vllm import LLM
    from vllm.config import PoolerConfig
    from vllm.platforms import current_platform

    from pipeline.engines.vllm.pooler import TASK

    # Also where the distribution is not installed, and so its entry point not known to vLLM.
    register_twins()
    description = _model_description(settings)
    engine = LLM(
        runner="pooling",
        pooler_config=PoolerConfig(task=TASK),
        hf_overrides={"architectures": [PREFIX + description["architectures"][0]]},
        enable_prefix_caching=settings.config.prefix_caching,
        # Only whole blocks are shared, and vLLM's own choice on a CPU, 128 tokens, is more than many a prompt has.
        block_size=_CPU_BLOCK if current_platform.is_cpu() else None,
        max_model_len=settings.max_tokens,
        **_engine_arguments(settings),
    )
    return partial(_score_by_adapter, engine)


def _open_prompt_logprobs(settings: Settings) -> Scorer:
    from vllm import LLM

    if _model_description(settings).get("max_position_embeddings") == settings.max_tokens:
        # Asking for log-probs means asking for one token more; the model never computes at its position.
        os.environ.setdefault("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    # Prompt log-probs never read the prefix cache.
    engine = LLM(enable_prefix_caching=False, max_model_len=settings.max_tokens + 1, **_engine_arguments(settings))
    return partial(_score_by_prompt_logprobs, engine)


def _model_description(settings: Settings) -> dict[str, Any]:
    description: dict[str, Any] = json.loads((Path(settings.model_dir) / "config.json").read_text(encoding="utf-8"))
    return description


_OPENERS: Final[Mapping[Route, Callable[[Settings], Scorer]]] = {
    "adapter": _open_adapter,
    "prompt_logprobs": _open_prompt_logprobs,
}


def _score_by_adapter(engine: Any, sequences: list[TokenSequence]) -> list[RawScore]:
    """Scores by the pooling adapter; rows that the prefix cache made short are scored again without it."""
    # A cache left by an earlier call would change which rows share a step, and with it the last digits.
    engine.reset_prefix_cache()
    scores = _encode(engine, sequences, skip_cache=False)
    short = [
        place
        for place, (sequence, score) in enumerate(zip(sequences, scores, strict=True))
        if score.token_count != len(sequence.completion_token_ids)
    ]
    if short:
        again = _encode(engine, [sequences[place] for place in short], skip_cache=True)
        for place, score in zip(short, again, strict=True):
            scores[place] = score
    return scores


def _encode(engine: Any, sequences: list[TokenSequence], *, skip_cache: bool) -> list[RawScore]:
    from vllm import PoolingParams

    from pipeline.engines.vllm.pooler import COMPLETION_START, TASK

    parameters = [
        PoolingParams(
            task=TASK,
            extra_kwargs={COMPLETION_START: len(entry.prompt_token_ids)},
            # Set either way: token tasks skip the cache unless told not to.
            skip_reading_prefix_cache=skip_cache,
        )
        for entry in sequences
    ]
    outputs = engine.encode(_prompts(sequences), parameters, pooling_task=TASK, use_tqdm=False)
    return [RawScore(float(output.outputs.data[0]), int(output.outputs.data[1])) for output in outputs]


def _score_by_prompt_logprobs(engine: Any, sequences: list[TokenSequence]) -> list[RawScore]:
    """Scores by vLLM's own prompt log-probs, summed over the completion."""
    from vllm import SamplingParams

    # Flat lists cost a tenth of the Python time of a dictionary a token.
    parameters = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False, flat_logprobs=True)
    outputs = engine.generate(_prompts(sequences), parameters, use_tqdm=False)
    scores = []
    for entry, output in zip(sequences, outputs, strict=True):
        # One value a position, but none at the first.
        values = output.prompt_logprobs.logprobs[len(entry.prompt_token_ids) - 1 :]
        scores.append(RawScore(min(0.0, sum(values)), len(values)))
    return scores


def _prompts(sequences: list[TokenSequence]) -> list[dict[str, list[int]]]:
    return [{"prompt_token_ids": [*entry.prompt_token_ids, *entry.completion_token_ids]} for entry in sequences]
