"""Broken logs, through the whole stage: each fault has its reason and its place, and costs no row beside it."""

import gzip
import json
import logging
import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.soaking import mostly_soaked
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import InputError, PipelineError
from thumbline.pipeline.stages.events import EventsResult, ingest
from thumbline.pipeline.storage.manifests import Counts
from thumbline.pipeline.storage.parquet import read_parquet
from thumbline.pipeline.tables import validate
from thumbline.pipeline.workers import map_in_processes

GOOD = {"prompt": "p", "response": "r", "feedback": "up", "user_id": "ann"}
LIMIT = 20_000


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def good(number: int) -> bytes:
    return json.dumps(GOOD | {"event_id": str(number)}).encode()


def many(count: int) -> bytes:
    """Good rows that hardly compress."""
    rows = [GOOD | {"event_id": str(index), "response": str(hash((index, "x"))) * 5} for index in range(count)]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read(name: str, data: bytes, **config: Any) -> EventsResult:
    Path(name).write_bytes(data)
    result = ingest(EventsConfig.model_validate({"inputs": [name], "format": "thumbs_jsonl"} | config))
    validate("events", result.events)
    validate("rejects", result.rejects)
    return result


def row(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


FAULTS: dict[str, tuple[bytes, str]] = {
    "truncated": (good(9)[:-7], "broken_json"),
    "two objects": (good(9) * 2, "broken_json"),
    "single quotes": (good(9).replace(b'"', b"'"), "broken_json"),
    "trailing comma": (good(9)[:-1] + b",}", "broken_json"),
    "NaN as text": (row(prompt=float("nan")), "missing_field"),
    "NaN that is none": (b'{"x": NaNo, ' + good(9)[1:], "broken_json"),
    "plain text": (b"Traceback (most recent call last):", "broken_json"),
    "control character": (b'{"prompt": "a\tb", "response": "r", "feedback": "up"}', "broken_json"),
    "array": (b"[" + good(9) + b"]", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "number": (b"17", "not_an_object"),
    "invalid UTF-8": (b'{"prompt": "\xff\xfe", "response": "r", "feedback": "up"}', "invalid_utf8"),
    "Latin-1": ('{"prompt": "caf\u00e9", "response": "r", "feedback": "up"}'.encode("latin-1"), "invalid_utf8"),
    "encoded surrogate": (b'{"prompt": "\xed\xa0\x80", "response": "r", "feedback": "up"}', "invalid_utf8"),
    "lone surrogate": (b'{"prompt": "\\ud800", "response": "r", "feedback": "up"}', "lone_surrogate"),
    "surrogate in an unused field": (
        b'{"x": "\\udfff!", "prompt": "p", "response": "r", "feedback": "up"}',
        "lone_surrogate",
    ),
    "NUL byte": (b'{"prompt": "a\x00b", "response": "r", "feedback": "up"}', "nul_character"),
    "NUL escape": (row(prompt="a\x00b"), "nul_character"),
    "zeros": (bytes(300), "nul_character"),
    "duplicate key": (b'{"feedback": "down", ' + good(9)[1:], "duplicate_key"),
    "duplicate nested key": (b'{"x": {"a": 1, "a": 1}, ' + good(9)[1:], "duplicate_key"),
    "too long": (row(response="x" * LIMIT), "line_too_long"),
    "deep": (b'{"x": ' + b"[" * 100 + b"]" * 100 + b", " + good(9)[1:], "nesting_too_deep"),
    "10,000 deep": (b'{"x": ' + b"[" * 9_900 + b"]" * 9_900 + b", " + good(9)[1:], "nesting_too_deep"),
    "number as text": (row(prompt=17), "wrong_type"),
    "boolean as text": (row(response=True), "wrong_type"),
    "object as text": (row(response={"text": "r"}), "wrong_type"),
    "text as list": (row(prompt=["p"]), "wrong_type"),
    "missing field": (b'{"prompt": "p", "feedback": "up"}', "missing_field"),
    "no field at all": (b"{}", "missing_field"),
    "null text": (row(response=None), "missing_field"),
    "empty prompt": (row(prompt=""), "empty_prompt"),
    "blank completion": (row(response=" \n\t"), "empty_completion"),
    "unknown label": (row(feedback="meh"), "unknown_label"),
    "number as label": (row(feedback=1), "unknown_label"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_line_is_rejected_alone(fault: str) -> None:
    line, reason = FAULTS[fault]
    with_time = json.dumps(GOOD | {"event_id": "0", "timestamp": "2026-01-01T00:00:00Z"}).encode()
    result = read("log.jsonl", b"\n".join([with_time, line, good(1), line, good(2)]), max_line_bytes=LIMIT)
    assert result.rejects.select("source_file", "source_line", "reason").rows() == [
        ("log.jsonl", 2, reason),
        ("log.jsonl", 4, reason),
    ]
    assert sorted(result.events["source_line"]) == [1, 3, 5]
    assert result.counts == Counts(rows_in=5, gave=5, rows_out=3, rejected=2)
    assert all(0 < len(raw) <= 2_000 for raw in result.rejects["raw"])


SLIPS: dict[str, dict[str, Any]] = {
    "NaN": {"score": float("nan")},
    "ancient": {"timestamp": "0001-01-01T00:00:00Z"},
    "future": {"timestamp": "9999-12-31T23:59:59Z"},
    "no time": {"timestamp": "yesterday"},
    "object as id": {"user_id": {"id": 7}},
}


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.parametrize("name", ["log.jsonl", "log.json"])
def test_a_field_that_need_not_be_there_costs_no_vote_and_is_counted(name: str, slip: str) -> None:
    lines = [good(0), row(event_id="1", **SLIPS[slip]), good(2)]
    result = read(name, b"\n".join(lines) if name == "log.jsonl" else b"[" + b",".join(lines) + b"]")
    assert result.rejects.is_empty() and result.counts.rows_out == 3
    (counts,) = result.notes["remarks"].values()
    assert list(counts.values()) == [1] and len(result.notes["said"]) == 1


# Where these end cannot be told inside an array: the tests of arrays say what becomes of such damage.
ENDLESS = {"truncated", "two objects", "single quotes", "trailing comma", "zeros"}


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - ENDLESS))
def test_a_broken_element_of_an_array_is_rejected_alone(fault: str) -> None:
    line, reason = FAULTS[fault]
    with_time = json.dumps(GOOD | {"event_id": "0", "timestamp": "2026-01-01T00:00:00Z"}).encode()
    result = read("log.json", b"[" + b",\n".join([with_time, line, good(1)]) + b"]", max_line_bytes=LIMIT)
    assert result.rejects.select("source_line", "reason").rows() == [(2, reason)]
    assert sorted(result.events["source_line"]) == [1, 3]


def test_raw_shows_invalid_bytes_as_escapes() -> None:
    result = read("log.jsonl", good(0) + b'\n{"prompt": "\xff\x00"}\n')
    assert result.rejects["raw"].to_list() == ['{"prompt": "\\xff\\x00"}']


@pytest.mark.parametrize("name", ["log.jsonl", "log.json", "log.csv", "log.parquet", "log.jsonl.gz", "log.csv.zst"])
def test_an_empty_file(name: str) -> None:
    result = read(name, b"", format="auto")
    reason = "unreadable_parquet" if name.endswith("parquet") else "empty_file"
    assert result.rejects.select("source_line", "reason").rows() == [(0, reason)]
    assert result.events.is_empty()


def pack_zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


@pytest.mark.parametrize(("name", "pack"), [("log.jsonl.gz", gzip.compress), ("log.jsonl.zst", pack_zstd)])
def test_a_truncated_stream_keeps_its_rows_before_the_end(name: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(many(20_000))
    result = read(name, packed[: len(packed) // 2])
    (reject,) = result.rejects.to_dicts()
    assert reject["reason"] == "truncated_stream"
    assert result.counts.rows_out == reject["source_line"] - 1 > 5_000


@pytest.mark.parametrize(("name", "pack"), [("log.jsonl.gz", gzip.compress), ("log.jsonl.zst", pack_zstd)])
def test_a_damaged_stream_keeps_its_rows_before_the_damage(name: str, pack: Callable[[bytes], bytes]) -> None:
    first, second = pack(many(2_000)), pack(good(9_999) + b"\n")
    result = read(name, first + second[:14] + b"\xff\xff\xff\xff" + second[18:])
    assert result.rejects["reason"].to_list() == ["corrupt_stream"]
    assert result.counts.rows_out == 2_000


def test_a_gzip_whose_checksum_is_wrong_keeps_its_rows_and_says_so() -> None:
    packed = bytearray(gzip.compress(many(50)))
    packed[-5] ^= 0xFF
    result = read("log.jsonl.gz", bytes(packed))
    assert result.rejects["reason"].to_list() == ["corrupt_stream"]


@pytest.mark.parametrize(("name", "pack"), [("log.jsonl.gz", gzip.compress), ("log.jsonl.zst", pack_zstd)])
def test_a_stream_that_unfolds_too_far_is_left(name: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(good(0) + b"\n" + b" " * 64 * 1024 * 1024 + b"\n" + good(1))
    result = read(name, bomb)
    assert result.rejects["reason"].to_list() == ["decompression_ratio"]
    assert result.events["source_line"].to_list() == [1]


def test_a_parquet_file_cut_in_half(folder: Path) -> None:
    pl.DataFrame([GOOD] * 100).write_parquet("whole.parquet")
    data = Path("whole.parquet").read_bytes()
    Path("logs").mkdir()
    Path("logs/cut.parquet").write_bytes(data[: len(data) // 2])
    Path("logs/whole.parquet").write_bytes(data)
    result = ingest(EventsConfig(inputs=("logs",)))
    assert result.rejects.select("source_file", "reason").rows() == [("logs/cut.parquet", "unreadable_parquet")]
    assert result.events["deliveries"].to_list() == [100]


def test_a_parquet_file_with_a_damaged_page_keeps_the_groups_around_it() -> None:
    rows = [GOOD | {"event_id": str(index), "response": str(hash((index, "y"))) * 3} for index in range(4_000)]
    pl.DataFrame(rows).write_parquet("log.parquet", row_group_size=1_000, compression="zstd")
    offset = pq.ParquetFile("log.parquet").metadata.row_group(2).column(0).data_page_offset
    data = bytearray(Path("log.parquet").read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    result = read("log.parquet", bytes(data))
    assert result.rejects["reason"].to_list() == ["unreadable_parquet"]
    assert result.rejects["source_line"].to_list() == [2_001]
    assert result.counts.rows_out == 3_000
    assert result.rejects["detail"][0].startswith("1000 rows of row group 2")


def test_a_parquet_file_that_unfolds_too_far_is_left() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), ["x" * 10_000])
    table = pa.table({name: text for name in ("prompt", "response", "feedback")})
    pq.write_table(table, "log.parquet", compression="zstd")
    assert Path("log.parquet").stat().st_size < 20_000
    result = read("log.parquet", Path("log.parquet").read_bytes())
    assert "decompression_ratio" in result.rejects["reason"].to_list()
    assert result.counts.rows_in < 500


def test_columns_of_other_types_in_parquet() -> None:
    pl.DataFrame({"prompt": [1, 2], "response": [b"x", b"y"], "feedback": [1.5, 2.5]}).write_parquet("log.parquet")
    result = read("log.parquet", Path("log.parquet").read_bytes())
    assert result.rejects["reason"].to_list() == ["wrong_type", "wrong_type"]


def test_a_folder_of_mixed_formats_and_faults(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("THUMBLINE_CACHE", str(folder / "cache"))
    Path("logs").mkdir()
    pl.DataFrame([GOOD | {"event_id": "parquet"}]).write_parquet("logs/a.parquet")
    Path("logs/b.csv").write_text("event_id,prompt,response,feedback\ncsv,p,r,up\nbad\n", encoding="utf-8")
    Path("logs/c.jsonl.gz").write_bytes(gzip.compress(row(event_id="gz") + b"\n"))
    Path("logs/d.ndjson.zst").write_bytes(pack_zstd(row(event_id="zst") + b"\n"))
    Path("logs/e.json").write_bytes(b"[" + row(event_id="array") + b"]")
    Path("logs/f.jsonl").write_bytes(b"\xff\xfe" + "x".encode("utf-16-le") * 50)
    Path("logs/g.jsonl").write_bytes(row(prompt="q", chosen="a", rejected="b"))
    Path("glob-1.jsonl").write_bytes(row(event_id="glob") + b"\n{")
    store = fsspec.filesystem("memory")
    store.pipe("/far/h.jsonl.gz", gzip.compress(row(event_id="far") + b"\n{\n"))
    result = ingest(EventsConfig(inputs=("logs", "glob-*.jsonl", "memory://far/*.gz")))
    store.rm("/far", recursive=True)
    assert result.notes["formats"] == {"thumbs_jsonl": 7, "trl": 2}
    assert result.counts == Counts(rows_in=12, gave=13, rows_out=9, rejected=4)
    assert result.rejects.select("source_file", "source_line", "reason").rows() == [
        ("glob-1.jsonl", 2, "broken_json"),
        ("logs/b.csv", 3, "wrong_column_count"),
        ("logs/f.jsonl", 1, "broken_json"),
        ("memory:///far/h.jsonl.gz", 2, "broken_json"),
    ]


def test_missing_and_extra_fields_and_fields_in_another_order() -> None:
    rows = [
        row(event_id="1", extra={"deep": [1, {"a": None}]}),
        row(event_id="2", extra="x", more=[1, 2]),
        json.dumps({name: GOOD[name] for name in ("prompt", "response", "feedback")}).encode(),
        json.dumps(dict(reversed((GOOD | {"event_id": "4"}).items()))).encode(),
    ]
    result = read("log.jsonl", b"\n".join([good(0), *rows]))
    assert result.rejects.is_empty()
    assert sorted(result.events["source_line"]) == [1, 2, 3, 4, 5]


def test_a_line_that_spans_the_parts_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers read ranges of bytes: wherever these end, a row belongs to one of them and keeps its number."""
    lines = [
        good(0),
        row(response="x" * LIMIT),
        b"",
        good(1),
        b"broken",
        row(event_id="2", response="y" * 900),
        good(3),
    ]
    data = b"\xef\xbb\xbf" + b"\n".join(lines)
    whole = read("log.jsonl", data, max_line_bytes=LIMIT)
    assert whole.rejects.select("source_line", "reason").rows() == [(2, "line_too_long"), (5, "broken_json")]
    assert sorted(whole.events["source_line"]) == [1, 4, 6, 7]
    for unit_bytes in (61, 100, 997, LIMIT - 3):
        cut = read("log.jsonl", data, max_line_bytes=LIMIT, unit_bytes=unit_bytes, workers=1)
        assert cut.events.equals(whole.events)
        assert cut.rejects.equals(whole.rejects)
        assert (cut.counts, cut.notes) == (whole.counts, whole.notes)


def test_a_worker_that_is_killed_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match=r"ended without a result: .* Set events.workers to 1"):
        list(map_in_processes(os._exit, [3, 3, 3], processes=2))


def test_an_error_in_a_worker_is_raised_here() -> None:
    with pytest.raises(InputError, match="no such file"):
        list(map_in_processes(read_parquet, [Path("none.parquet")] * 3, processes=2))


SECRETS = {"prompt": "my secret prompt", "response": "my secret answer", "user_id": "ann.secret@example.org"}


@pytest.mark.parametrize("format_name", ["auto", "thumbs_jsonl", "trl", "convai2"])
def test_no_text_and_no_user_reaches_a_log_line_or_an_error(
    format_name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    lines = [json.dumps(SECRETS | change) for change in ({"feedback": "meh"}, {"feedback": "up", "timestamp": "x"}, {})]
    lines += [lines[0][:60], lines[0].replace("secret", "secret\\ud800")]
    for data in ("\n".join(lines), json.dumps(SECRETS), json.dumps(SECRETS | {"feedback": "up", "vote": "up"})):
        try:
            rejects = read("log.jsonl", data.encode(), format=format_name).rejects
            assert "secret" not in "".join(rejects["detail"])
        except PipelineError as error:
            assert "secret" not in str(error)
    printed = capfd.readouterr()
    assert "secret" not in caplog.text + printed.out + printed.err


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_soaked(["log.jsonl", "log.json", "log.csv", "log.jsonl.gz"], ["log.csv"]))
def test_a_line_of_200_megabytes_takes_little_memory(name: str) -> None:
    long = b'{"prompt": "' + b"0123456789abcdef" * 13_000_000 + b'"}'
    rows = [good(0), long, good(1)]
    data = {
        "log.jsonl": b"\n".join(rows),
        "log.json": b"[" + b",".join(rows) + b"]",
        "log.csv": b'prompt,response,feedback\np,r,up\np,"' + long.replace(b'"', b"") + b'",up\nq,r,up\n',
        "log.jsonl.gz": zlib.compress(b"\n".join(rows), wbits=31),
    }[name]
    Path(name).write_bytes(data)
    code = (
        "import resource, sys\n"
        "from thumbline.pipeline.config import EventsConfig\n"
        "from thumbline.pipeline.stages.events import ingest\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"result = ingest(EventsConfig(inputs=({name!r},), format='thumbs_jsonl', workers=1))\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(result.counts.rows_out, result.rejects['reason'].to_list(), (after - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows_out, rest = done.stdout.split(" ", 1)
    reasons, grown_mib = rest.rsplit(" ", 1)
    assert int(grown_mib) < 150, done.stdout
    if name.endswith("gz"):
        assert (rows_out, reasons) == ("1", "['decompression_ratio']")
    else:
        assert (rows_out, reasons) == ("2", "['line_too_long']")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0
