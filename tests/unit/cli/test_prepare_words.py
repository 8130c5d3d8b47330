"""What `prepare` and `status` say of logs that cannot be used, on the terminal and on the page."""

import json
from pathlib import Path

import pytest

import thumbline
from thumbline.pipeline.cli.run import prepare_command, status_command
from thumbline.pipeline.errors import InputError


def log(path: Path, votes: list[object]) -> Path:
    rows = [{"prompt": f"What is {n}?", "response": f"It is {n}.", "feedback": vote} for n, vote in enumerate(votes)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_a_log_of_which_nothing_can_be_used_ends_after_events_and_still_has_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log(tmp_path / "log.jsonl", ["so-so"] * 3)
    with pytest.raises(InputError, match=r"3 of 3 rows rejected.*unknown_label 3 \(.*line 1: field 'feedback' is 'so"):
        prepare_command([str(path)], tmp_path / "out")
    said = capsys.readouterr().out
    assert "rejected: unknown_label 3" in said and "responses" not in said
    page = (tmp_path / "out" / "data_report.html").read_text(encoding="utf-8")
    assert "field &#39;feedback&#39; is &#39;so-so&#39;" in page and str(tmp_path / "out" / "data_report.html") in said
    status_command(tmp_path / "out")
    assert "events: rejected: unknown_label 3" in capsys.readouterr().out
    # What is up to date says so again.
    with pytest.raises(InputError, match="3 of 3 rows rejected"):
        prepare_command([str(path)], tmp_path / "out")


def test_a_log_of_which_most_rows_are_rejected_goes_on_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log(tmp_path / "log.jsonl", ["up", "so-so", "so-so", "down"] + ["so-so"] * 3)
    prepare_command([str(path)], tmp_path / "out")
    said = capsys.readouterr().out
    assert "rejected: unknown_label 5\n" in said and "log.jsonl, line 2: field 'feedback' is 'so-so'" in said


def test_python_says_it_too(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", ["so-so"] * 3)
    with pytest.raises(InputError, match=r"unknown_label 3 \(") as caught:
        thumbline.prepare(str(path))
    assert "Rejected rows by reason" not in str(caught.value)
    with pytest.raises(InputError):
        thumbline.prepare(str(path), output=tmp_path / "out")
    assert (tmp_path / "out" / "data_report.html").is_file()
