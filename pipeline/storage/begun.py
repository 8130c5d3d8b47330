"""What a stage has begun, at its run's address: checkpoints, from which any machine goes on.

Below `STAGE/begun/` lie the files of the stage's working folder, and last of all a document that names them with their
digests, the fingerprint that they belong to, and how far they are. They go once the stage is published.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from .beside import visible_files
from .digests import cached_digest
from .files import atomic_file
from .objects import Objects

BEGUN: Final = "begun"
_FACTS: Final = "begun.json"
# An upload comes no sooner than after so many times as long as the one before took: training waits for it.
_PACE: Final = 9.0
_logger = logging.getLogger(__name__)


class _Facts(NamedTuple):
    """What is there.

    Attributes:
        fingerprint: Of the stage, as it works.
        step: How far it had come.
        files: Digests by name.
    """

    fingerprint: str
    step: int
    files: dict[str, str]


class Begun:
    """Unfinished work of one run's stages, at its address."""

    def __init__(self, objects: Objects) -> None:
        """Nothing is asked of the store yet."""
        self._objects = objects
        self._due = 0.0

    def publish(self, stage: str, folder: Path, fingerprint: str, step: int, check_held: Callable[[], None]) -> None:
        """Upload what lies in a stage's working folder, unless the last upload was a moment ago.

        Args:
            stage: Its name.
            folder: Its working folder.
            fingerprint: What the work belongs to.
            step: How far it is.
            check_held: Called before each file; raises where the run was lost to another process.

        Raises:
            PipelineError: The store refuses, or fails; what lay there is named no more, or is there as it was.
        """
        started = time.monotonic()
        if started < self._due:
            return
        try:
            self._upload(stage, folder, _Facts(fingerprint, step, _digests(folder)), check_held)
        finally:
            # Of an upload that failed as well: a store that is out of reach must not hold training up each time.
            now = time.monotonic()
            self._due = now + _PACE * (now - started)
        _logger.info("%s: what it has at step %d is published, in %.1f s", stage, step, now - started)

    def _upload(self, stage: str, folder: Path, facts: _Facts, check_held: Callable[[], None]) -> None:
        before = self._facts(stage)
        known = {} if before is None else before.files
        for name, digest in facts.files.items():
            check_held()
            if known.get(name) != digest:
                self._objects.put(folder / name, f"{stage}/{BEGUN}/{name}")
        check_held()
        text = json.dumps(facts._asdict(), indent=1, sort_keys=True)
        self._objects.write(f"{stage}/{BEGUN}/{_FACTS}", text.encode())
        there = self._objects.sizes(f"{stage}/{BEGUN}")
        others = [name for name in there if name not in facts.files and name != _FACTS]
        self._objects.remove([f"{stage}/{BEGUN}/{name}" for name in others])

    def fetch(self, stage: str, folder: Path, fingerprint: str, step: int) -> int | None:
        """Bring what another machine has begun, where that is further than what is here.

        Args:
            stage: Its name.
            folder: Its working folder.
            fingerprint: What is wanted.
            step: How far what is here has come.

        Returns:
            How far it had come; None where nothing was brought.

        Raises:
            PipelineError: The store refuses, or fails.
        """
        found = self._facts(stage)
        if found is None or found.fingerprint != fingerprint or found.step <= step:
            return None
        brought: list[Path] = []
        for name, digest in found.files.items():
            path = folder / name
            if not _is_below(path, folder):
                return None
            if path.is_file() and cached_digest(path) == digest:
                continue
            brought.append(path)
            if not self._got(f"{stage}/{BEGUN}/{name}", path, digest):
                _logger.warning(
                    "%s is gone, or not as it was published: what another machine has begun is not used.",
                    self._objects.address(f"{stage}/{BEGUN}/{name}"),
                )
                for one in brought:
                    one.unlink(missing_ok=True)
                return None
        return found.step

    def forget(self, stage: str) -> None:
        """Delete what is there of a stage; what names it goes first."""
        names = sorted(self._objects.sizes(f"{stage}/{BEGUN}"), key=lambda name: name != _FACTS)
        self._objects.remove([f"{stage}/{BEGUN}/{name}" for name in names])

    def _got(self, name: str, path: Path, digest: str) -> bool:
        try:
            with atomic_file(path) as temporary:
                self._objects.get(name, temporary)
        except FileNotFoundError:
            return False
        return cached_digest(path) == digest

    def _facts(self, stage: str) -> _Facts | None:
        """What is there; None where nothing is, or nothing that can be read."""
        data = self._objects.read(f"{stage}/{BEGUN}/{_FACTS}")
        if data is None:
            return None
        try:
            found = json.loads(data)
            files = {str(name): str(digest) for name, digest in found["files"].items()}
            return _Facts(str(found["fingerprint"]), int(found["step"]), files)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


def _digests(folder: Path) -> dict[str, str]:
    return {name: cached_digest(folder / name) for name in visible_files(folder)}


def _is_below(path: Path, folder: Path) -> bool:
    """Names in a document that others may write lead nowhere else."""
    return path.resolve().is_relative_to(folder.resolve())
