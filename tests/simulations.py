"""How many data sets a simulation of intervals draws, and how far the share that holds the truth may lie from 95%.

`SIMULATED_SETS=1000 python -m pytest tests/property/evaluators` draws the thousand that published figures are of; every
test run draws fewer, and allows what chance then makes of as good an interval.
"""

import os
from typing import Final

DATA_SETS: Final = int(os.environ.get("SIMULATED_SETS", "200"))
# 93% to 97% of a thousand: 2.9 standard errors of a share of 95%.
_ALLOWED: Final = 0.02 * (1000 / DATA_SETS) ** 0.5


def is_stated(share: float) -> bool:
    """Whether intervals that hold the truth this often may be intervals of 95%."""
    return abs(share - 0.95) <= _ALLOWED


def is_enough(share: float) -> bool:
    """Whether they hold it at least as often as intervals of 95% do."""
    return share >= 0.95 - _ALLOWED
