"""vLLM asked for answers: each request has a seed of its own, and the answers to one prompt share its blocks."""

from typing import Any

from ..sampling import Draw, Sampled, SamplingSettings, ended
from .messages import NewWeights, Settings, Work
from .routes import generator, lora_request


def open_sampling(settings: Settings) -> Work:
    """An engine that samples as the settings say, and takes other weights in between."""
    if settings.takes_weights:
        _keep_weights_plain()
    engine = generator(settings, enable_prefix_caching=settings.config.prefix_caching, **_whole_prompts(settings))
    adapter = lora_request(settings)

    def work(given: list[Any]) -> list[Any]:
        nonlocal adapter
        if given and isinstance(given[0], NewWeights):
            adapter = _take(engine, settings, given[0])
            return []
        return _sample(engine, settings, given, adapter)

    return work


def _keep_weights_plain() -> None:
    """Let vLLM multiply by a layer's own weights on a CPU.

    It packs them into another form when it loads a model and multiplies by that, also after other weights were put into
    the layer: a head that is tied to the embeddings would stay the old one.
    """
    import torch
    from vllm.model_executor.layers import utils

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = plain


def _take(engine: Any, settings: Settings, weights: NewWeights) -> Any:
    """Put weights into the engine; returns what names the adapter in requests from now on, None for none."""
    if settings.adapter_dir is None:
        engine.collective_rpc("reload_weights", kwargs={"weights_path": weights.folder})
        return None
    from vllm.lora.request import LoRARequest

    # A number that was not seen before: vLLM keeps an adapter by it.
    return LoRARequest(f"step-{weights.number}", 1 + weights.number, weights.folder)


def _whole_prompts(settings: Settings) -> dict[str, Any]:
    """Arguments by which a prompt is computed in one step on a CPU; none elsewhere.

    After a part of a prompt vLLM winds the request's generator back, which a CPU's cannot do.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return {}
    tokens = max(settings.config.max_num_batched_tokens, settings.max_tokens + 1)
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": tokens}


def _sample(engine: Any, settings: Settings, draws: list[Draw], adapter: Any) -> list[Sampled]:
    from vllm import SamplingParams

    sampling = _drawn_as(settings)
    # A cache left by an earlier call would change which rows share a step, and with it the last digits.
    engine.reset_prefix_cache()
    parameters = [
        SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=draw.seed,
            stop_token_ids=list(sampling.end_token_ids),
            # What ends an answer is stated above, for every engine alike.
            ignore_eos=True,
            detokenize=False,
        )
        for draw in draws
    ]
    prompts = [{"prompt_token_ids": list(draw.prompt_token_ids)} for draw in draws]
    outputs = engine.generate(prompts, parameters, use_tqdm=False, lora_request=adapter)
    return [ended(output.outputs[0].token_ids, sampling) for output in outputs]


def _drawn_as(settings: Settings) -> SamplingSettings:
    if settings.sampling is None:
        raise ValueError("sampling: the process was started without settings of how tokens are drawn")
    return settings.sampling
