"""Scoring twins of vLLM's causal language models, built when vLLM asks for one by name."""

from .plugin import PREFIX
from .pooler import scoring_twin

_built: dict[str, type] = {}


def __getattr__(name: str) -> type:
    """The twin called `name`: the registered model's own class, with a pooler that scores given tokens."""
    if not name.startswith(PREFIX):
        raise AttributeError(name)
    if name not in _built:
        from vllm import ModelRegistry

        original = ModelRegistry.models[name.removeprefix(PREFIX)].load_model_cls()
        _built[name] = scoring_twin(original, name)
    return _built[name]
