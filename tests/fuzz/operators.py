"""Ways to damage a log: its values, the text of its rows, the kind of its file, and its bytes."""

import codecs
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from tests.property.test_importer_fuzz import ODD, damage
from tests.property.test_ingest_fuzz import arrow_file, mutated

Rows = list[dict[str, Any]]

# Stands in the text of rows in place of a value; no value of Python's writes what it stands for.
_MARKED: Final = "<raw {}>"
_RAW: Final = (
    "NaN", "-Infinity", "1e999", "-0", "01", "1" * 5_000, "9223372036854775808", "-" + "9" * 40, "0.1e-400",
    "[" * 3_000 + "]" * 3_000, '{"a":' * 3_000 + "1" + "}" * 3_000, '{"a": 1, "a": 2}', '"\\ud83d"', '"\\u0000"',
    '"\\udc00 \\ud800"', '"\x00"', '"a\tb"', "tru", '"' + "k" * 100_000 + '"', '{"' + "k" * 10_000 + '": 1}', "'x'",
    '"1969-12-31T23:59:59Z"', '"9999-12-31T23:59:59.999999Z"', '"0000-01-01"', "253402300800", "-62135596801", "1e18",
)  # fmt: skip
VALUES: Final[list[Any]] = [*ODD, *(_MARKED.format(number) for number in range(len(_RAW)))]


def chance(random: np.random.Generator, share: float) -> bool:
    """Whether something happens that happens in this share of inputs."""
    return bool(random.random() < share)


def pick(random: np.random.Generator, among: Sequence[Any]) -> Any:
    """One of them."""
    return among[int(random.integers(0, len(among)))]


def damaged_rows(rows: Rows, random: np.random.Generator, others: Rows) -> Rows:
    """Rows with values replaced, moved or dropped, keys in another order, and rows doubled, gone or of another log."""
    found = damage(rows, random, VALUES)
    if chance(random, 0.2):
        found = [_in_other_order(row, random) for row in found]
    if chance(random, 0.2):
        found = [found[int(place)] for place in random.integers(0, len(found), len(found) + 1)]
    if chance(random, 0.2):
        found.insert(int(random.integers(0, len(found) + 1)), pick(random, others))
    if chance(random, 0.1):
        found.insert(int(random.integers(0, len(found) + 1)), pick(random, VALUES))
    return found


def _in_other_order(row: Any, random: np.random.Generator) -> Any:
    items = list(row.items()) if isinstance(row, dict) else []
    return dict(items[int(place)] for place in random.permutation(len(items))) if items else row


def text_of(value: Any, random: np.random.Generator) -> bytes:
    """A value as JSON; some keys twice, and raw values in place of their marks."""
    text = json.dumps(value, ensure_ascii=chance(random, 0.5))
    for number, raw in enumerate(_RAW):
        text = text.replace(f'"{_MARKED.format(number)}"', raw)
    if isinstance(value, dict) and value and chance(random, 0.05):
        key = json.dumps(pick(random, list(value)))
        text = f"{{{key}: {json.dumps(pick(random, ODD))}, {text[1:]}"
    return text.encode("utf-8", "surrogatepass")


def _lines(rows: Rows, random: np.random.Generator) -> bytes:
    return pick(random, [b"\n", b"\n", b"\n", b"\r\n", b"\n\n"]).join(text_of(row, random) for row in rows)


def _array(rows: Rows, random: np.random.Generator) -> bytes:
    return b"[" + b",\n".join(text_of(row, random) for row in rows) + b"]"


def _wrapped(rows: Rows, random: np.random.Generator) -> bytes:
    return b'{"total": 3, "data": ' + _array(rows, random) + b', "more": false}'


def _indented(rows: Rows, random: np.random.Generator) -> bytes:
    return b"\n".join(text_of(row, random).replace(b", ", b",\n ").replace(b"{", b"{\n ") for row in rows)


def _csv(rows: Rows, random: np.random.Generator) -> bytes:
    names = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    random.shuffle(names)
    stream = io.StringIO()
    quoting = pick(random, [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(stream, delimiter=pick(random, list(",,,;\t|")), quoting=quoting)
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name, "") for name in names] if isinstance(row, dict) else [row]
        texts = [cell if isinstance(cell, str) else text_of(cell, random).decode("utf-8", "replace") for cell in cells]
        writer.writerow(texts if chance(random, 0.95) else texts[: int(random.integers(0, len(texts) + 1))])
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _frame(rows: Rows) -> pl.DataFrame:
    """Rows as columns; cells that share no type become text."""
    given = [row for row in rows if isinstance(row, dict)]
    try:
        return pl.DataFrame(given, strict=False, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        texts = [{name: json.dumps(value) for name, value in row.items()} for row in given]
        return pl.DataFrame(texts, infer_schema_length=None)


def _parquet(rows: Rows, _: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    try:
        _frame(rows).write_parquet(stream)
    except pl.exceptions.PolarsError:  # a struct without a field
        return b"PAR1"
    return stream.getvalue()


def _arrow(rows: Rows, random: np.random.Generator) -> bytes:
    return arrow_file(pick(random, [pa.ipc.new_file, pa.ipc.new_stream]), _frame(rows))


_KINDS: Final[dict[str, Callable[[Rows, np.random.Generator], bytes]]] = {
    ".jsonl": _lines,
    ".json": _array,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    "-wrapped.json": _wrapped,
    "-indented.json": _indented,
}
# Rows of JSON in lines and arrays are what most formats are.
_SHARES: Final = [0.45, 0.25, 0.12, 0.06, 0.04, 0.04, 0.04]


def file_of(stem: str, rows: Rows, random: np.random.Generator) -> tuple[str, bytes]:
    """Rows as a file of any kind; its name may say another one."""
    kinds = list(_KINDS)
    kind = kinds[int(random.choice(len(kinds), p=_SHARES))]
    data = _KINDS[kind](rows, random)
    name = stem + (kind if chance(random, 0.95) else pick(random, kinds))
    return packed(name, wounded(data, random) if chance(random, 0.4) else data, random)


def _zip(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


def packed(name: str, data: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    """A file as it is, or now and then compressed, and then perhaps cut or damaged."""
    if chance(random, 0.9):
        return name, data
    ways = {
        ".gz": lambda: gzip.compress(data, mtime=0),
        ".zst": lambda: bytes(pa.compress(data, codec="zstd", asbytes=True)),
        ".zip": lambda: _zip(name, data),
    }
    ending = pick(random, list(ways))
    made = ways[ending]()
    if chance(random, 0.6):
        made = pick(
            random, [made[: int(random.integers(0, len(made)))], mutated(made, random), made + data, made + made]
        )
    return name + ending, made


_GARBAGE: Final = (b"\x00" * 512, b"%%EOF", b"\n}", b"]]", b"\n---\n", b",", b"\xff\xfe", b"<html>", b"\x1a")
_HALVES: Final = (b"\\ud800", b"\xed\xa0\x80", b"\\u0000", b"\xe2\x82", b"\xf4\x90\x80\x80")
_Wound = Callable[[bytes, int, np.random.Generator], bytes]
_WOUNDS: Final[tuple[_Wound, ...]] = (
    *(lambda data, _, random: mutated(data, random),) * 4,
    lambda data, *_: codecs.BOM_UTF8 + data,
    lambda data, *_: data + codecs.BOM_UTF8 + data,
    lambda data, _, random: data + bytes(pick(random, _GARBAGE)),
    lambda data, at, _: data[:at] + b"\x00" * 3 + data[at:],
    lambda data, at, random: data[:at] + bytes(pick(random, _HALVES)) + data[at:],
    lambda data, at, random: data[:at] + data[int(random.integers(0, len(data) + 1)) :],
    lambda data, at, _: data[:at],
    lambda data, *_: data.replace(b"\n", b"\r"),
    lambda data, _, random: data.replace(b",", bytes(pick(random, [b";", b"\t", b",,", b" ,"]))),
    lambda data, _, random: data.replace(b'"', bytes(pick(random, [b"'", b'""', b"\xe2\x80\x9c"]))),
    lambda data, *_: data.decode("utf-8", "replace").encode("utf-16"),
    lambda data, *_: data.decode("utf-8", "replace").encode("cp1252", "replace"),
    lambda *_: b"",
)


def wounded(data: bytes, random: np.random.Generator) -> bytes:
    """Bytes with a wound: random ones, or one that editors, exports and copies make."""
    return pick(random, _WOUNDS)(data, int(random.integers(0, len(data) + 1)), random)
