"""What the command does before anything large is imported."""

import os
from typing import Final

# Two arenas that give memory back after a second: by default there are eight, and each keeps what it was given back.
_ALLOCATOR: Final = "narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0"


def settle_allocator() -> None:
    """Have polars' allocator give memory back sooner, unless the environment says how; before polars is imported.

    Stages that hold parts of tables then take half the memory and no more time (`tests/benchmarks/bench_prepare.py`).
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", _ALLOCATOR)


def main() -> None:
    """The command `thumbline`."""
    settle_allocator()
    from .main import main as command

    command()
