"""Every file of every joined format is detected as its own, and no other format's file is."""

from pathlib import Path

import pytest

from pipeline.importers.base import Sample
from pipeline.importers.joins import sample_rows
from pipeline.importers.registry import IMPORTERS, detect_format
from tests.unit.importers.joined_fixtures import FILES
from tests.unit.importers.joined_logs import write
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


def test_every_joined_format_has_files_here() -> None:
    assert set(FILES) == {name for name, spec in IMPORTERS.items() if spec.read_together is not None}


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
