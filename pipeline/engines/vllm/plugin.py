"""vLLM's entry point: registers, beside every causal language model, a twin that scores given tokens."""

import logging
from typing import Final

PREFIX: Final = "Thumbline"
_MODELS_MODULE: Final = "thumbline.pipeline.engines.vllm.models"
_SUFFIXES: Final = ("ForCausalLM", "LMHeadModel")
_logger = logging.getLogger(__name__)


def register() -> None:
    """What vLLM calls in each of its processes, for whatever purpose it runs: so nothing is raised from here."""
    try:
        register_twins()
    except Exception as error:  # noqa: BLE001  another vLLM version may differ in any way; its user may not need us
        _logger.warning("Log-prob scoring is not available in this vLLM: %s", error)


def register_twins() -> None:
    """Register the scoring twins by name; their classes are built only when one is loaded."""
    from vllm import ModelRegistry

    known = set(ModelRegistry.get_supported_archs())
    for architecture in known:
        twin = PREFIX + architecture
        if architecture.endswith(_SUFFIXES) and not architecture.startswith(PREFIX) and twin not in known:
            ModelRegistry.register_model(twin, f"{_MODELS_MODULE}:{twin}")
