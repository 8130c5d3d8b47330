"""`thumbline init` as a person types it: on a terminal, with --yes, and in a pipe."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.starting.newcomers import lines, rows, sheet
from thumbline.pipeline.cli.asking import set_options
from thumbline.pipeline.cli.init import init_command
from thumbline.pipeline.cli.main import app
from thumbline.pipeline.config import load_config
from thumbline.pipeline.errors import ConfigError, InputError


@pytest.fixture
def stars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sheet(rows(("q", "a", "stars"), [5, 1, 3] * 4, userId=lambda n: f"u{n % 3}"), ";")(tmp_path / "log.csv")
    return tmp_path / "run.yaml"


def test_the_guesses_are_taken_said_and_stated(stars: Path) -> None:
    shown = CliRunner().invoke(app, ["init", "log.csv", "--yes"]).output
    for part in (
        "log.csv: CSV with semicolons; format thumbs_jsonl; 12 rows: 12 events\n",
        "5     4     a thumb up (guessed)",
        "3     4     no vote (guessed)",
        "Three rows as they are read:",
        "user    How do I make 0 cups of tea at home?",
        "Of the rows that were looked at: 12 answers to 6 prompts by 3 users",
        "Wrote run.yaml. Next:",
        "thumbline run run.yaml --until splits",
    ):
        assert part in shown
    text = stars.read_text()
    assert (
        "# Labels or ranges such as >=4, comma separated, that mean up. Here: guessed: up to 5, more is better." in text
    )
    assert (
        "    # Taken for unrated, with rows looked at: 3 (4).\n" in text
        and "  # user_key: a-secret-of-your-own\n" in text
    )
    config = load_config(stars)
    assert (config.name, config.events.inputs, config.events.format) == (
        "log",
        (str(stars.parent / "log.csv"),),
        "thumbs_jsonl",
    )
    assert config.events.options == {
        "prompt": "q",
        "completion": "a",
        "vote": "stars",
        "user_id": "userId",
        "up": ">=4",
        "down": "<=2",
        "unrated": "3",
    }  # fmt: skip


def test_without_a_terminal_it_stops_and_says_what_to_state(stars: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        init_command(["log.csv"])
    told = str(caught.value)
    assert "3 things are not sure, and there is no terminal to ask on; no file is written" in told
    assert "log.csv: what do these votes mean?\n    1 (4 rows): a thumb down (up to 5, more is better)\n" in told
    assert not stars.exists()
    stated = """--set 'events.options={down: "<=2", unrated: "3", up: ">=4"}'"""
    assert f"State what is so: {stated}\nor take the guesses: --yes" in told
    init_command(["log.csv"], settings=['events.options={down: "<=2", unrated: "3", up: ">=4"}'])
    assert load_config(stars).events.options["up"] == ">=4"


def test_a_log_that_is_clear_needs_no_terminal(stars: Path) -> None:
    lines(rows(("prompt", "response", "rating"), ["good", "bad"] * 4))(stars.parent / "clear.jsonl")
    init_command(["clear.jsonl"], model="org/model", method="ipo")
    config = load_config(stars)
    assert (config.name, config.model, config.train.method) == ("clear", "org/model", "ipo")


def test_a_file_is_not_written_over_unless_forced(stars: Path) -> None:
    stars.write_text("mine")
    with pytest.raises(ConfigError, match=r"run\.yaml: there is a file already; give -o another name, or --force"):
        init_command(["log.csv"], yes=True)
    assert stars.read_text() == "mine"
    init_command(["log.csv"], yes=True, force=True)
    assert load_config(stars).events.options["vote"] == "stars"


def test_a_log_of_which_nothing_can_be_read_gets_no_run_file(stars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stars.parent / "broken.jsonl").write_text("{broken\n" * 3)
    with pytest.raises(InputError, match="no row is feedback on an answer, so that no run file is written"):
        init_command(["broken.jsonl"], yes=True)
    assert "broken_json 3: broken.jsonl, line 1" in capsys.readouterr().out and not stars.exists()


def test_a_run_file_that_would_not_load_is_not_written(stars: Path) -> None:
    with pytest.raises(ConfigError, match="model: String should have at least 1 character"):
        init_command(["log.csv"], yes=True, model="")
    assert not stars.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"output": Path()}, "a folder; give -o the name of a run file"),
        ({"output": Path("run.txt")}, r"a run file's name ends in \.yaml"),
        ({"settings": ["train.method=kto"]}, "init takes settings of events"),
        ({"method": "ktoo"}, r"unknown method 'ktoo'\. Did you mean 'kto'\?"),
    ],
)
def test_what_does_not_hold_is_told_before_any_work(stars: Path, given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        init_command(["log.csv"], **given)  # type: ignore[arg-type]


def test_options_are_written_as_the_shell_takes_them() -> None:
    assert set_options({"vote": "stars", "up": "it's", "down": "👎, no"}) == (
        '--set \'events.options={vote: stars, up: "it\'"\'"\'s", down: "👎, no"}\''
    )


def test_on_a_terminal_it_asks(stars: Path) -> None:
    """Not the guesses: 3 is up too; and a model of one's own."""
    said = on_terminal([sys.executable, "-m", "thumbline", "init", "log.csv"], ["n", "", "1", "", "my/model"])
    assert "Is that so?" in said and "not known: its rows are rejected, with the reason" in said
    config = load_config(stars)
    assert config.model == "my/model"
    assert (config.events.options["up"], config.events.options["down"]) == (">=3", "<=2")


def on_terminal(command: list[str], answers: list[str]) -> str:
    """What a command shows on a terminal of 80 columns where a person types each answer once it is asked."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"COLUMNS": "80"})
    os.close(theirs)
    shown, asked = "", 0
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if not select.select([ours], [], [], 1.0)[0]:
            continue
        try:
            shown += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # the other end is closed: the command has ended
            break
        if answers and shown.rstrip(" ").endswith(":") and len(shown) > asked:
            asked = len(shown)
            os.write(ours, f"{answers.pop(0)}\n".encode())
    assert process.wait(10) == 0, shown
    return shown
