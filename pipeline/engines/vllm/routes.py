"""The ways in which vLLM is asked for log-probs of given tokens: each opens an engine and scores with it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Final

from ...errors import EngineError, unknown_name
from ..adapters import adapter_rank, changes_head
from ..base import TokenSequence
from .messages import RawScore, Route, Settings, Work
from .plugin import PREFIX, register_twins

# The smallest that vLLM's CPU attention takes.
_CPU_BLOCK: Final = 32


def unknown_arguments(engine_args: Mapping[str, Any]) -> str:
    """What of the user's own arguments vLLM does not know, in words; empty where it knows all."""
    if not engine_args:
        return ""
    from vllm.engine.arg_utils import EngineArgs

    known = [field.name for field in fields(EngineArgs)]
    wrong = [name for name in engine_args if name not in known]
    return f"reference.engine_args: {unknown_name('vLLM engine argument', wrong[0], known)}" if wrong else ""


def _engine_arguments(settings: Settings) -> dict[str, Any]:
    config = settings.config
    lora: dict[str, Any] = {}
    if settings.adapter_dir is not None:
        lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": adapter_rank(Path(settings.adapter_dir))}
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
        "quantization": config.quantization,
        **lora,
        **config.engine_args,
    }


def _head_type(settings: Settings) -> dict[str, Any]:
    """Stated either way: left alone, vLLM makes a pooling model's head float32 and casts it again at each call."""
    return {"head_dtype": settings.config.head_dtype}


def lora_request(settings: Settings) -> Any:
    """What names the adapter in a request; None for none."""
    if settings.adapter_dir is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest("reference", 1, settings.adapter_dir)


def _open_adapter(settings: Settings) -> Work:
    from vllm import LLM
    from vllm.config import PoolerConfig
    from vllm.platforms import current_platform

    from .pooler import TASK

    if settings.adapter_dir is not None and changes_head(Path(settings.adapter_dir)):
        raise EngineError("the LoRA adapter changes the head, which the pooler uses as it is")
    # Also where the distribution is not installed, and so its entry point not known to vLLM.
    register_twins()
    description = _model_description(settings)
    engine = LLM(
        runner="pooling",
        pooler_config=PoolerConfig(task=TASK),
        hf_overrides=_head_type(settings) | {"architectures": [PREFIX + description["architectures"][0]]},
        enable_prefix_caching=settings.config.prefix_caching,
        # Only whole blocks are shared, and vLLM's own choice on a CPU, 128 tokens, is more than many a prompt has.
        **({"block_size": _CPU_BLOCK if current_platform.is_cpu() else None} | _engine_arguments(settings)),
        max_model_len=settings.max_tokens,
    )
    return partial(_score_by_adapter, engine, settings)


def _open_prompt_logprobs(settings: Settings) -> Work:
    # Prompt log-probs never read the prefix cache.
    return partial(_score_by_prompt_logprobs, generator(settings, enable_prefix_caching=False), settings)


def _open_native(settings: Settings) -> Work:
    return partial(_score_natively, generator(settings, enable_prefix_caching=settings.config.prefix_caching), settings)


def generator(settings: Settings, *, enable_prefix_caching: bool, **further: Any) -> Any:
    """VLLM as a generating engine: log-probs of a prompt come with one generated token."""
    from vllm import LLM

    if _model_description(settings).get("max_position_embeddings") == settings.max_tokens:
        # Asking for log-probs means asking for one token more; the model never computes at its position.
        os.environ.setdefault("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    return LLM(
        enable_prefix_caching=enable_prefix_caching,
        max_model_len=settings.max_tokens + 1,
        hf_overrides=_head_type(settings),
        **(_engine_arguments(settings) | further),
    )


def _model_description(settings: Settings) -> dict[str, Any]:
    description: dict[str, Any] = json.loads((Path(settings.model_dir) / "config.json").read_text(encoding="utf-8"))
    return description


OPENERS: Final[Mapping[Route, Callable[[Settings], Work]]] = {
    "native": _open_native,
    "adapter": _open_adapter,
    "prompt_logprobs": _open_prompt_logprobs,
}


def _score_by_adapter(engine: Any, settings: Settings, sequences: list[TokenSequence]) -> list[RawScore]:
    """Scores by the pooling adapter; rows that the prefix cache made short are scored again without it."""
    return _with_cache(engine, sequences, partial(_encode, engine, settings))


def _score_natively(engine: Any, settings: Settings, sequences: list[TokenSequence]) -> list[RawScore]:
    """Scores by vLLM's own parameter for given tokens; rows that the prefix cache swallowed are scored again."""
    return _with_cache(engine, sequences, partial(_generate_given, engine, settings))


def _with_cache(engine: Any, sequences: list[TokenSequence], score: Callable[..., list[RawScore]]) -> list[RawScore]:
    # A cache left by an earlier call would change which rows share a step, and with it the last digits.
    engine.reset_prefix_cache()
    scores = score(sequences, skip_cache=False)
    short = [
        index
        for index, (sequence, raw) in enumerate(zip(sequences, scores, strict=True))
        if raw.token_count != len(sequence.completion_token_ids)
    ]
    if short:
        again = score([sequences[index] for index in short], skip_cache=True)
        for index, raw in zip(short, again, strict=True):
            scores[index] = raw
    return scores


def _encode(engine: Any, settings: Settings, sequences: list[TokenSequence], *, skip_cache: bool) -> list[RawScore]:
    from vllm import PoolingParams

    from .pooler import COMPLETION_START, TASK, TOKEN_LOGPS

    keeps_tokens = settings.config.token_logps
    parameters = [
        PoolingParams(
            task=TASK,
            extra_kwargs={COMPLETION_START: len(entry.prompt_token_ids), TOKEN_LOGPS: keeps_tokens},
            # Set either way: token tasks skip the cache unless told not to.
            skip_reading_prefix_cache=skip_cache,
        )
        for entry in sequences
    ]
    outputs = engine.encode(
        _prompts(sequences), parameters, pooling_task=TASK, use_tqdm=False, lora_request=lora_request(settings)
    )
    scores = []
    for output in outputs:
        logps, count, *tokens = output.outputs.data.tolist()
        scores.append(RawScore(logps, int(count), tuple(tokens) if keeps_tokens else None))
    return scores


def _generate_given(
    engine: Any, settings: Settings, sequences: list[TokenSequence], *, skip_cache: bool
) -> list[RawScore]:
    from vllm import SamplingParams

    parameters = [
        SamplingParams(
            max_tokens=1,
            detokenize=False,
            # The row before the first completion token predicts it; the last prompt row predicts nothing given.
            prompt_logprob_start=len(entry.prompt_token_ids) - 1,
            prompt_logprob_token_ids=[[token] for token in entry.completion_token_ids],
            skip_reading_prefix_cache=skip_cache,
        )
        for entry in sequences
    ]
    outputs = engine.generate(_prompts(sequences), parameters, use_tqdm=False, lora_request=lora_request(settings))
    return [_summed(_given_values(output), settings) for output in outputs]


def _given_values(output: Any) -> list[float]:
    """A request's log-probs of its given tokens; none where the cached prefix covered the first row."""
    rows = output.prompt_token_id_logprobs
    return [] if rows is None else [float(row[0]) for row in rows]


def _score_by_prompt_logprobs(engine: Any, settings: Settings, sequences: list[TokenSequence]) -> list[RawScore]:
    """Scores by vLLM's own prompt log-probs, summed over the completion."""
    from vllm import SamplingParams

    # Flat lists cost a tenth of the Python time of a dictionary a token.
    parameters = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False, flat_logprobs=True)
    outputs = engine.generate(_prompts(sequences), parameters, use_tqdm=False, lora_request=lora_request(settings))
    # One value a position, but none at the first.
    return [
        _summed(output.prompt_logprobs.logprobs[len(entry.prompt_token_ids) - 1 :], settings)
        for entry, output in zip(sequences, outputs, strict=True)
    ]


def _summed(values: list[float], settings: Settings) -> RawScore:
    # Rounding can put a sure token's log-prob a hair above 0.
    values = [min(0.0, value) for value in values]
    return RawScore(sum(values), len(values), tuple(values) if settings.config.token_logps else None)


def _prompts(sequences: list[TokenSequence]) -> list[dict[str, list[int]]]:
    return [{"prompt_token_ids": [*entry.prompt_token_ids, *entry.completion_token_ids]} for entry in sequences]
