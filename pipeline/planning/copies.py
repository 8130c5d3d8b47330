"""Models in memory by method: as methods are usually described, and as they are trained here from stored log-probs."""

from typing import Final, NamedTuple

from ..config import TrainConfig

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
    here: int
    usual_bytes: float
    here_bytes: float


def copies(parameters: float, train: TrainConfig) -> list[Copies]:
    """The table for a model of this many parameters.

    Args:
        parameters: Of the model; a thumbs model is counted as large.
        train: An adapter makes one base of policy and reference; `rollouts.value_model: thumbs` is a model more.
    """
    size = parameters * _BFLOAT16
    sampling = 2 if train.adapter != "none" else 3
    with_values = sampling + (train.adapter == "none" and train.rollouts.value_model == "thumbs")
    models = (
        ("RLHF (PPO)", 4, with_values),
        ("RLHF (RLOO)", 3, sampling),
        ("DPO", 2, 1),
        ("KTO", 2, 1),
        ("ORPO", 1, 1),
        ("SimPO", 1, 1),
    )
    return [Copies(method, usual, here, usual * size, here * size) for method, usual, here in models]
