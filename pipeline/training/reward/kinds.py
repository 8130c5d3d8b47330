"""Which training rows the thumbs model asks for; torch is not needed to say it."""

from typing import Final

from thumbline.evaluators.types import RowKind

from ...config import RunConfig

Kinds = tuple[RowKind, ...]
_KINDS: Final[dict[str, Kinds]] = {
    "none": (),
    "reward_bce": ("unpaired",),
    "reward_bt": ("pairs",),
    "both": ("pairs", "unpaired"),
}


def thumbs_kinds(config: RunConfig) -> Kinds:
    """Kinds of training rows that the thumbs model is trained on: none where there is none, or it is there already."""
    return () if config.thumbs.model is not None else _KINDS[config.thumbs.method]
