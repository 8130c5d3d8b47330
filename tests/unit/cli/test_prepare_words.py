"""What `prepare` and `status` say of logs that cannot be used, on the terminal and on the page."""

import json
from pathlib import Path

import pytest

import thumbline
from thumbline.pipeline.cli.run import prepare_command
from thumbline.pipeline.cli.status import status_command
from thumbline.pipeline.errors import InputError


def log(path: Path, votes: list[object]) -> Path:
    rows = [{"prompt": f"What is {n}?", "response": f"It is {n}.", "feedback": vote} for n, vote in enumerate(votes)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_a_log_of_which_nothing_can_be_used_ends_after_events_and_still_has_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log(tmp_path / "log.jsonl", ["so-so"] * 3)
    with pytest.raises(
        InputError, match=r"3 of 3 rows were rejected[^\n]*\n  unknown_label 3: .*line 1: field 'feedback' is 'so"
    ):
        prepare_command([str(path)], tmp_path / "out")
    said = capsys.readouterr().out
    assert "rejected: unknown_label 3" in said and "responses" not in said
    page = (tmp_path / "out" / "data_report.html").read_text(encoding="utf-8")
    assert "field &#39;feedback&#39; is &#39;so-so&#39;" in page and str(tmp_path / "out" / "data_report.html") in said
    status_command(tmp_path / "out")
    assert "events: rejected: unknown_label 3" in capsys.readouterr().out
    # What is up to date says so again.
    with pytest.raises(InputError, match="3 of 3 rows were rejected"):
        prepare_command([str(path)], tmp_path / "out")


def test_a_log_of_which_most_rows_are_rejected_stops_and_goes_on_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = log(tmp_path / "log.jsonl", ["up", "so-so", "so-so", "down", "meh"] + ["so-so"] * 3)
    with pytest.raises(InputError, match=r"6 of 8 rows were rejected \(75%\).*(?s:.)*--set events.most_rejected=1"):
        prepare_command([str(path)], tmp_path / "out")
    said = capsys.readouterr().out
    assert "rejected: unknown_label 6\n" in said and "line 2" not in said and "responses" not in said
    # Nothing is read again for it.
    prepare_command([str(path)], tmp_path / "out", settings=["events.most_rejected=1"])
    assert "events     up to date" in capsys.readouterr().out
    prepare_command([str(path)], tmp_path / "other", settings=["events.most_rejected=1"])
    said = capsys.readouterr().out
    assert "log.jsonl, line 2: field 'feedback' is 'so-so'" in said and "(seen: 'so-so' 5, 'meh' 1)" in said


def test_tables_that_are_empty_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare_command([str(log(tmp_path / "log.jsonl", ["up", "down"] * 10))], tmp_path / "rated")
    assert "no pair: one_response 20. Sample several answers a prompt" in capsys.readouterr().out
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No idea."} for n in range(9)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    prepare_command([str(path)], tmp_path / "compared")
    said = capsys.readouterr().out
    assert "no label: comparison_only 18. The log compares answers and rates none alone: methods on pairs" in said
    assert "no pair" not in said
    one = [{"prompt": "What?", "response": f"It is {n}.", "feedback": ["up", "down"][n % 2]} for n in range(9)]
    path.write_text("\n".join(map(json.dumps, one)), encoding="utf-8")
    prepare_command([str(path)], tmp_path / "one")
    said = capsys.readouterr().out
    assert "no row is in validation or test, where 10% and 20% were asked for: the 10 rows are of 1 group" in said


def test_python_says_it_too(tmp_path: Path) -> None:
    path = log(tmp_path / "log.jsonl", ["so-so"] * 3)
    with pytest.raises(InputError, match="unknown_label 3: ") as caught:
        thumbline.prepare(str(path))
    assert "Rejected rows by reason" not in str(caught.value)
    with pytest.raises(InputError):
        thumbline.prepare(str(path), output=tmp_path / "out")
    assert (tmp_path / "out" / "data_report.html").is_file()


def test_a_rerun_that_fails_leaves_no_old_outputs_beside_new_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "log.jsonl", tmp_path / "out"
    prepare_command([str(log(path, ["up", "down"] * 5))], out)
    # Stands for the page of a whole run.
    (out / "report").mkdir()
    (out / "report" / "report.html").write_text("old", encoding="utf-8")
    capsys.readouterr()
    with pytest.raises(InputError, match="8 of 10 rows were rejected"):
        prepare_command([str(log(path, ["up", "down"] + ["so-so"] * 8))], out)
    assert not (out / "dataset").exists() and not (out / "report").exists()
    assert (out / "report.before" / "report.html").is_file() and (out / "dataset.before" / "README.md").is_file()
    page = (out / "data_report.html").read_text(encoding="utf-8")
    # The tables of the stages after it are those of the log before.
    assert "10 log rows gave 0 labelled answers and 0 pairs" in page
    said = capsys.readouterr()
    assert "dataset as dataset.before, data_report.html as data_report.before.html, report as report.before" in said.err
    assert f"Rejected rows: thumbline rejects {out}" in said.out
    prepare_command([str(log(path, ["up", "down"] * 5))], out)
    assert (out / "dataset" / "README.md").is_file() and not (out / "dataset.before").exists()
    assert not (out / "data_report.before.html").exists() and (out / "report.before").is_dir()
