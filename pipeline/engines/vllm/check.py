"""The self-check that an engine passes before its numbers are kept: a few rows, scored in an independent way too."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from ..base import Score

CHECK_ROWS: Final = 8
# Nats per square root of completion tokens, since rounding adds up as a random walk. Measured over 256 completions of
# 129 tokens on a 135M model: float32 0.0025 nat at most (0.0002 a root), bfloat16 2.7 (0.24 a root); 10 and 2 times
# that are allowed. float16 keeps three bits more than bfloat16. A target off by one costs nats a token.
_ALLOWED: Final[Mapping[str, float]] = {"float32": 0.002, "float16": 0.0625, "bfloat16": 0.5}


def check_indices(count: int) -> list[int]:
    """Which of `count` rows to compare: evenly spread, each with the next, which often shares its prompt."""
    if count <= CHECK_ROWS:
        return list(range(count))
    pairs = CHECK_ROWS // 2
    starts = [index * (count - 2) // (pairs - 1) for index in range(pairs)]
    return [start + step for start in starts for step in (0, 1)]


def disagreement(found: Sequence[Score], expected: Sequence[Score], dtype: str) -> str | None:
    """What differs by more than rounding, in words; None where nothing does.

    Args:
        found: Scores to be checked.
        expected: The same sequences, scored in another way.
        dtype: The type that both computed in.
    """
    faults = []
    for one, other in zip(found, expected, strict=True):
        difference = abs(one.logps - other.logps)
        # Written so that a NaN is a fault.
        if one.token_count != other.token_count or not difference <= _ALLOWED[dtype] * math.sqrt(other.token_count):
            faults.append((difference, one.sequence_id))
    if not faults:
        return None
    worst, name = max(faults)
    return f"{len(faults)} of {len(found)} checked sequences differ (most: {worst:.3g} nat, {name})"
