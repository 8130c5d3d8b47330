"""The process that owns a vLLM engine: token ids in, log-probs out, over a pipe.

A process of its own, because vLLM sets threads, environment and global state of the one that it runs in, and frees
a model's memory for certain only by ending. The parent trains with torch between two scorings.
"""

import json
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config import EngineConfig
from pipeline.engines.base import TokenSequence
from pipeline.engines.vllm.plugin import PREFIX


class Settings(NamedTuple):
    """What the process is started with."""

    model_dir: str
    config: EngineConfig
    max_tokens: int


class Answer(NamedTuple):
    """What the process sends back: scores as (log-prob, count), a switch to say once, or an error."""

    scores: list[tuple[float, int]]
    switched: str = ""
    error: str = ""


def serve(connection: Connection, settings: Settings) -> None:
    """Answer requests until the pipe ends, which it does also when the parent is killed."""
    _prepare(settings.config)
    try:
        engine = _Engine(settings)
        connection.send(Answer([], switched=engine.switched))
    except Exception as error:  # noqa: BLE001  whatever vLLM raises has to reach the parent as one line
        connection.send(Answer([], error=_one_line(error)))
        return
    while True:
        try:
            sequences = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            connection.send(engine.answer(sequences))
        except Exception as error:  # noqa: BLE001  as above
            connection.send(Answer([], error=_one_line(error)))


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[-1] if text else ''}"


def _prepare(config: EngineConfig) -> None:
    """Environment and silence, before vLLM is imported; what the user has set stays."""
    cores = str(len(os.sched_getaffinity(0)))
    defaults = {
        "OMP_NUM_THREADS": cores,
        "VLLM_CPU_KVCACHE_SPACE": str(config.cpu_kv_cache_gib),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0" if config.tensor_parallel_size == 1 else "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)


class _Engine:
    """The adapter's engine, or a plain one where the adapter cannot wrap the model."""

    def __init__(self, settings: Settings) -> None:
        self.switched = ""
        self._adapter: Any = None
        self._plain: Any = None
        try:
            self._adapter = _open_adapter(settings)
        except Exception as error:  # noqa: BLE001  an architecture that the adapter cannot wrap may fail in any way
            self._plain = _open_plain(settings)
            self.switched = (
                f"vLLM's pooling adapter cannot load this model ({_one_line(error)}); scoring by prompt_logprobs, "
                f"which is slower"
            )

    def answer(self, sequences: list[TokenSequence]) -> Answer:
        """Scores of the sequences, in their order."""
        if self._adapter is not None:
            return Answer(_score_by_adapter(self._adapter, sequences))
        return Answer(_score_by_prompt_logprobs(self._plain, sequences))


def _engine_arguments(settings: Settings) -> dict[str, Any]:
    config = settings.config
    return {
        "model": settings.model_dir,
        "dtype": config.dtype,
        # One token more: the plain route has to generate one.
        "max_model_len": settings.max_tokens + 1,
        "max_num_batched_tokens": config.max_num_batched_tokens,
        "max_num_seqs": config.max_num_seqs,
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "tensor_parallel_size": config.tensor_parallel_size,
        # Compilation takes over a minute on a CPU and gains at most a tenth there.
        "enforce_eager": True,
        "skip_tokenizer_init": True,
    }


def _open_adapter(settings: Settings) -> Any:
    from vllm import LLM
    from vllm.config import PoolerConfig

    from pipeline.engines.vllm.plugin import register
    from pipeline.engines.vllm.pooler import TASK

    register()
    architecture = json.loads((Path(settings.model_dir) / "config.json").read_text(encoding="utf-8"))["architectures"][
        0
    ]
    return LLM(
        runner="pooling",
        pooler_config=PoolerConfig(task=TASK),
        hf_overrides={"architectures": [PREFIX + architecture]},
        enable_prefix_caching=settings.config.prefix_caching,
        **_engine_arguments(settings),
    )


def _open_plain(settings: Settings) -> Any:
    from vllm import LLM

    # Prompt log-probs never read the prefix cache.
    return LLM(enable_prefix_caching=False, **_engine_arguments(settings))


def _score_by_adapter(engine: Any, sequences: list[TokenSequence]) -> list[tuple[float, int]]:
    """Scores by the pooling adapter; rows that the prefix cache made short are scored again without it."""
    # A cache left by an earlier call would change which rows share a step, and with it the last digits.
    engine.reset_prefix_cache()
    scores = _encode(engine, sequences, skip_cache=False)
    short = [
        place
        for place, (sequence, score) in enumerate(zip(sequences, scores, strict=True))
        if score[1] != len(sequence.completion_token_ids)
    ]
    if short:
        again = _encode(engine, [sequences[place] for place in short], skip_cache=True)
        for place, score in zip(short, again, strict=True):
            scores[place] = score
    return scores


def _encode(engine: Any, sequences: list[TokenSequence], *, skip_cache: bool) -> list[tuple[float, int]]:
    from vllm import PoolingParams

    from pipeline.engines.vllm.pooler import COMPLETION_START, TASK

    prompts = [{"prompt_token_ids": [*entry.prompt_token_ids, *entry.completion_token_ids]} for entry in sequences]
    parameters = [
        PoolingParams(
            task=TASK,
            extra_kwargs={COMPLETION_START: len(entry.prompt_token_ids)},
            # Set either way: token tasks skip the cache unless told not to.
            skip_reading_prefix_cache=skip_cache,
        )
        for entry in sequences
    ]
    outputs = engine.encode(prompts, parameters, pooling_task=TASK, use_tqdm=False)
    return [(float(output.outputs.data[0]), int(output.outputs.data[1])) for output in outputs]


def _score_by_prompt_logprobs(engine: Any, sequences: list[TokenSequence]) -> list[tuple[float, int]]:
    """Scores by vLLM's own prompt log-probs, summed over the completion."""
    from vllm import SamplingParams

    prompts = [{"prompt_token_ids": [*entry.prompt_token_ids, *entry.completion_token_ids]} for entry in sequences]
    parameters = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
    scores = []
    for entry, output in zip(sequences, engine.generate(prompts, parameters, use_tqdm=False), strict=True):
        given = output.prompt_logprobs[len(entry.prompt_token_ids) :]
        values = [step[token].logprob for step, token in zip(given, entry.completion_token_ids, strict=True)]
        scores.append((sum(values), len(values)))
    return scores
