"""Every file of every joined format is detected as its own, and no other format's file is."""

from pathlib import Path

import pytest

from pipeline.config import EventsConfig
from pipeline.importers.base import Sample
from pipeline.importers.joins import sample_rows
from pipeline.importers.registry import IMPORTERS, detect_format
from pipeline.stages.events import ingest
from tests.unit.importers.joined_fixtures import FILES
from tests.unit.importers.joined_logs import Row, read, votes, write
from tests.unit.importers.test_registry import SAMPLES

EVERY_FILE = [(name, file) for name, files in FILES.items() for file in files]


@pytest.mark.parametrize(("name", "file"), EVERY_FILE)
def test_votes_and_texts_are_each_detected_as_their_own_format(tmp_path: Path, name: str, file: str) -> None:
    (path,) = write(tmp_path, {file: FILES[name][file]})
    assert detect_format(Path(path)) == name


@pytest.mark.parametrize(("name", "file"), EVERY_FILE)
def test_no_other_joined_format_would_take_the_file(name: str, file: str) -> None:
    sample = Sample(file, FILES[name][file])
    assert [other for other in FILES if IMPORTERS[other].detect(sample, {})] == [name]


def test_each_of_these_formats_reads_all_its_files_together() -> None:
    assert [name for name in FILES if IMPORTERS[name].read_together is None] == []


def test_a_folder_of_every_formats_files_is_each_formats_own_events(tmp_path: Path) -> None:
    expected = {name: len(votes(read(tmp_path / name, files))) for name, files in FILES.items()}
    result = ingest(EventsConfig(inputs=(str(tmp_path),)))
    assert result.notes["formats"] == expected
    assert result.rejects.is_empty()


THUMBS_LOGS: list[Row] = [
    {
        "id": "1",
        "conversation_id": "c",
        "query": "q",
        "answer": "a",
        "rating": "up",
        "user_id": "u",
        "created_at": "2026-01-01",
    },
    {"id": "1", "trace_id": "t", "input": "q", "output": "a", "feedback": "up", "session_id": "s", "model": "m"},
    {"request_id": "r", "prompt": "q", "response": "a", "rating": "up", "value": 1, "comment": "", "name": "n"},
    {"message_id": "m", "conversation_id": "c", "question": "q", "reply": "a", "rating": "down", "content": "x"},
    {"run_id": "r", "span_id": "s", "prompt": "q", "completion": "a", "vote": "up", "score": 1, "source": "app"},
]


@pytest.mark.parametrize("row", THUMBS_LOGS)
def test_a_product_log_with_ids_of_traces_stays_one(tmp_path: Path, row: Row) -> None:
    assert votes(read(tmp_path, {"log.jsonl": [row]}))[0][:2] == ("q", "a")
    (path,) = write(tmp_path, {"log.jsonl": [row]})
    assert detect_format(Path(path)) == "thumbs_jsonl"


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_other_formats_are_not_taken(name: str) -> None:
    if name not in FILES:
        assert not [other for other in FILES if IMPORTERS[other].detect(Sample("x", [SAMPLES[name]]), {})]


def test_a_list_inside_an_interfaces_answer_is_its_rows() -> None:
    rows = [{"id": "1"}, {"id": "2"}]
    assert sample_rows(Sample("x", [{"data": rows, "meta": {}}, {"id": "3", "data": rows}])) == [
        *rows,
        {"id": "3", "data": rows},
    ]
