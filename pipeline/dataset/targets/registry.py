"""The targets by name. TRL's is not among them: its layout is the data set itself."""

from typing import Final

from ...errors import ConfigError, unknown_name
from . import axolotl, fireworks, llama_factory, ms_swift, nemo_rl, nova, openai, sagemaker, together, vertex
from .base import Target

TRL: Final = "trl"
_IN_ORDER: Final = (
    openai.TARGET,
    together.TARGET,
    fireworks.TARGET,
    vertex.TARGET,
    nova.TARGET,
    sagemaker.TARGET,
    nemo_rl.TARGET,
    llama_factory.TARGET,
    axolotl.TARGET,
    ms_swift.TARGET,
)
TARGETS: Final = {target.name: target for target in _IN_ORDER}


def find_target(name: str) -> Target | None:
    """The target of that name; None for TRL's layout.

    Raises:
        ConfigError: There is none.
    """
    if name == TRL:
        return None
    if name not in TARGETS:
        raise ConfigError(f"export: {unknown_name('target', name, [TRL, *TARGETS])}")
    return TARGETS[name]
