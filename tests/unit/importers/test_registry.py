"""Formats are found by what a file holds, and a file that fits none says what was seen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.importers.cases import CASES
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.importers.registry import IMPORTERS, describe, detect_format
from thumbline.pipeline.reading.files import FileSource, take_sample


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_format_has_a_case() -> None:
    assert set(CASES) == set(IMPORTERS)


# Transcripts are pairs of texts too, and Dify's messages a query, an answer and a feedback: the first format decides.
ALSO_FITS = {
    "hh_rlhf": {"trl"},
    "dify": {"thumbs_jsonl"},
    "anythingllm": {"thumbs_jsonl"},
    "trl": {"conversations"},
    "arena": {"fastchat"},
}


@pytest.mark.parametrize("name", CASES)
def test_each_file_is_detected_and_no_other_format_would_take_it(tmp_path: Path, name: str) -> None:
    CASES[name].write(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert detect_format(path) == name
        sample = take_sample(FileSource(path, path.name, 1 << 20))
        fits = [other for other, spec in IMPORTERS.items() if spec.detect(sample, {})]
        assert set(fits[1:]) <= ALSO_FITS.get(name, set())


def test_broken_lines_before_the_first_good_one_do_not_hide_the_format(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        "{broken\n" * 500 + json.dumps({"prompt": "p", "completion": "c", "label": True}) + "\n", encoding="utf-8"
    )
    assert detect_format(path) == "trl"


def test_a_stated_mapping_makes_a_log_of_other_names_known(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {"asked": "p", "said": "c", "felt": "up"})
    with pytest.raises(InputError):
        detect_format(path)
    assert detect_format(path, {"prompt": "asked", "completion": "said", "vote": "felt"}) == "thumbs_jsonl"


def test_no_format_names_what_was_seen_and_what_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {"text": "x", "stars": 5})
    with pytest.raises(InputError, match=r"no format fits the fields text, stars\. Known formats: convai2, "):
        detect_format(path)


def test_a_file_without_a_readable_row_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InputError, match="no readable row"):
        detect_format(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="no such file"):
        detect_format(tmp_path / "absent.jsonl")


def test_each_importer_is_registered_under_its_own_name_and_described() -> None:
    assert [spec.name for spec in IMPORTERS.values()] == list(IMPORTERS)
    assert [row["format"] for row in describe()] == ["hub:ID", *IMPORTERS]
    assert all(row["format"] and row["reads"] for row in describe())


def test_importers_load_neither_torch_nor_datasets() -> None:
    code = "import sys, pipeline.importers.registry; print([m for m in ('torch', 'datasets') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
