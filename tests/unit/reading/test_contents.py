"""Files are told by their first bytes: what is read, and the sentence on what is not."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.reading import streams
from thumbline.pipeline.reading.files import FileSource
from thumbline.pipeline.reading.records import Record
from thumbline.pipeline.stages.events import EventsResult, ingest

ROWS: list[dict[str, Any]] = [
    {"prompt": "Which tea has no caffeine?", "completion": "Rooibos, for one.", "feedback": "up"},
    {"prompt": "Where is the café?", "completion": "Round the corner; „left“ 🙂", "feedback": "down"},
    {"prompt": "How long?", "completion": "Four minutes.", "feedback": None},
]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n"


def separated(sign: str, newline: str = "\n") -> str:
    cells = [[f'"{cell}"' if sign in (cell or "") else cell or "" for cell in row.values()] for row in ROWS]
    return newline.join(sign.join(row) for row in [list(ROWS[0]), *cells]) + newline


def arrow(kind: Callable[..., Any]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pl.DataFrame(ROWS).to_arrow()
    with kind(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def parquet() -> bytes:
    sink = io.BytesIO()
    pl.DataFrame(ROWS).write_parquet(sink)
    return sink.getvalue()


READ: dict[str, bytes] = {
    "semicolons.csv": separated(";").encode(),
    "excel.csv": b"\xef\xbb\xbf" + separated(";", "\r\n").encode(),
    "tabs.csv": separated("\t").encode(),
    "tabs.tsv": separated("\t").encode(),
    "stated.csv": b"sep=|\r\n" + separated("|", "\r\n").encode(),
    "spaces.csv": separated(",").replace("prompt,completion", " prompt , completion").encode(),
    "mac.csv": separated(",", "\r").encode(),
    "mac.jsonl": LINES.replace("\n", "\r").encode(),
    "unnamed.txt": separated(";").encode(),
    "lines.txt": LINES.encode(),
    "separated.jsonl": separated(",").encode(),
    "separated.json": separated(";").encode(),
    "utf16.jsonl": LINES.encode("utf-16"),
    "utf16be.csv": b"\xfe\xff" + separated("\t").encode("utf-16-be"),
    "unmarked.jsonl": LINES.encode("utf-16-le"),
    "utf16.json.gz": gzip.compress(json.dumps(ROWS).encode("utf-16")),
    "gzip.jsonl": gzip.compress(LINES.encode()),
    "zstd.csv": bytes(pa.compress(separated(",").encode(), codec="zstd", asbytes=True)),
    "pretty.jsonl": "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
    "array.jsonl": json.dumps(ROWS, indent=1).encode(),
    "rows.jsonl": ("[" + ",\n".join(map(json.dumps, ROWS)) + "]\n").encode(),
    "array.csv": json.dumps(ROWS).encode(),
    "wrapped.json": json.dumps({"total": 3, "data": ROWS, "next": {"page": [1, 2]}}).encode(),
    "wrapped_pretty.json": json.dumps({"meta": {"a": ["]", "{"]}, "rows": ROWS}, indent=4).encode(),
    "file.arrow": arrow(pa.ipc.new_file),
    "stream.arrow": arrow(pa.ipc.new_stream),
    "arrow_file.jsonl": arrow(pa.ipc.new_file),
    "parquet.csv": parquet(),
    "capitals.csv": separated(",").replace("prompt,completion,feedback", "Prompt,COMPLETION,Feedback").encode(),
}  # fmt: skip


def read(path: Path, data: bytes, **config: Any) -> EventsResult:
    path.write_bytes(data)
    return ingest(EventsConfig.model_validate({"inputs": [str(path)], "workers": 1} | config))


def said(result: EventsResult) -> list[tuple[str, str, str]]:
    rows = result.events.select(pl.col("prompt").list.first().struct.field("content"), "completion", "vote")
    return sorted((prompt, completion, str(vote)) for prompt, completion, vote in rows.iter_rows())


EXPECTED = sorted((row["prompt"], row["completion"], row["feedback"] or "unrated") for row in ROWS)


@pytest.mark.parametrize("name", READ)
def test_every_row_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    result = read(tmp_path / name, READ[name])
    assert result.rejects.is_empty() and said(result) == EXPECTED


@pytest.mark.parametrize("name", ["utf16.jsonl", "gzip.jsonl", "mac.jsonl", "zstd.csv"])
def test_a_file_that_cannot_be_cut_between_lines_is_read_as_a_whole(tmp_path: Path, name: str) -> None:
    assert said(read(tmp_path / name, READ[name], unit_bytes=50)) == EXPECTED


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7])
@pytest.mark.parametrize("name", ["utf16.jsonl", "mac.csv", "wrapped_pretty.json", "wrapped.json", "array.jsonl"])
def test_wherever_chunks_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk_bytes: int) -> None:
    monkeypatch.setattr(streams, "_CHUNK_BYTES", chunk_bytes)
    assert said(read(tmp_path / name, READ[name])) == EXPECTED


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("log.jsonl"), io.BytesIO())
    return stream.getvalue()


def database(path: Path) -> bytes:
    with sqlite3.connect(path) as connection:
        connection.execute("create table feedback (prompt text)")
    return path.read_bytes()


FOREIGN: dict[str, tuple[bytes, str]] = {
    "book.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Excel workbook .* save the sheet as CSV"),
    "packed.jsonl.bz2": (bz2.compress(LINES.encode()), "bzip2 file.* bunzip2 packed.jsonl.bz2"),
    "packed.jsonl": (lzma.compress(LINES.encode()), "xz file"),
    "log.tar": (tar(), "a tar archive.* tar -xf log.tar"),
    "log.tar.gz": (gzip.compress(tar()), "a compressed tar archive"),
    "rows.pkl": (pickle.dumps(ROWS), "a pickle, which may run code"),
    "log.arrow.gz": (gzip.compress(READ["file.arrow"]), "a compressed table"),
    "page.json": (b"\n<!DOCTYPE HTML><html></html>", "an HTML page.* login page"),
    "pointer.parquet": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS .* git lfs pull"),
    "dump.csv": (b"-- PostgreSQL database dump\n\nSET x = 0;\n", "an SQL dump"),
    "wide.jsonl": (LINES.encode("utf-32"), "a text in UTF-32"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_named_with_the_way_out_before_any_row(tmp_path: Path, name: str) -> None:
    data, sentence = FOREIGN[name]
    with pytest.raises(InputError, match=sentence):
        read(tmp_path / name, data)
    with pytest.raises(InputError, match=sentence):
        read(tmp_path / name, data, format="trl")


def test_a_database_and_a_workbook_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="log.json: the file is a SQLite database.* sqlite3 log.json -json"):
        read(tmp_path / "log.json", database(tmp_path / "made.db"))
    book = zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""})
    with pytest.raises(InputError, match="log.xlsx: an Excel workbook, which is not read; save the sheet as CSV"):
        read(tmp_path / "log.xlsx", book)


def test_in_a_folder_such_a_file_is_a_reject_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.jsonl").write_text(LINES)
    (tmp_path / "logs" / "b.json").write_bytes(database(tmp_path / "made.db"))
    result = ingest(EventsConfig(inputs=(str(tmp_path / "logs"),), workers=1))
    assert said(result) == EXPECTED
    assert result.rejects.select("reason", "source_line").rows() == [("unknown_format", 0)]
    assert "SQLite" in result.rejects["detail"][0]


def test_another_encoding_is_read_where_it_is_stated_and_only_there(tmp_path: Path) -> None:
    rows = [row | {"completion": f"Größe {number} “x”"} for number, row in enumerate(ROWS)]
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("cp1252")
    plain = read(tmp_path / "log.jsonl", data)
    assert plain.rejects["reason"].to_list() == ["invalid_utf8"] * 3
    stated = read(tmp_path / "log.jsonl", data, options={"encoding": "cp1252"})
    assert sorted(stated.events["completion"]) == [row["completion"] for row in rows]
    # A byte that the encoding does not have costs its own row.
    broken = read(tmp_path / "log.jsonl", data.replace(b"1 ", b"\x81 "), options={"encoding": "windows-1252"})
    assert broken.rejects.select("source_line", "reason").rows() == [(2, "invalid_utf8")]
    with pytest.raises(ConfigError, match="encoding 'cp9999' is not known"):
        read(tmp_path / "log.jsonl", data, options={"encoding": "cp9999"})


def test_half_a_surrogate_pair_in_utf16_costs_its_row_and_a_cut_its_end(tmp_path: Path) -> None:
    first, second, third = LINES.splitlines()
    data = "\n".join([first, second.replace("🙂", "\ud83d"), third]).encode("utf-16-le", "surrogatepass")
    result = read(tmp_path / "log.jsonl", b"\xff\xfe" + data)
    assert result.rejects.select("source_line", "reason").rows() == [(2, "invalid_utf8")]
    cut = read(tmp_path / "log.jsonl", LINES.encode("utf-16")[:-1])
    assert cut.rejects.select("source_line", "reason").rows() == [(3, "truncated_stream")] and len(cut.events) == 2


def test_a_damaged_first_byte_leaves_a_file_of_lines_as_lines(tmp_path: Path) -> None:
    for byte in (b"[", b"{", b"\xff", b"<"):
        result = read(tmp_path / "log.jsonl", byte + LINES.encode())
        assert result.rejects["source_line"].to_list() == [1] and len(result.events) == 2


def test_a_line_feed_in_a_cell_of_a_file_with_carriage_returns_is_text(tmp_path: Path) -> None:
    data = b'prompt,completion,feedback\rq,"a\nb",up\rq,"c\rd",down\r'
    assert sorted(read(tmp_path / "log.csv", data).events["completion"]) == ["a\nb", "c\rd"]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [{"x": 1}], "b": [{"y": 1}]},
        {"a": [1, 2]},
        {"a": []},
        {"a": {"b": [{"x": 1}]}},
    ],
)
def test_an_object_without_exactly_one_list_of_objects_is_a_row(tmp_path: Path, value: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"no format fits the fields"):
        read(tmp_path / "log.json", json.dumps(value).encode())


def test_a_row_that_is_known_as_it_is_stays_a_row(tmp_path: Path) -> None:
    row = {"prompt": "p", "completion": "c", "feedback": "up", "sources": [{"prompt": "x", "completion": "y"}]}
    assert said(read(tmp_path / "log.json", json.dumps(row).encode())) == [("p", "c", "up")]


def test_a_wrapped_list_may_be_larger_than_a_row(tmp_path: Path) -> None:
    data = json.dumps({"data": [row | {"n": n} for n in range(200) for row in ROWS]}).encode()
    result = read(tmp_path / "log.json", data, max_line_bytes=4_000)
    assert result.rejects.is_empty() and result.notes["records"] == 600


def test_rows_of_a_damaged_arrow_file_up_to_the_damage(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    table = pl.DataFrame({"a": [f"text {number}" for number in range(1_000)]}).to_arrow()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    data = sink.getvalue().to_pybytes()
    path = tmp_path / "x.arrow"
    path.write_bytes(data[: len(data) // 2])
    rows = list(FileSource(path, "x.arrow", 1_000).rows())
    kept = [row for row in rows if isinstance(row, Record)]
    assert len(kept) >= 300 and len(kept) % 100 == 0
    assert [(row.line, row.reason) for row in rows[len(kept) :]] == [(len(kept) + 1, "unreadable_arrow")]  # type: ignore[union-attr]
    path.write_bytes(data[:7])
    (reject,) = FileSource(path, "x.arrow", 1_000).rows()
    assert (reject.line, reject.reason) == (0, "unreadable_arrow")  # type: ignore[union-attr]


def test_an_archive_is_a_folder_of_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    data = zipped(
        {
            "day1/jsonl": b"",
            "day1/b.jsonl": LINES.encode(),
            "day2/c.csv": separated(";").encode(),
            "read.me": b"x",
            "__MACOSX/b.jsonl": b"x",
            "day1/.hidden.jsonl": b"x",
        }
    )
    monkeypatch.chdir(tmp_path)
    result = read(Path("logs.zip"), data)
    assert result.notes["records"] == 6 and said(result) == EXPECTED
    assert set(result.events["source_file"]) == {"logs.zip/day1/b.jsonl"}
    assert result.notes["skipped"] == {".me": 1, "without suffix": 1}
    assert result.notes["said"][0] == "2 files were not read: .me 1, without suffix 1"


def test_archives_that_cannot_be_read_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "logs" / "logs.zip"
    path.parent.mkdir()
    whole = zipped({"a.jsonl": LINES.encode()})
    with pytest.raises(InputError, match=r"a zip archive without a log; it holds: \.md 1"):
        read(path, zipped({"a.md": b"x"}))
    with pytest.raises(InputError, match="damaged"):
        read(path, whole[: len(whole) // 2])
    with pytest.raises(InputError, match="grows to more than 200 times"):
        read(path, zipped({"a.jsonl": b" " * (8 << 20)}))
    locked = bytearray(whole)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    with pytest.raises(InputError, match="encrypted; unpack it with its password"):
        read(path, bytes(locked))
    # In a folder they cost no other file.
    (path.parent / "a.jsonl").write_text(LINES)
    (path.parent / "pictures.zip").write_bytes(zipped({"a.png": b"x", "b.png": b"x"}))
    result = ingest(EventsConfig(inputs=(str(path.parent),), workers=1))
    assert said(result) == EXPECTED and result.notes["skipped"] == {".zip without a log": 1}
    (reject,) = result.rejects.to_dicts()
    assert reject["source_file"].endswith("logs.zip") and "a zip archive, which is not read" in reject["detail"]


@pytest.mark.parametrize("name", ["log.arrow", "log.parquet"])
def test_a_column_whose_name_is_no_text_makes_the_table_unreadable(tmp_path: Path, name: str) -> None:
    whole = READ["stream.arrow"] if name.endswith("arrow") else READ["parquet.csv"]
    result = read(tmp_path / name, whole.replace(b"prompt", b"promp\xc0"))
    assert result.rejects["reason"].to_list() == [f"unreadable_{name[4:]}"]
