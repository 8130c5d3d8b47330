"""What `tables --of` shows of a run: the first rows of a table, of events and answers with their texts."""

import json
from pathlib import Path

import pytest

from thumbline.pipeline.cli.run import prepare_command
from thumbline.pipeline.cli.tables import tables_command
from thumbline.pipeline.errors import ConfigError, InputError

ROWS = [{"prompt": f"Who is {n}?", "response": f"[b]It\x1b[31m[/b] is {n}.", "feedback": "up"} for n in range(5)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    prepare_command([str(folder / "log.jsonl")], folder / "out")
    return folder / "out"


def shown(capsys: pytest.CaptureFixture[str], name: str | None, run: Path, **options: object) -> str:
    capsys.readouterr()
    tables_command(name, of=str(run), **{"rows": 3, "as_json": False, **options})
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["events", "responses"])
def test_rows_come_with_their_texts(run: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    said = shown(capsys, name, run, rows=2)
    assert said.count("completion: [b]It") == 2 and "\x1b" not in said
    assert said.count("Who is ") == 2 and "prompt_id: " in said
    found = json.loads(shown(capsys, name, run, as_json=True, rows=9))
    assert found["table"] == name and len(found["rows"]) == 5
    texts = {row["prompt"][0]["content"]: row["completion"] for row in found["rows"]}
    assert texts == {row["prompt"]: row["response"] for row in ROWS}


def test_other_tables_are_shown_as_they_are(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(json.loads(shown(capsys, "unpaired", run, as_json=True))["rows"]) == 3
    assert shown(capsys, "pairs", run) == "Table pairs has no rows.\n"


def test_what_is_not_there_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="unknown table of this run 'sequences'.*Known: .*texts"):
        shown(capsys, "sequences", run)
    with pytest.raises(ConfigError, match="name the table"):
        shown(capsys, None, run)
    with pytest.raises(ConfigError, match="unknown table 'response'"):
        shown(capsys, "response", run)
