"""Mutated logs: never a crash, every row accounted for, and no untouched row lost beside a damaged one.

A few hundred files by default; `--fuzz-files 10000` takes as many.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.ingest.frames import RawBatch, read_inputs, read_unit
from thumbline.pipeline.ingest.plan import plan, units
from thumbline.pipeline.reading.inputs import expand_inputs
from thumbline.pipeline.stages.events import EventsResult, ingest
from thumbline.pipeline.tables import validate

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


def arrow_file(kind: Any, frame: pl.DataFrame | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    table = (pl.DataFrame(ROWS) if frame is None else frame).to_arrow()
    with kind(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return bytes(sink.getvalue().to_pybytes())


def zip_file() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/log.jsonl", b"\n".join(LINES[:6]))
        archive.writestr("b.csv", csv_file())
    return stream.getvalue()


FIXTURES: Final[dict[str, Callable[[], bytes]]] = {
    "log.jsonl": lambda: b"\n".join(LINES) + b"\n",
    "pairs.jsonl": lambda: b"\n".join(MESSAGE_LINES),
    "log.json": lambda: b"[" + b",\n".join(LINES) + b"]",
    "log.csv": csv_file,
    "log.jsonl.gz": lambda: gzip.compress(b"\n".join(LINES), mtime=0),
    "log.jsonl.zst": lambda: bytes(pa.compress(b"\n".join(LINES), codec="zstd", asbytes=True)),
    "log.parquet": parquet_file,
    "semicolons.csv": lambda: csv_file().replace(b",", b";"),
    "tabs.tsv": lambda: csv_file().replace(b",", b"\t"),
    "mac.csv": lambda: csv_file().replace(b"\n", b"\r"),
    "wide.csv": lambda: csv_file().decode().encode("utf-16"),
    "wrapped.json": lambda: b'{"total": 12, "data": [' + b", ".join(LINES) + b"]}",
    "pretty.json": lambda: b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS),
    "file.arrow": lambda: arrow_file(pa.ipc.new_file),
    "stream.arrow": lambda: arrow_file(pa.ipc.new_stream),
}
# What an event says, apart from where it was read and the names that come from there.
SAID: Final = ("source_event_id", "user_id", "prompt", "completion", "vote")
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


def read(path: Path, data: bytes) -> EventsResult:
    path.write_bytes(data)
    return checked(ingest(EventsConfig(inputs=(str(path),))))


def checked(result: EventsResult) -> EventsResult:
    validate("events", result.events)
    validate("rejects", result.rejects)
    assert result.counts.given == result.counts.rows_out + result.counts.merged + result.counts.rejected
    assert result.rejects["raw"].str.len_chars().max() in (None, *range(2_001))
    return result


def rows_of(batches: list[RawBatch]) -> tuple[pl.DataFrame, set[int]]:
    """The raw events of one file, and every line that is an event or a reject."""
    events = pl.concat([batch.events for batch in batches])
    rejects = pl.concat([batch.rejects for batch in batches])
    return events, {*events["source_line"], *rejects["source_line"]}


def check_lines(data: bytes, batches: list[RawBatch], whole: dict[bytes, list[tuple[Any, ...]]]) -> None:
    """Every line is an event or a reject, and every untouched line gives the events that it gives alone."""
    lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    events, accounted = rows_of(batches)
    assert accounted == ({number for number, line in enumerate(lines, start=1) if line.strip()} or {0})
    by_line = events.select("source_line", *SAID).rows_by_key("source_line")
    for number, line in enumerate(lines, start=1):
        if line in whole:
            assert by_line.get(number, []) == whole[line]


def fuzz(folder: Path, name: str, count: int, seed: int) -> None:
    whole, random = FIXTURES[name](), np.random.default_rng(seed)
    stem, _, suffix = name.partition(".")
    wounded = {f"{stem}-{number:05d}.{suffix}": mutated(whole, random) for number in range(count)}
    for file, data in wounded.items():
        (folder / file).write_bytes(data)
    config = EventsConfig(inputs=(str(folder),), workers=1)
    alone = said_alone(folder.with_name("alone"), name)
    records = 0
    for unit in units(plan(expand_inputs(config.inputs), config), 1 << 30):
        batches = list(read_unit(unit, config))
        records += sum(batch.records for batch in batches)
        # Damage may leave no row with the columns that are needed: the file is refused, which is no row, and says so.
        refused = unit.plan.format is None
        assert all(batch.records == 0 and batch.rejects.height == 1 for batch in batches if refused)
        if suffix == "jsonl" and not refused:
            check_lines(wounded[Path(unit.plan.source.name).name], batches, alone)
    result = checked(ingest(config))
    assert result.notes["records"] == records
    assert result.counts.rows_out > 0


def said_alone(folder: Path, name: str) -> dict[bytes, list[tuple[Any, ...]]]:
    """What each line of the fixture says where nothing is damaged."""
    folder.mkdir()
    lines = MESSAGE_LINES if name.startswith("pairs") else LINES
    (folder / "lines.jsonl").write_bytes(b"\n".join(lines))
    config = EventsConfig(inputs=(str(folder),))
    events, _ = rows_of(list(read_inputs(config)))
    by_line = events.select("source_line", *SAID).rows_by_key("source_line")
    return {line: by_line[number] for number, line in enumerate(lines, start=1)}


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures_are_whole(tmp_path: Path, name: str) -> None:
    result = read(tmp_path / name, FIXTURES[name]())
    assert result.rejects.is_empty()
    assert result.counts.rows_out == 12


@pytest.mark.parametrize("name", FIXTURES)
def test_mutated_files(tmp_path: Path, name: str, pytestconfig: pytest.Config) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    fuzz(folder, name, count=-(-pytestconfig.getoption("--fuzz-files") // len(FIXTURES)), seed=2)


def test_mutated_archives_give_rows_or_an_error_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    whole, random = zip_file(), np.random.default_rng(5)
    assert read(tmp_path / "logs.zip", whole).notes["records"] == 18
    for _ in range(pytestconfig.getoption("--fuzz-files") // 10):
        try:
            read(tmp_path / "logs.zip", mutated(whole, random))
        except InputError as error:
            assert "logs.zip" in str(error)


@pytest.mark.parametrize("seed", range(20))
def test_one_changed_byte_in_csv_costs_at_most_its_own_row(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    header, *rows = csv_file().rstrip(b"\n").split(b"\n")
    target = int(random.integers(0, len(rows)))
    at = int(random.integers(0, len(rows[target])))
    byte = SIGNS[int(random.integers(0, len(SIGNS)))]
    changed = rows[target][:at] + bytes([byte]) + rows[target][at + 1 :]
    result = read(tmp_path / "log.csv", b"\n".join([header, *rows[:target], changed, *rows[target + 1 :]]))
    others = {row["response"] for number, row in enumerate(ROWS) if number != target}
    assert others <= set(result.events["completion"])
