"""What the lines of the stages count: rows of the log, what those gave, prompts and pairs, and what is not counted."""

import json
from pathlib import Path

import pytest

from thumbline.pipeline.api.runs import Run
from thumbline.pipeline.cli.run import prepare_command
from thumbline.pipeline.cli.status import status_command


def prepared(folder: Path, rows: list[dict[str, str]]) -> Run:
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    prepare_command([str(folder / "log.jsonl")], folder / "out")
    return Run(folder / "out", None)


def pair(question: str, better: str, worse: str) -> dict[str, str]:
    return {"prompt": question, "chosen": better, "rejected": worse}


def test_a_pair_row_is_one_row_in_and_what_it_gave_is_counted_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [pair("Tea?", "Green.", "Ink."), pair("Tea?", "Black.", "Ink."), pair("Milk?", "", "Sand.")]
    run = prepared(tmp_path, rows)
    said = " ".join(capsys.readouterr().out.split())
    assert "events 3 in (gave 5), 4 out, 1 rejected" in said
    assert "pairs 1 in, 1 out; 2 pairs" in said
    (events,) = run.counts.filter(stage="events").drop("stage", "seconds").rows()
    assert events == (3, 5, 4, 0, 1)
    page = (tmp_path / "out" / "data_report.html").read_text(encoding="utf-8")
    assert "3 log rows gave" in page
    assert "the rows gave 5, with what was set aside" in page
    status_command(tmp_path / "out")
    assert "gave" in capsys.readouterr().out


def test_comparisons_that_are_not_counted_are_said_and_contradictions_counted_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def side(name: str, user: str, text: str, vote: str) -> dict[str, str]:
        told = {"comparison_id": name, "user_id": user, "prompt": "Which tea?"}
        return told | {"response": text, "feedback": vote}

    sides = [("a", "ann", "Green.", "Black."), ("b", "ann", "Black.", "Green."), ("c", "bob", "Black.", "Green.")]
    rows = [
        side(name, user, text, vote)
        for name, user, *texts in sides
        for text, vote in zip(texts, ("chosen", "rejected"), strict=True)
    ]
    prepared(tmp_path, [*rows, side("d", "cid", "Mint.", "chosen")])
    said = "2 of 4 comparisons are counted; the others are in comparison_drops: missing_side 1, changed_mind 1."
    assert said in " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "out" / "data_report.html").read_text(encoding="utf-8")
    assert said.rstrip(".") in page
    assert "changed choice" in page


def test_shares_of_the_splits_that_are_off_are_said_on_the_terminal_and_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path, [pair(f"Tea {number}?", "Green.", "Ink.") for number in range(9)])
    said = capsys.readouterr().out
    assert "where 20% was asked for" in said
    assert "where 20% was asked for" in (tmp_path / "out" / "data_report.html").read_text(encoding="utf-8")
