"""What is told of a stage whose manifest was damaged: one sentence, and nothing is raised."""

import pytest

from tests.unit.ingest.test_reasons import manifest
from thumbline.pipeline.line import stage_lines
from thumbline.pipeline.storage.manifests import Counts

EXAMPLE = {"source_file": "log.jsonl", "source_line": 3, "detail": "truncated"}


NOTES = {"reject_reasons": {"broken_json": 2}, "reject_examples": {"broken_json": EXAMPLE}}


def told_of(notes):
    return stage_lines(manifest(Counts(rows_in=3, rows_out=1, rejected=2), **(NOTES | notes)))


@pytest.mark.parametrize(
    "notes",
    [
        {"reject_examples": {"broken_json": {"source_file": "log.jsonl", "source_line": 3}}},
        {"reject_examples": {"broken_json": EXAMPLE | {"source_line": "\U0001f44d"}}},
        {"reject_examples": [EXAMPLE]},
        {"reject_reasons": {"broken_json": "2"}},
        {"said": 3},
    ],
)
def test_notes_that_are_not_as_they_were_written_are_said_to_be_so(notes):
    (told,) = told_of(notes)
    assert told.startswith("what its manifest notes cannot be read") and told.endswith("run the stage again")


def test_whole_notes_are_told():
    first, second = told_of({})
    assert first == "rejected: broken_json 2" and second.startswith("broken_json: log.jsonl, line 3: truncated")
