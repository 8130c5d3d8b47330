"""Attention over segments as transformers' models call it: registered under a name, and set in a model's config."""

from typing import Any, Final

import torch

from ...errors import EngineError
from . import pieces, varlen
from .pieces import Rules
from .segments import Segments

NAME: Final = "thumbline_segments"


def use_segments(model: Any) -> str:
    """Let a model's layers attend over segments from now on; returns what they did before.

    Its body then takes a keyword `segments`, and no attention mask. The config is changed for good, not for one pass:
    a checkpointed layer runs again in the backward pass, and must find the same attention.

    Args:
        model: A transformers model.

    Raises:
        EngineError: Its layers do not take their attention from transformers' interface.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    before: str = model.config._attn_implementation
    if not model._can_set_attn_implementation():
        raise EngineError(f"{type(model).__name__} has an attention of its own, which segments cannot replace")
    AttentionInterface.register(NAME, segment_attention)
    AttentionMaskInterface.register(NAME, no_mask)
    model.set_attn_implementation(NAME)
    return before


def no_mask(*_: Any, **__: Any) -> None:
    """In the place of a mask: segments say who sees whom."""
    return


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    segments: Segments | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Outputs of a layer's heads, (1, time, heads, value size), under the names that transformers uses.

    Args:
        module: The layer, by which keys and values are kept.
        query: (1, heads, time, size).
        key: (1, key heads, time, size).
        value: (1, key heads, time, value size).
        attention_mask: None.
        segments: What the row is made of.
        scaling: Factor on scores; None for one over the root of their size.
        sliding_window: Keys that a query sees, itself among them; None for all.
        softcap: Bound of scores; None for none.
        s_aux: (heads,) scores of attention sinks; None for none.
        dropout: 0: it is off in training here.

    Raises:
        EngineError: The call is none of a causal model's over one row of segments.
    """
    if segments is None:
        raise EngineError(f"{type(module).__name__} is not told of segments: its layer hands no such argument on")
    rows, time = query.shape[0], query.shape[2]
    if rows != 1 or key.shape[2] != time or attention_mask is not None or dropout:
        raise EngineError(
            f"{type(module).__name__} calls attention over segments with {rows} rows, {time} queries, {key.shape[2]} "
            f"keys, dropout {dropout}, and {'no' if attention_mask is None else 'a'} mask: it takes one row"
        )
    # Under autocast rotary embeddings leave queries and keys in float32, beside values in half precision.
    query, key = query.to(value.dtype), key.to(value.dtype)
    rules = Rules(scaling or query.shape[-1] ** -0.5, sliding_window, softcap, s_aux)
    kept = None if segments.prefixes is None else segments.prefixes.take(module)
    if segments.keeps is not None:
        segments.keeps.put(module, key, value)
    with torch.autocast(query.device.type, enabled=False):
        kernel = varlen.find_kernel(query, value, rules)
        if kernel is None:
            output = pieces.attend(query, key, value, segments, rules, kept)
        else:
            output = varlen.attend(query, key, value, segments, rules, kernel, kept)
    return output.transpose(1, 2).contiguous(), None
