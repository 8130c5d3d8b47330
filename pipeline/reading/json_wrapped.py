"""The one list of objects inside a JSON object, as APIs wrap their rows: `{"data": [...], "total": 2}`."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .json_array import TOKEN, WHITE_SPACE, split_array
from .records import RowError
from .streams import Line, read_chunks


class Wrapped(NamedTuple):
    """Where the list is.

    Attributes:
        key: Its name in the object.
        start: Place of its bracket in the text, in bytes of UTF-8.
    """

    key: str
    start: int


def wrapped_list(path: Path, encoding: str | None = None) -> Wrapped | None:
    """The list of objects of a file that is one JSON object with exactly one such list at its top; else None."""
    scanner = _Scanner()
    try:
        for chunk in read_chunks(path, encoding):
            scanner.feed(chunk)
            if scanner.is_refused:
                return None
    except RowError:
        return None
    return scanner.lists[0] if scanner.ended and len(scanner.lists) == 1 else None


def wrapped_elements(path: Path, wrapped: Wrapped, max_element_bytes: int, encoding: str | None) -> Iterator[Line]:
    """Each element of the list, numbered from 1; what stands around the list is left out."""
    return split_array(_after(read_chunks(path, encoding), wrapped.start), max_element_bytes, alone=False)


def _after(chunks: Iterator[bytes], start: int) -> Iterator[bytes]:
    for chunk in chunks:
        if start < len(chunk):
            yield chunk[start:]
        start = max(0, start - len(chunk))


class _Scanner:
    """Follows the structure of a text of JSON, and remembers the lists of objects at the top of its one object."""

    def __init__(self) -> None:
        self.lists: list[Wrapped] = []
        self.ended = self.is_refused = False
        self._buffer = b""
        self._before = 0
        self._depth = 0
        self._key = b""
        self._opened: int | None = None

    def feed(self, chunk: bytes) -> None:
        """Look at one more chunk."""
        self._buffer += chunk
        done = 0
        for token in TOKEN.finditer(self._buffer):
            if token.group() == b'"':
                break
            between = self._buffer[done : token.start()]
            self._follow(token.group(), self._before + token.start(), between.strip(WHITE_SPACE))
            done = token.end()
            if self.is_refused:
                return
        else:
            # Numbers and words between signs are of no use.
            done = max(done, len(self._buffer.rstrip(WHITE_SPACE)) if self._depth else done)
        if self.ended and self._buffer[done:].strip(WHITE_SPACE):
            self.is_refused = True
        self._before += done
        self._buffer = self._buffer[done:]

    def _follow(self, sign: bytes, place: int, between: bytes) -> None:
        if self.ended or (self._depth == 0 and (sign != b"{" or between not in (b"", b"\xef\xbb\xbf"))):
            self.is_refused = True
            return
        if self._opened is not None:
            if sign == b"{" and not between:
                self.lists.append(Wrapped(self._key.decode("utf-8", "replace"), self._opened))
            self._opened = None
        if sign.startswith(b'"'):
            self._key = sign[1:-1] if self._depth == 1 else self._key
        elif sign in (b"{", b"["):
            self._opened = place if sign == b"[" and self._depth == 1 else None
            self._depth += 1
        elif sign in (b"}", b"]"):
            self._depth -= 1
            self.ended = self._depth == 0
