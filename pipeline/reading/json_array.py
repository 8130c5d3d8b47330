"""Elements of a JSON array as if each were a line, without the array ever being in memory."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .records import MAX_RAW_CHARACTERS, RowError
from .streams import Line, read_chunks

WHITE_SPACE: Final = b" \t\r\n"
_KEPT: Final = 4 * MAX_RAW_CHARACTERS
_BOM: Final = b"\xef\xbb\xbf"
# A whole string, a quote whose string does not end yet, or a sign of structure. Possessive: no step is ever undone.
TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|"|[\[\]{},]', re.DOTALL)


def array_elements(path: Path, max_element_bytes: int, encoding: str | None = None) -> Iterator[Line]:
    """Each element of the file's array, numbered from 1; whether it is JSON is for the guard to say.

    Only brackets and strings are looked at. What stands after the array, or an element that does not end, comes as a
    last element with an error.
    """
    return split_array(read_chunks(path, encoding), max_element_bytes)


def split_array(chunks: Iterator[bytes], max_element_bytes: int, *, alone: bool = True) -> Iterator[Line]:
    """The elements of an array whose text begins with its bracket.

    Args:
        chunks: The text.
        max_element_bytes: A longer element is one with an error.
        alone: Whether what follows the array is a fault; else it is left out.
    """
    splitter = _ArraySplitter(max_element_bytes)
    try:
        for chunk in chunks:
            yield from splitter.feed(chunk)
            if splitter.ended and not alone:
                return
    except RowError as error:
        yield splitter.rest(error)
        return
    if not splitter.finished:
        yield splitter.rest(RowError("broken_json", "the array does not end"))


class _ArraySplitter:
    """A cursor over the array's structure that holds the bytes of the current element only."""

    def __init__(self, max_element_bytes: int) -> None:
        self._limit = max_element_bytes
        self._buffer = b""
        self._scanned = 0
        self._depth = 0
        self._number = 0
        # The beginning of an element that is too long; None while it is not.
        self._head: bytes | None = None
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the array's closing bracket was seen."""
        return self._ended

    @property
    def finished(self) -> bool:
        """Whether the array ended and nothing but white space followed."""
        return self._ended and not self._buffer.strip(WHITE_SPACE)

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The elements that end in `chunk`."""
        self._buffer += chunk
        if self._depth == 0 and not self._ended:
            self._open()
        start = 0
        while not self._ended and (token := TOKEN.search(self._buffer, self._scanned)) is not None:
            sign = token.group()
            if sign == b'"':
                break
            self._scanned = token.end()
            if self._ends_element(sign):
                yield from self._take(self._buffer[start : token.start()])
                start = token.end()
        else:
            self._scanned = len(self._buffer)
        self._keep(start)

    def _open(self) -> None:
        content = self._buffer.removeprefix(_BOM).lstrip(WHITE_SPACE)
        if content:
            self._buffer, self._scanned, self._depth = content[1:], 0, 1

    def _ends_element(self, sign: bytes) -> bool:
        """Follow one sign of structure; a stray `}` at the top stays part of its element, which the guard rejects."""
        if sign in (b"[", b"{"):
            self._depth += 1
        elif sign == b"]" and self._depth == 1:
            self._ended = True
        elif sign in (b"]", b"}") and self._depth > 1:
            self._depth -= 1
        return self._ended or (sign == b"," and self._depth == 1)

    def _take(self, data: bytes) -> Iterator[Line]:
        data = data.strip(WHITE_SPACE)
        if self._ended and not data and self._head is None:
            return
        self._number += 1
        error = None
        if self._head is not None or len(data) > self._limit:
            error = RowError("line_too_long", f"more than {self._limit} bytes")
            data, self._head = self._head or data[:_KEPT], None
        elif not data:
            error = RowError("broken_json", "nothing stands between two commas")
        yield Line(self._number, data, error)

    def _keep(self, start: int) -> None:
        """Drop what was given out, and all but the beginning of an element that is too long already."""
        self._buffer = self._buffer[start:]
        self._scanned -= start
        if self._ended:
            self._buffer = self._buffer.lstrip(WHITE_SPACE)[:_KEPT]
        elif self._head is not None or len(self._buffer) > self._limit:
            self._head = self._head or self._buffer[:_KEPT]
            unread = self._buffer[self._scanned :]
            if unread:
                # Of a string that is still open, its last bytes are enough to find its end.
                escapes = len(unread) - len(unread.rstrip(b"\\"))
                unread = b'"' + b"\\" * (escapes % 2)
            self._buffer, self._scanned = unread, 0

    def rest(self, error: RowError) -> Line:
        """What is left when the stream ends, as one element with the error."""
        self._number += 1
        if self._head is not None:
            error = RowError("line_too_long", f"more than {self._limit} bytes")
        elif self._ended and error.reason == "broken_json":
            error = RowError("broken_json", "something follows the end of the array")
        return Line(self._number, (self._head or self._buffer)[:_KEPT], error)
