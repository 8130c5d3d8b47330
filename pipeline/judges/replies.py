"""Replies that cost something, kept by what was asked: nothing is asked twice, whatever ends a run.

Each reply is a file as soon as it is there; many are put together into one when a judge closes.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..storage.digests import digest_json, digest_text
from ..storage.folders import Folder

_ONE: Final = ".json"
_MANY: Final = ".jsonl"
# Fewer files than this are no burden.
_PACKED_FROM: Final = 64
_logger = logging.getLogger(__name__)


class Replies:
    """The replies of one model at one address."""

    def __init__(self, folder: Folder, asked: object) -> None:
        """Nothing is read yet.

        Args:
            folder: Where all judges' replies lie.
            asked: Who was asked, as a JSON value.
        """
        self._folder, self._name = folder, digest_json(asked)

    def read(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each request's digest with its reply; a damaged one is said, and left out."""
        for file in self._folder.files(self._name):
            path = f"{self._name}/{file.name}"
            lines = self._lines(path)
            entries = [_entry(line) for line in lines]
            damaged = entries.count(None)
            if damaged:
                _logger.warning(
                    "judges: %d of %d replies in %s are damaged and asked for again.",
                    damaged,
                    len(lines),
                    self._folder.address(path),
                )
            yield from (entry for entry in entries if entry is not None)

    def keep(self, request: str, reply: Mapping[str, Any]) -> None:
        """Keep one; may be called by several threads."""
        self._folder.write(f"{self._name}/{request}{_ONE}", _line(request, reply).encode())

    def pack(self) -> None:
        """Put single files together."""
        single = [file.name for file in self._folder.files(self._name) if file.name.endswith(_ONE)]
        if len(single) < _PACKED_FROM:
            return
        lines = sorted({line for name in single for line in self._lines(f"{self._name}/{name}") if _entry(line)})
        text = "\n".join(lines) + "\n"
        self._folder.write(f"{self._name}/{digest_text(text)}{_MANY}", text.encode())
        # Only once the whole is there.
        for name in single:
            self._folder.remove(f"{self._name}/{name}")

    def _lines(self, path: str) -> list[str]:
        try:
            return self._folder.read(path).decode("utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            # Another process has put it together with others.
            return []


def _line(request: str, reply: Mapping[str, Any]) -> str:
    # The check tells a line that was cut or changed from one that was written.
    return json.dumps({"request": request, "reply": dict(reply), "check": digest_json([request, dict(reply)])})


def _entry(line: str) -> tuple[str, Mapping[str, Any]] | None:
    try:
        found = json.loads(line)
        request, reply, check = str(found["request"]), dict(found["reply"]), found["check"]
    except (ValueError, KeyError, TypeError):
        return None
    return (request, reply) if check == digest_json([request, reply]) else None
