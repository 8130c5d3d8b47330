"""Models in memory by method: as methods are usually described, and as they are trained here from stored log-probs."""

from typing import Final, NamedTuple

_BFLOAT16: Final = 2


class Copies(NamedTuple):
    """Weights that a method's models take in bfloat16; no gradient, optimiser state or activation is counted.

    Attributes:
        method: As papers write it.
        usual: Models in memory as usually trained.
        here: Models in memory here.
        usual_bytes: Bytes of the former.
        here_bytes: Bytes of the latter.
    """

    method: str
    usual: int
    here: int | None
    usual_bytes: float
    here_bytes: float | None


# RLHF by PPO holds policy, reference, reward and value model, and is not trained here.
_MODELS: Final = (("RLHF (PPO)", 4, None), ("DPO", 2, 1), ("KTO", 2, 1), ("ORPO", 1, 1), ("SimPO", 1, 1))


def copies(parameters: float) -> list[Copies]:
    """The table for a model of this many parameters."""
    size = parameters * _BFLOAT16
    return [
        Copies(method, usual, here, usual * size, None if here is None else here * size)
        for method, usual, here in _MODELS
    ]
