"""What this machine multiplies well: asked where a setting leaves a type open."""

from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator

# What an NVIDIA and an AMD GPU's drivers leave on Linux.
_GPUS: Final = (Path("/proc/driver/nvidia/version"), Path("/dev/kfd"))
_CPU: Final = Path("/proc/cpuinfo")
# x86: the registers that products of bfloat16 are made in, with or without an instruction of their own; ARM: that.
_ENOUGH: Final = (frozenset({"avx512bw", "avx512vl", "avx512dq"}), frozenset({"bf16"}))
_Type = TypeVar("_Type")


def multiplies_bfloat16() -> bool:
    """Whether products of bfloat16 are at least as fast as those of float32: on a GPU, and on most CPUs with AVX-512.

    Others make them of float32's, at a fiftieth of the speed (an AVX2 core: 1.3 GFLOP/s for 61;
    `python -m tests.benchmarks.bench_products`).
    """
    if any(sign.exists() for sign in _GPUS):
        return True
    try:
        told = _CPU.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    lines = (line.partition(":") for line in told.splitlines())
    flags = next(
        (set(value.split()) for name, _, value in lines if name.strip().lower() in ("flags", "features")), None
    )
    return flags is None or any(enough <= flags for enough in _ENOUGH)


def _settled(value: object) -> object:
    if value != "auto":
        return value
    return "bfloat16" if multiplies_bfloat16() else "float32"


class _OrAuto:
    """`auto` among the words that a run file may hold."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """The words' schema with one more."""
        words = dict(handler(core_schema))
        return words | {"enum": [*words["enum"], "auto"]}


# A type's name, or `auto`, which is settled as the run file is read: the run's own settings name what was taken.
Settled = Annotated[_Type, BeforeValidator(_settled), _OrAuto()]
