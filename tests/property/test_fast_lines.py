"""Many lines at a time or each exactly: the same events and the same rejects, whatever stands in the lines."""

import json
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from tests.property.test_ingest_fuzz import mutated
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.fast_lines import LineReader
from thumbline.pipeline.ingest.frames import RawBatch, read_unit
from thumbline.pipeline.ingest.plan import Unit, plan
from thumbline.pipeline.reading import streams
from thumbline.pipeline.reading.inputs import expand_inputs
from thumbline.pipeline.reading.remarks import Remarks
from thumbline.pipeline.reading.streams import read_blocks

ROW: Final[dict[str, Any]] = {
    "event_id": "e1",
    "timestamp": "2026-01-01T00:00:00Z",
    "user_id": "ann",
    "model": "m: 1",
    "prompt": "How far: is the moon?",
    "response": 'About "384,400" km.\n\u00c9t\u00e9 \U0001f642',
    "feedback": "thumbs_up",
    "score": 0.5,
    "page": "home: start",
    "system_prompt": " ",
}
USUAL: Final = json.dumps(ROW).encode()
# What each field may turn into: fitting, odd or wrong.
TEXTS: Final[list[Any]] = ["x", "", " ", "\x1c", "\u00a0", "\x00", "a\x00b", ":", "a:b::", "\ud83d\ude42"]
NUMBERS: Final[list[Any]] = [None, True, False, 0, 1, -1, 1.0, 0.5, 10**30, 10**40, 1e300]
NESTED: Final[list[Any]] = [[], ["x"], {}, {"a": 1}, *([{"role": role, "content": "hi"}] for role in ("user", "who"))]
LABELS: Final[list[Any]] = ["copied", "chosen", "tie", "thumbs_down", " UP ", "meh", "false", "0", "null", "none"]
DAYS: Final[list[Any]] = ["2026-01-01", "2026-02-30T10:00:00Z", "1989-12-31T23:59:59Z", "2100-01-01T00:00:00Z"]
CLOCKS: Final = ["10:00:00", "10:00:00.5Z", "10:00:00.123Z", "10:00:00.123456+00:00", "10:00:00+02:00", "24:00:00Z"]
TIMES: Final[list[Any]] = [f"2026-01-01{sign}{clock}" for sign in "T " for clock in (*CLOCKS, "10:00:60Z", "1:00:00")]
ODD_TIMES: Final[list[Any]] = [
    "20260101T100000Z",
    " 2026-01-01T10:00:00Z",
    "+02026-01-01T10:00:00Z",
    "2099-12-31T23:59:59Z",
]
VALUES: Final = [*TEXTS, *NUMBERS, *NESTED, *LABELS, *DAYS, *TIMES, *ODD_TIMES]
# Lines that JSON readers disagree about.
ODD_LINES: Final = [
    b"",
    b" \t\r",
    b"\xef\xbb\xbf" + USUAL,
    USUAL + b"\r",
    b" " + USUAL + b" ",
    USUAL[:-1],
    USUAL + USUAL,
    USUAL.replace(b'": "', b'" : "'),
    USUAL.replace(b'": "', b'"\t:"'),
    b'{"event_id": "e2", ' + USUAL[1:],
    # A key twice, and an escaped colon that makes up for its colon.
    b'{"event_id": "e2", ' + USUAL[1:].replace(b"far:", b"far\\u003a"),
    b'{"event_id": "e2", ' + USUAL[1:].replace(b"far:", b"far\\u003A"),
    b'{"event_id": "e2:", ' + USUAL[1:].replace(b"far:", b"far"),
    USUAL.replace(b'"event_id"', b'"event\\u005fid"'),
    USUAL.replace(b"far:", b"\\ud800"),
    USUAL.replace(b"far:", b"\\ud83d\\ude42"),
    USUAL.replace(b"far:", b"\\u0000"),
    USUAL.replace(b"far:", b"\\\\u0000"),
    USUAL.replace(b"far:", b"\\\\u003a"),
    USUAL.replace(b"far:", b"\x00"),
    USUAL.replace(b"far:", b"\xff"),
    USUAL.replace(b"far:", b"\xed\xa0\x80"),
    USUAL.replace(b"far:", b"a\tb"),
    USUAL.replace(b"0.5", b"1e999"),
    USUAL.replace(b"0.5", b"NaN"),
    USUAL.replace(b"0.5", b"-0"),
    USUAL.replace(b"0.5", b"01"),
    USUAL.replace(b"0.5", b"[" * 100 + b"]" * 100),
    USUAL.replace(b"0.5", b'{"a": 1, "a": 2}'),
    b"[" + USUAL + b"]",
    b"null",
    b"{}",
    b'{"event_id": "e2", ' + USUAL[1:].replace(b"far:", b"far\\u003c"),
    b'{"event\\u005fid": "e2", ' + USUAL[1:],
    USUAL.replace(b"far:", b":" * 300),
    USUAL.replace(b"far:", b"\\u003c\\u003a\\u003e"),
    USUAL.replace(b"moon?", b"moon\\\\"),
    USUAL + b"\\",
    USUAL[:-2] + b"\\",
]


def both_ways(folder: Path, lines: list[bytes], **config: Any) -> tuple[RawBatch, RawBatch]:
    """What the two ways read."""
    path = folder / "log.jsonl"
    path.write_bytes(b"\n".join([USUAL, *lines]))
    settings = EventsConfig.model_validate({"inputs": [str(path)], "format": "thumbs_jsonl", **config})
    (entry,) = plan(expand_inputs(settings.inputs), settings)
    assert entry.fast is not None
    found = []
    for way in (entry, entry._replace(fast=None)):
        batches = list(read_unit(Unit(0, way, None), settings))
        events = pl.concat([batch.events for batch in batches]).sort("source_line")
        rejects = pl.concat([batch.rejects for batch in batches]).sort("source_line")
        remarks = sum((Remarks(batch.remarks) for batch in batches), Remarks())
        records = sum(batch.records for batch in batches)
        found.append(RawBatch(entry.source.name, events, rejects, records, remarks=remarks))
    return found[0], found[1]


def check(folder: Path, lines: list[bytes], **config: Any) -> None:
    fast, exact = both_ways(folder, lines, **config)
    assert fast.rejects.rows() == exact.rejects.rows()
    assert fast.events.rows() == exact.events.rows()
    assert fast.events.equals(exact.events)
    assert fast.records == exact.records
    assert fast.remarks == exact.remarks


@pytest.mark.parametrize("field", ROW)
def test_any_value_in_any_field(tmp_path: Path, field: str) -> None:
    lines = [
        json.dumps(ROW | {field: value}, ensure_ascii=bool(way)).encode("utf-8", "surrogatepass")
        for way, value in product((0, 1), VALUES)
    ]
    lines += [json.dumps({name: value for name, value in ROW.items() if name != field}).encode()]
    # What users do beside voting, in columns that begin after the first rows.
    beside = ({"copied": True}, {"propensity": 0.5}, {"propensity": 2}, {"edited_response": "better"})
    lines += [json.dumps(ROW | {"event_id": "e9"} | more).encode() for more in beside]
    # A usual field that the first rows lack.
    late = ({"conversation_id": "c9"}, {"chat_id": 9}, {"history": [["a", "b"]]}, {"tools": [{"name": "f"}]})
    lines += [json.dumps(ROW | {"event_id": "e8"} | more).encode() for more in late]
    check(tmp_path, lines)
    check(tmp_path, lines, options={"up": "1,x", "down": "0", "time_unit": "ms"})


def test_odd_lines(tmp_path: Path) -> None:
    check(tmp_path, ODD_LINES)
    check(tmp_path, ODD_LINES, max_line_bytes=len(USUAL) + 3)


@pytest.mark.parametrize("size", [150, 1_000])
def test_blocks_of_few_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(streams, "_CHUNK_BYTES", size)
    check(tmp_path, [b"", USUAL, *ODD_LINES, USUAL, b""])


@pytest.mark.parametrize("seed", range(6))
def test_mutated_lines(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    fixtures = [USUAL, json.dumps(ROW, ensure_ascii=False).encode(), *ODD_LINES[7:13]]
    mutants = [mutated(fixtures[int(random.integers(0, len(fixtures)))], random) for _ in range(2_000)]
    check(tmp_path, b"\n".join(mutants).split(b"\n"))


def test_usual_lines_are_read_fast(tmp_path: Path) -> None:
    """Else the two ways would agree for want of a second one."""
    path = tmp_path / "log.jsonl"
    systems = [None, "", "Be brief.", "Be: long."]
    lines = [
        json.dumps(ROW | {"event_id": str(number), "system_prompt": systems[number % 4]}).encode()
        for number in range(50)
    ]
    lines.append(USUAL.replace(b"far:", b"\\u003cfar\\u003e:"))
    path.write_bytes(b"\n".join([*lines, b"broken", *ODD_LINES[15:16]]))
    settings = EventsConfig(inputs=(str(path),))
    (entry,) = plan(expand_inputs(settings.inputs), settings)
    assert entry.fast is not None
    (block, last) = read_blocks(path, 10_000)
    read = LineReader(*entry.fast).read(block)
    assert read.events.height == 51
    assert read.events["prompt"].list.len().to_list() == [1, 1, 2, 2] * 12 + [1, 1, 1]
    assert read.rest.records == 1
    assert LineReader(*entry.fast).read(last).events.height == 1
