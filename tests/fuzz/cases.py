"""One input of a fuzzer: files with what is stated of them, kept as a folder."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np

# What came of an input: its rows were read, some of them set aside with a reason, or it was refused with one message.
Outcome = Literal["read", "rejected", "refused"]
_SETTINGS: Final = "settings.json"
_FILES: Final = "files"


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        files: Their bytes by name.
        settings: What is stated beside them, as values of JSON.
    """

    files: dict[str, bytes]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A digest of its content."""
        hasher = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        for name, data in sorted(self.files.items()):
            hasher.update(f"{name}\n{len(data)}\n".encode("utf-8", "surrogateescape") + data)
        return hasher.hexdigest()[:12]


class Target(Protocol):
    """What is fed with inputs."""

    def make(self, random: np.random.Generator) -> Case:
        """A damaged input."""

    def read(self, case: Case, folder: Path) -> Outcome:
        """Read an input whose files lie in `folder`; whatever it raises is a fault."""

    def settle(self) -> None:
        """Check what can only be checked of many inputs together; whatever it raises is a fault of one of them."""


def write_files(case: Case, folder: Path) -> None:
    """The files of a case, in a folder that is there."""
    for name, data in case.files.items():
        (folder / name).write_bytes(data)


def keep(case: Case, folder: Path) -> None:
    """Write a case to a folder, from which `kept` reads it."""
    (folder / _FILES).mkdir(parents=True, exist_ok=True)
    write_files(case, folder / _FILES)
    (folder / _SETTINGS).write_text(json.dumps(case.settings, indent=1) + "\n", encoding="utf-8")


def kept(folder: Path) -> Case:
    """The case that `keep` wrote."""
    # A case of settings alone has no files, of which nothing is kept in a repository.
    found = sorted((folder / _FILES).iterdir()) if (folder / _FILES).is_dir() else []
    files = {path.name: path.read_bytes() for path in found}
    return Case(files, json.loads((folder / _SETTINGS).read_text(encoding="utf-8")))
