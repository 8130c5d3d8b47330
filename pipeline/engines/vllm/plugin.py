"""vLLM's entry point: registers, beside every causal language model, a twin that scores given tokens."""

from typing import Final

PREFIX: Final = "Thumbline"
_MODELS_MODULE: Final = "pipeline.engines.vllm.models"
_SUFFIXES: Final = ("ForCausalLM", "LMHeadModel")


def register() -> None:
    """Register the scoring twins by name; their classes are built only when one is loaded.

    vLLM calls this in each of its processes. Other models and uses of vLLM are left as they are.
    """
    from vllm import ModelRegistry

    known = set(ModelRegistry.get_supported_archs())
    for architecture in known:
        twin = PREFIX + architecture
        if architecture.endswith(_SUFFIXES) and not architecture.startswith(PREFIX) and twin not in known:
            ModelRegistry.register_model(twin, f"{_MODELS_MODULE}:{twin}")
