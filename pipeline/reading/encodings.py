"""Text of another encoding as UTF-8, chunk by chunk: UTF-16 by its first bytes, any other where it is stated."""

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from ..errors import ConfigError
from .records import RowError

OPTION: Final = "encoding"
OPTIONS: Final = {
    OPTION: "Encoding of text files that are not UTF-8, such as cp1252; UTF-16 is told by its first bytes."
}
_MARKS: Final = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# So many bytes of ASCII as UTF-16 have a zero in every second place, which no text in UTF-8 has.
_UNMARKED_BYTES: Final = 8


class _Encoding(NamedTuple):
    """An encoding, and how many bytes of the text are its mark."""

    name: str
    mark: int = 0


def utf8(chunks: Iterator[bytes], stated: str | None = None) -> Iterator[bytes]:
    """The same text in UTF-8; as it is where it is no other encoding.

    A byte that the encoding does not know, or half of a surrogate pair, becomes bytes that are not UTF-8: the guard of
    rows finds them, and they cost their own row.

    Args:
        chunks: Of the file, decompressed.
        stated: A name of Python's codecs; None: UTF-8, or UTF-16 where the first bytes say so.

    Raises:
        RowError: The text ends within a character.
    """
    head = b""
    while len(head) < _UNMARKED_BYTES and (chunk := next(chunks, b"")):
        head += chunk
    found = _told(head) if stated is None else _Encoding(stated)
    if found is None:
        yield from chain([head] if head else [], chunks)
        return
    # Surrogates of UTF-16, and unknown bytes of others, get through to the guard.
    errors = "surrogatepass" if found.name.startswith("utf-16") else "surrogateescape"
    decoder = codecs.getincrementaldecoder(found.name)(errors)
    try:
        for chunk in chain([head[found.mark :]], chunks):
            yield decoder.decode(chunk).encode("utf-8", errors)
        yield decoder.decode(b"", final=True).encode("utf-8", errors)
    except UnicodeError as error:
        raise RowError("truncated_stream", f"the text is not {found.name} from here on") from error


def is_other_encoding(head: bytes) -> bool:
    """Whether a file's first bytes are those of UTF-16."""
    return _told(head) is not None


def _told(head: bytes) -> _Encoding | None:
    for mark, name in _MARKS:
        if head.startswith(mark):
            return _Encoding(name, len(mark))
    even, odd = head[:_UNMARKED_BYTES:2], head[1:_UNMARKED_BYTES:2]
    if len(head) >= _UNMARKED_BYTES and 0 not in even and not any(odd):
        return _Encoding("utf-16-le")
    if len(head) >= _UNMARKED_BYTES and 0 not in odd and not any(even):
        return _Encoding("utf-16-be")
    return None


def check_encoding(name: str | None) -> str | None:
    """The encoding that a run states, in Python's spelling; None for UTF-8.

    Raises:
        ConfigError: There is no text encoding of that name.
    """
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        "".encode(name)  # of codecs that are no text encodings, such as rot13, this raises
    except (LookupError, UnicodeError) as error:
        raise ConfigError(
            f"events.options: encoding '{name}' is not known; cp1252 and latin-1 are usual ones."
        ) from error
    return None if found.name in ("utf-8", "utf-8-sig") else found.name
