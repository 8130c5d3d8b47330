"""Bytes of a plain, gzip or zstd file, and its lines, with every limit kept while reading and not afterwards."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import pyarrow as pa

from .encodings import utf8
from .records import MAX_RAW_CHARACTERS, RowError

MAX_DECOMPRESSION_RATIO: Final = 200
# Below this much output no ratio is dangerous, and small files of few distinct rows do compress that well.
_FREE_OUTPUT_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 4 << 20
_COMPRESSED_CHUNK_BYTES: Final = 1 << 16
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_COMPRESSED: Final = {".gz": _GZIP_MAGIC, ".zst": _ZSTD_MAGIC}
_BOM: Final = b"\xef\xbb\xbf"
_KEPT_OF_LONG_LINE: Final = 4 * MAX_RAW_CHARACTERS


class Line(NamedTuple):
    """One line without its end.

    Attributes:
        number: The first is 1.
        data: Its bytes; the beginning alone where the line is too long.
        error: Why it cannot be used, if that is already known.
    """

    number: int
    data: bytes
    error: RowError | None = None


class LineBlock(NamedTuple):
    """Consecutive lines.

    Attributes:
        first: Number of the first line.
        lines: Their bytes.
        errors: By index in `lines`: why a line cannot be used.
    """

    first: int
    lines: list[bytes]
    errors: dict[int, RowError]


class ByteRange(NamedTuple):
    """A part of a plain file: the lines that begin at `start` or after it and before `stop`."""

    start: int
    stop: int


def content_suffix(path: Path) -> str:
    """The suffix that tells what the file holds once it is decompressed, lower case."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_compressed(path: Path) -> bool:
    """Whether the file's name says that it is compressed."""
    return path.suffix.lower() in _COMPRESSED


def is_packed(raw: bytes) -> bool:
    """Whether a file's first bytes are those of a compressed one."""
    return raw.startswith((_GZIP_MAGIC, _ZSTD_MAGIC))


def read_chunks(path: Path, encoding: str | None = None) -> Iterator[bytes]:
    """The file's text in bounded chunks of UTF-8, decompressed as its first bytes ask.

    Args:
        path: A plain or compressed file.
        encoding: Of the text, where it is stated; None: UTF-8, or UTF-16 where the first bytes say so.

    Raises:
        RowError: As `read_bytes`, or the text is not of its encoding. All chunks before it were good.
    """
    return utf8(read_bytes(path), encoding)


def read_bytes(path: Path) -> Iterator[bytes]:
    """The file's content in bounded chunks, decompressed as its first bytes ask.

    Raises:
        RowError: The stream ends early, is corrupt, or grows by more than `MAX_DECOMPRESSION_RATIO`. All chunks before
            it were good.
    """
    with path.open("rb") as stream:
        magic = stream.read(4)
        stream.seek(0)
        expected = _COMPRESSED.get(path.suffix.lower())
        if expected is not None and magic and not magic.startswith(expected):
            raise RowError("corrupt_stream", f"the name ends in {path.suffix}, the content does not begin like it")
        if magic.startswith(_GZIP_MAGIC):
            yield from _guard_ratio(_gunzip(stream), stream)
        elif magic == _ZSTD_MAGIC:
            yield from _guard_ratio(_unzstd(stream), stream)
        else:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk


def _guard_ratio(chunks: Iterator[bytes], stream: IO[bytes]) -> Iterator[bytes]:
    produced = 0
    for chunk in chunks:
        produced += len(chunk)
        if produced > max(_FREE_OUTPUT_BYTES, MAX_DECOMPRESSION_RATIO * stream.tell()):
            raise RowError("decompression_ratio", f"grows to more than {MAX_DECOMPRESSION_RATIO} times its size")
        yield chunk


def _gunzip(stream: IO[bytes]) -> Iterator[bytes]:
    """Content of all members of a gzip file, at most one chunk at a time."""
    member = zlib.decompressobj(wbits=31)
    begun = False
    data = b""
    while data or (data := stream.read(_COMPRESSED_CHUNK_BYTES)):
        if not begun and not data.strip(b"\x00"):
            data = b""  # padding after the last member, as tape archives leave it
            continue
        begun = True
        try:
            chunk = member.decompress(data, _CHUNK_BYTES)
        except zlib.error as error:
            raise RowError("corrupt_stream", "the gzip data is damaged from here on") from error
        data = member.unused_data if member.eof else member.unconsumed_tail
        if chunk:
            yield chunk
        if member.eof:
            member, begun = zlib.decompressobj(wbits=31), False
    if begun:
        raise RowError("truncated_stream", "the gzip data ends early; what follows is lost")


def _unzstd(stream: IO[bytes]) -> Iterator[bytes]:
    """Content of all frames of a zstd file."""
    produced = 0
    decompressed = _zstd_stream(stream)
    try:
        while chunk := decompressed.read(_COMPRESSED_CHUNK_BYTES):
            produced += len(chunk)
            yield chunk
    except OSError as error:
        # A stream of its own: pyarrow closes the file under a stream that it drops.
        with Path(stream.name).open("rb") as again:
            yield _unzstd_slowly(again, produced)
        if "truncated" in str(error).lower():
            raise RowError("truncated_stream", "the zstd data ends early; what follows is lost") from error
        raise RowError("corrupt_stream", "the zstd data is damaged from here on") from error


def _unzstd_slowly(stream: IO[bytes], produced: int) -> bytes:
    """What a read that failed had decompressed before the damage, which only reads of single bytes give out."""
    decompressed = _zstd_stream(stream)
    content = bytearray()
    try:
        while produced > 0:
            produced -= len(decompressed.read(min(produced, _COMPRESSED_CHUNK_BYTES)))
        while len(content) < _COMPRESSED_CHUNK_BYTES and (byte := decompressed.read(1)):
            content += byte
    except OSError:
        pass
    return bytes(content)


def _zstd_stream(stream: IO[bytes]) -> Any:
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd")


def read_lines(
    path: Path, max_line_bytes: int, *, newline: bytes = b"\n", encoding: str | None = None
) -> Iterator[Line]:
    r"""The file's lines, split at `newline`; a byte order mark is not part of the first.

    A stream that breaks gives what it held of its last line as one line with an error.
    """
    for block in read_blocks(path, max_line_bytes, newline=newline, encoding=encoding):
        for index, data in enumerate(block.lines):
            yield Line(block.first + index, data, block.errors.get(index))


def read_blocks(
    path: Path,
    max_line_bytes: int,
    part: ByteRange | None = None,
    *,
    newline: bytes = b"\n",
    encoding: str | None = None,
) -> Iterator[LineBlock]:
    """The lines of `read_lines`, many at a time.

    Args:
        path: A plain or compressed file.
        max_line_bytes: Of a longer line only the beginning is kept.
        part: Only the lines that begin in this range of a plain file, numbered from 1; None: all.
        newline: What ends a line: a line feed, or a carriage return alone.
        encoding: Of the text, where it is stated; none has parts.
    """
    splitter = _LineSplitter(max_line_bytes, begins_file=part is None or part.start == 0, newline=newline)
    try:
        for chunk in _large(read_chunks(path, encoding)) if part is None else _range_chunks(path, part):
            yield splitter.feed(chunk)
    except RowError as error:
        yield splitter.last(error)
        return
    if splitter.pending:
        yield splitter.last(None)


def _large(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same content in chunks of about `_CHUNK_BYTES`: decompressed ones are small, and a block has its price."""
    held: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= _CHUNK_BYTES:
                yield b"".join(held)
                held, size = [], 0
    except RowError:
        # What came before the damage is good.
        yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _range_chunks(path: Path, part: ByteRange) -> Iterator[bytes]:
    """The lines that begin in a range, whole, however far the last one reaches beyond it."""
    with path.open("rb") as stream:
        if part.start and not _seek_line(stream, part.start, part.stop):
            return
        ended = True
        while (left := part.stop - stream.tell()) > 0 and (chunk := stream.read(min(left, _CHUNK_BYTES))):
            ended = chunk.endswith(b"\n")
            yield chunk
        while not ended and (chunk := stream.read(_COMPRESSED_CHUNK_BYTES)):
            end = chunk.find(b"\n") + 1
            ended = end > 0
            yield chunk[:end] if ended else chunk


def _seek_line(stream: IO[bytes], start: int, stop: int) -> bool:
    """Go to the first line that begins at `start` or after it; False where none begins before `stop`."""
    stream.seek(start - 1)
    while stream.tell() < stop and (chunk := stream.read(_COMPRESSED_CHUNK_BYTES)):
        end = chunk.find(b"\n") + 1
        if end:
            stream.seek(end - len(chunk), 1)
            return stream.tell() < stop
    return False


class _LineSplitter:
    """Chunks to lines, holding at most one line and never more of it than the limit and one chunk."""

    def __init__(self, max_line_bytes: int, *, begins_file: bool, newline: bytes) -> None:
        self._limit = max_line_bytes
        self._newline = newline
        self._carry = b""
        self._too_long = False
        self._next = 1
        self._begins_file = begins_file

    @property
    def pending(self) -> bool:
        """Whether the last line did not end yet."""
        return bool(self._carry)

    def feed(self, chunk: bytes) -> LineBlock:
        """The lines that end in `chunk`."""
        lines = chunk.split(self._newline)
        was_too_long = self._too_long and len(lines) > 1
        lines[0] = self._carry if self._too_long else self._carry + lines[0]
        self._carry, self._too_long = lines.pop(), self._too_long and not lines
        if len(self._carry) > self._limit:
            self._carry, self._too_long = self._carry[:_KEPT_OF_LONG_LINE], True
        return self._block(lines, was_too_long)

    def last(self, error: RowError | None) -> LineBlock:
        """What there is of the line that did not end."""
        block = self._block([self._carry], self._too_long)
        return block if error is None else block._replace(errors={0: error})

    def _block(self, lines: list[bytes], first_too_long: bool) -> LineBlock:
        first = self._next
        self._next += len(lines)
        if first == 1 and lines and self._begins_file:
            lines[0] = lines[0].removeprefix(_BOM)
        # A line that lies within a chunk can only be too long where the limit is below a chunk's size.
        looked_at = len(lines) if self._limit < _CHUNK_BYTES else min(1, len(lines))
        errors: dict[int, RowError] = {}
        for index in range(looked_at):
            if len(lines[index]) > self._limit or (index == 0 and first_too_long):
                errors[index] = RowError("line_too_long", f"more than {self._limit} bytes")
                lines[index] = lines[index][:_KEPT_OF_LONG_LINE]
        return LineBlock(first, lines, errors)
