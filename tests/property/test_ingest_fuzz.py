"""Mutated logs: never a crash, every row accounted for, and no untouched row lost beside a damaged one.

Quick by default; `-m slow` takes 10,000 files.
"""

import gzip
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipeline.config import EventsConfig
from pipeline.errors import InputError
from pipeline.importers.ingest import read_inputs
from pipeline.stages.events import EventsResult, ingest
from pipeline.tables import validate

ROWS: Final = [
    {
        "event_id": f"e{number}",
        "user_id": f"u{number % 3}",
        "prompt": ["How far is the moon?", "Say: é € 🙂", "tab\tquote"][number % 3],
        "response": f"Answer {number}" + " and more" * (number % 4),
        "feedback": ["thumbs_up", "thumbs_down", None][number % 3],
    }
    for number in range(12)
]
LINES: Final = [json.dumps(row, ensure_ascii=number % 2 == 0).encode() for number, row in enumerate(ROWS)]
MESSAGE_LINES: Final = [
    json.dumps({"chosen": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]}).encode()[:-1]
    + b', "rejected": [{"role": "user", "content": "q%d"}, {"role": "assistant", "content": "b"}]}' % n
    for n in range(6)
]


def csv_file() -> bytes:
    return pl.DataFrame(ROWS).with_columns(pl.col("prompt").str.replace_all(r"[\t]", " ")).write_csv().encode()


def parquet_file() -> bytes:
    stream = io.BytesIO()
    pl.DataFrame(ROWS).write_parquet(stream, row_group_size=4)
    return stream.getvalue()


FIXTURES: Final[dict[str, Callable[[], bytes]]] = {
    "log.jsonl": lambda: b"\n".join(LINES) + b"\n",
    "pairs.jsonl": lambda: b"\n".join(MESSAGE_LINES),
    "log.json": lambda: b"[" + b",\n".join(LINES) + b"]",
    "log.csv": csv_file,
    "log.jsonl.gz": lambda: gzip.compress(b"\n".join(LINES), mtime=0),
    "log.jsonl.zst": lambda: bytes(pa.compress(b"\n".join(LINES), codec="zstd", asbytes=True)),
    "log.parquet": parquet_file,
}
# Bytes that mean something to a reader, beside any byte at all.
SIGNS: Final = b'"\\{}[],:\n\r\x00\xff\xed\xa0 \t0-eEu'


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """`data` with one to three random wounds."""
    found = data
    for _ in range(int(random.integers(1, 4))):
        at, other = sorted(int(place) for place in random.integers(0, len(found) + 1, 2))
        size = int(random.integers(1, 40))
        sign = SIGNS[int(random.integers(0, len(SIGNS)))]
        wounds = [
            found[:at] + random.bytes(1) + found[at + 1 :],
            found[:at] + bytes([sign]) + found[at:],
            found[:at] + found[at + size :],
            found[:at] + found[other : other + size] + found[at:],
            found[:at] + random.bytes(size) + found[at + size :],
            found[:other],
        ]
        found = wounds[int(random.integers(0, len(wounds)))]
    return found


def read(path: Path, data: bytes, format_name: str) -> EventsResult:
    path.write_bytes(data)
    result = ingest(EventsConfig(inputs=(str(path),), format=format_name))
    validate("events", result.events)
    validate("rejects", result.rejects)
    assert result.counts.rows_in == result.counts.rows_out + result.counts.merged + result.counts.rejected
    assert result.rejects["raw"].str.len_chars().max() in (None, *range(2_001))
    return result


def lines_accounted_for(path: Path, format_name: str) -> set[int]:
    batches = list(read_inputs(EventsConfig(inputs=(str(path),), format=format_name)))
    return {line for batch in batches for table in (batch.events, batch.rejects) for line in table["source_line"]}


def check_lines(path: Path, data: bytes, result: EventsResult, format_name: str, fixture: list[bytes]) -> None:
    """Every line is an event or a reject, and every untouched line is its event as often as it stands there."""
    lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    expected = {number for number, line in enumerate(lines, start=1) if line.strip()}
    assert lines_accounted_for(path, format_name) == (expected or {0})
    untouched = Counter(line for line in lines if line in fixture)
    key = "event_id" if format_name == "thumbs_jsonl" else "comparison_id"
    delivered = dict(result.events.group_by(key).agg(pl.col("deliveries").min()).iter_rows())
    for line, count in untouched.items():
        found = [delivered.get(name, 0) for name in _names(path, line, format_name, key)]
        assert min(found) >= count


_KNOWN: dict[tuple[bytes, str], list[str]] = {}


def _names(path: Path, line: bytes, format_name: str, key: str) -> list[str]:
    if (line, format_name) not in _KNOWN:
        _KNOWN[line, format_name] = read(path, line, format_name).events[key].to_list()
        assert _KNOWN[line, format_name]
    return _KNOWN[line, format_name]


def fuzz(folder: Path, name: str, count: int, seed: int) -> None:
    whole, random = FIXTURES[name](), np.random.default_rng(seed)
    format_name = "trl" if name.startswith("pairs") else "thumbs_jsonl"
    path = folder / name
    for _ in range(count):
        data = mutated(whole, random)
        lines = LINES if format_name == "thumbs_jsonl" else MESSAGE_LINES
        try:
            result = read(path, data, format_name)
        except InputError as error:
            # Damage may leave no row with the columns that are needed: that is said, not guessed around.
            assert "no column for" in str(error)
            assert not (name.endswith(".jsonl") and set(data.split(b"\n")) & set(lines))
            continue
        if name.endswith(".jsonl"):
            check_lines(path, data, result, format_name, lines)


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures_are_whole(tmp_path: Path, name: str) -> None:
    result = read(tmp_path / name, FIXTURES[name](), "auto")
    assert result.rejects.is_empty()
    assert result.counts.rows_out == 12


@pytest.mark.parametrize("name", FIXTURES)
def test_mutated_files(tmp_path: Path, name: str) -> None:
    fuzz(tmp_path, name, count=60, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXTURES)
def test_ten_thousand_mutated_files(tmp_path: Path, name: str) -> None:
    fuzz(tmp_path, name, count=10_000 // len(FIXTURES) + 1, seed=2)


@pytest.mark.parametrize("seed", range(40))
def test_one_changed_byte_in_csv_costs_at_most_its_own_row(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    header, *rows = csv_file().rstrip(b"\n").split(b"\n")
    target = int(random.integers(0, len(rows)))
    at = int(random.integers(0, len(rows[target])))
    byte = SIGNS[int(random.integers(0, len(SIGNS)))]
    changed = rows[target][:at] + bytes([byte]) + rows[target][at + 1 :]
    result = read(tmp_path / "log.csv", b"\n".join([header, *rows[:target], changed, *rows[target + 1 :]]), "auto")
    others = {row["response"] for number, row in enumerate(ROWS) if number != target}
    assert others <= set(result.events["completion"])
