"""Numbers, times, headers and names at the edges of what can be held: they cost no vote, and no terminal or page."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import thumbline
from tests.unit.evaluation.rows import margins, outcome, scored, subject
from thumbline.pipeline.api.settings import run_config
from thumbline.pipeline.cli.main import app
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.evaluation.outcome import write_outcome
from thumbline.pipeline.stages.events import EventsResult, ingest

GOOD = {"prompt": "p", "response": "r", "feedback": "up", "user_id": "ann", "timestamp": "2026-01-01T00:00:00Z"}
HEADER = "prompt,response,feedback"
TIMES = pa.timestamp("us")


def read(path: Path) -> EventsResult:
    return ingest(EventsConfig(inputs=(str(path),), format="thumbs_jsonl", workers=1))


def line(field: str, number: str) -> str:
    rest = {name: value for name, value in GOOD.items() if name != field} | {"prompt": "odd"}
    return f'{json.dumps(rest)[:-1]}, "{field}": {number}}}'


def parquet(path: Path, field: str, values: Any) -> Path:
    columns = {name: pa.array([value] * len(values)) for name, value in GOOD.items()}
    columns["prompt"] = pa.array([f"p{place}" for place in range(len(values))])
    pq.write_table(pa.table(columns | {field: values}), path)
    return path


@pytest.mark.parametrize("number", ["1" * 40, "-" + "9" * 5_000, "1e400", "-1E+999999999999", '{"a": [1e400, 2.5]}'])
@pytest.mark.parametrize("name", ["log.jsonl", "log.json"])
def test_a_number_of_any_size_in_a_field_that_nothing_reads_costs_no_vote(
    tmp_path: Path, name: str, number: str
) -> None:
    rows = [json.dumps(GOOD), line("score", number), json.dumps(GOOD | {"prompt": "q"})]
    text = "\n".join(rows) if name == "log.jsonl" else f"[{','.join(rows)}]"
    (tmp_path / name).write_text(text)
    result = read(tmp_path / name)
    assert result.rejects.is_empty() and result.counts.rows_out == 3


def test_a_number_out_of_range_is_the_text_that_was_written(tmp_path: Path) -> None:
    rows = [line("model", "9" * 5_000), line("model", "1e400"), line("feedback", "1e400"), line("timestamp", "1e400")]
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    result = read(tmp_path / "log.jsonl")
    assert set(result.events["model"]) == {"9" * 5_000, "1e400", None}
    assert result.rejects.select("source_line", "reason").rows() == [(3, "unknown_label")]
    assert result.notes["remarks"]["unreadable_field"] == {"timestamp: no time": 1}


BILLIONS = pa.array([2**31 - 1, -(2**31), 0], pa.int32())
EXTREMES = pa.array([2**63 - 1, -(2**63) + 1, 0], pa.int64())
ODD = {
    "decimal256": pa.array([Decimal(10**60)] * 3, pa.decimal256(70, 2)),
    "128 bits": pa.array([b"\xff" * 16] * 3, pa.binary(16)),
    "unsigned": pa.array([2**64 - 1] * 3, pa.uint64()),
    "not finite": pa.array([float("nan"), float("inf"), float("-inf")]),
    "days": BILLIONS.cast(pa.date32()),
    "microseconds": EXTREMES.cast(TIMES),
    "nanoseconds": EXTREMES.cast(pa.timestamp("ns")),
    "of a zone": EXTREMES.cast(pa.timestamp("us", tz="Europe/Zurich")),
    "of an unknown zone": EXTREMES.cast(pa.timestamp("us", tz="Mars/Phobos")),
    "durations": EXTREMES.cast(pa.duration("us")),
    "inside": pa.array([{"d": 2**31 - 1}, {"d": 1}, None], pa.struct([("d", pa.int32())])).cast(
        pa.struct([("d", pa.date32())])
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_value_without_a_form_in_a_column_that_nothing_reads_costs_no_vote(tmp_path: Path, kind: str) -> None:
    result = read(parquet(tmp_path / "log.parquet", "extra", ODD[kind]))
    assert result.rejects.is_empty() and result.counts.rows_out == 3


@pytest.mark.parametrize("field", ["user_id", "timestamp", "model", "event_id"])
@pytest.mark.parametrize("kind", ODD)
def test_in_a_column_that_is_read_it_leaves_the_field_empty_and_is_counted(
    tmp_path: Path, kind: str, field: str
) -> None:
    result = read(parquet(tmp_path / "log.parquet", field, ODD[kind]))
    assert result.rejects.is_empty() and result.counts.gave == 3
    if kind in ("days", "microseconds", "inside"):
        assert any(field in what for what in result.notes["remarks"]["unreadable_field"])


@pytest.mark.parametrize("zone", ["UTC", "utc", "+01:00", "-05:30", "Mars/Phobos"])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_a_moment_is_read_whatever_its_zone_is_called(tmp_path: Path, zone: str, unit: str) -> None:
    begin = 1_767_225_600 * (10**6 if unit == "us" else 10**9)
    times = pa.array([begin], pa.int64()).cast(pa.timestamp(unit, tz=zone))
    result = read(parquet(tmp_path / "log.parquet", "timestamp", times))
    assert [moment.isoformat() for moment in result.events["created_at"]] == ["2026-01-01T00:00:00+00:00"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (f"{HEADER},,,\np,r,up,,,\n", 1),
        (f",{HEADER},\n0,p,r,up,x\n", 1),
        (f"\ufeff\ufeff{HEADER}\np,r,up\n", 1),
        ("prompt,\ufeffresponse,\u00a0feedback\np,r,up\n", 1),
        (f'{HEADER}\np,r,up\n\ufeff"q, too",r,up\n', 2),
        (f"{HEADER},a\x1b[31mb,\u202et\np,r,up,x,y\n", 1),
        (f"{HEADER},{'x' * 100_000}\np,r,up,x\n", 1),
        (f"{HEADER},{','.join(f'c{place}' for place in range(10_000))}\np,r,up{',x' * 10_000}\n", 1),
    ],
    ids=["unnamed at the end", "unnamed around", "two marks", "mark inside", "mark below", "control", "long", "wide"],
)
def test_an_odd_header_is_read(tmp_path: Path, text: str, rows: int) -> None:
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    result = read(tmp_path / "log.csv")
    assert result.rejects.is_empty() and result.counts.rows_out == rows
    assert all("\ufeff" not in message["content"] for prompt in result.events["prompt"] for message in prompt)
    assert all(len(sentence) < 1_500 for sentence in result.notes["said"])


def test_unnamed_columns_of_a_table_are_told_by_their_places(tmp_path: Path) -> None:
    texts = [pa.array([text]) for text in ("p", "r", "up", "x", "y")]
    pq.write_table(pa.Table.from_arrays(texts, names=[*HEADER.split(","), "", ""]), tmp_path / "log.parquet")
    result = read(tmp_path / "log.parquet")
    assert result.counts.rows_out == 1
    assert result.notes["remarks"] == {"unread_column": {"column 4": 1, "column 5": 1}}


def test_lines_of_files_that_were_put_together_keep_their_marks_from_costing_a_row(tmp_path: Path) -> None:
    mark = "\ufeff"
    lines = [mark + json.dumps(GOOD), mark + json.dumps(GOOD | {"prompt": "q"})]
    (tmp_path / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert read(tmp_path / "log.jsonl").counts.rows_out == 2


def test_names_that_steer_a_terminal_or_a_page_are_shown_in_the_report(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    name = "org/m[/red]\x1b[31m\u202e模型<b>$x_{\\frac$\r"
    rows = subject(scored("untrained", [0.0] * 12), scored(name, margins(8, 4)))
    write_outcome(outcome(rows, draws=100), tmp_path, "command")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not set(page) & {"\x1b", "\u202e"} and "<b>$x" not in page
    assert "org/m[/red][U+001B][31m[U+202E]模型&lt;b&gt;$x_{\\frac$" in page.replace("<wbr>", "")
    assert not [str(told.message) for told in recwarn if "Glyph" in str(told.message)]
    assert name in pl.read_parquet(tmp_path / "scored_pairs.parquet")["model"].to_list()


@pytest.mark.parametrize("name", ["*", "?", "out[1]", "[a-", "-x", "~", "\x1b[31m", "a\n b", "null", ".a.tmp"])
def test_a_run_has_any_name_that_a_folder_has(tmp_path: Path, name: str) -> None:
    votes = [(f"prompt {number}", vote) for number in range(12) for vote in ("up", "down")]
    rows = [GOOD | {"prompt": prompt, "response": f"worth {vote}", "feedback": vote} for prompt, vote in votes]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    # A library that takes the name for a pattern, or for a path from the home, would find these instead.
    (tmp_path / "others" / "o1").mkdir(parents=True)
    (tmp_path / "others" / "out1").mkdir()
    place = tmp_path / "others" / name
    made = CliRunner().invoke(app, ["prepare", str(tmp_path / "log.jsonl"), "-o", str(place)])
    assert made.exit_code == 0, made.output
    assert place.parent == tmp_path / "others" and (place / "data_report.html").is_file()
    assert pl.read_parquet((place / "events" / "events.parquet").read_bytes()).height == 24
    assert thumbline.load(place).tables["events"].height == 24
    for command in (["status"], ["rejects"], ["export", "--for", "openai", "-o", str(tmp_path / f"x{name}")]):
        looked = CliRunner().invoke(app, [command[0], str(place), *command[1:]])
        assert looked.exit_code == 0 and "\x1b" not in looked.output, looked.output
    assert [list((tmp_path / "others" / other).iterdir()) for other in ("o1", "out1")] == [[], []]


@pytest.mark.parametrize(("output", "name"), [("/", "/"), ("..", "..")])
def test_a_folder_without_a_name_of_its_own_is_refused(output: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{re.escape(name)}: a run's folder has a name of its own"):
        run_config([], output, "demo")


def test_a_run_at_an_address_is_named_as_every_store_takes_it() -> None:
    with pytest.raises(ConfigError, match=r"name 'a\*': a run at an address is named by letters, digits"):
        run_config(["x"], "s3://bucket/runs/a*", "demo")
