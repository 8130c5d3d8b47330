"""What `rejects` shows of rows that were set aside: counts by reason, the rows as they were logged, and what helps."""

import json
import shutil
from pathlib import Path

import pytest

from thumbline.pipeline.cli.rejects import rejects_command
from thumbline.pipeline.cli.run import prepare_command
from thumbline.pipeline.errors import ConfigError

ROWS = [
    {"prompt": "Who?", "response": "Ann \x1b[31m.", "feedback": "so-so"},
    {"prompt": "Who?", "response": "Bob.", "feedback": "up"},
    {"prompt": "Who?", "response": "Bob!", "feedback": "down"},
    {"prompt": "Why?", "response": "No.", "feedback": "meh"},
    {"prompt": "Why?", "response": "Yes.", "feedback": None},
    *({"prompt": f"What is {n}?", "response": f"It is {n}.", "feedback": "up"} for n in range(6)),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rejects")
    (folder / "logs").mkdir()
    (folder / "logs" / "log.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    (folder / "logs" / "empty.jsonl").write_text("", encoding="utf-8")
    prepare_command([str(folder / "logs")], folder / "out")
    return folder / "out"


def test_rows_are_shown_by_stage_and_reason_as_they_were_logged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rejects_command(run, limit=1)
    said = capsys.readouterr().out
    assert f"events  unknown_label  2 rows  ({run}/events/rejects.parquet)\n" in said
    assert """On the command line: --set 'events.options={up: "good", down: "bad"}'.""" in said
    assert "1.  place: " in said and "logs/log.jsonl, line 1\n" in said and "and 1 more" in said
    # The escape is shown as JSON wrote it, and as what it is in an answer.
    assert '"response": "Ann \\u001b[31m."' in said and "\x1b" not in said
    assert "events  empty_file  1 file " in said
    assert f"unpaired  unrated  1 answer  ({run}/responses/responses.parquet)" in said and "answer: Yes." in said
    assert "pairs  one_response  7 prompts  " in said and "Sample several answers a prompt" in said
    assert (
        "pairs  identical_text  1 times two answers" in said
        and "chosen_answer: Bob." in said
        and "rejected_answer: Bob!" in said
    )


def test_a_stage_and_a_reason_can_be_asked_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rejects_command(run, stage="events", reason="unknown_label", limit=9, as_json=True)
    document = json.loads(capsys.readouterr().out)
    (found,) = document["rejected"]
    assert (found["stage"], found["rows"], found["unit"]) == ("events", 2, "row")
    assert [row["source_line"] for row in found["examples"]] == [1, 4]
    assert json.loads(found["examples"][1]["raw"]) == ROWS[3]
    with pytest.raises(ConfigError, match=r"--reason: unknown reason 'label'.*Known: empty_file, .*unknown_label"):
        rejects_command(run, reason="label")
    with pytest.raises(ConfigError, match=r"--stage: unknown stage .*'train'.*Known: .*events"):
        rejects_command(run, stage="train")
    with pytest.raises(ConfigError, match="not the folder of a run"):
        rejects_command(run / "events")


def test_where_nothing_was_set_aside_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(ROWS[1]), encoding="utf-8")
    prepare_command([str(log)], tmp_path / "out")
    capsys.readouterr()
    rejects_command(tmp_path / "out", stage="events")
    assert capsys.readouterr().out == "No row was set aside.\n"


def test_a_stage_of_which_nothing_can_be_told_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects_command(run)
    assert "is not told" not in capsys.readouterr().out
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "unpaired" / "manifest.json").unlink()
    (copy / "unpaired" / "manifest.json").symlink_to(tmp_path / "nowhere")
    rejects_command(copy)
    said = capsys.readouterr()
    assert "What unpaired set aside is not told: the manifest is gone" in said.out and "unrated" not in said.out
    rejects_command(copy, as_json=True)
    assert json.loads(capsys.readouterr().out)["untold"] == ["unpaired"]
    rejects_command(copy, stage="events")
    assert "is not told" not in capsys.readouterr().out
