"""How a command ends by an error: one message, and no traceback on the terminal."""

import re
from pathlib import Path

import pytest

from thumbline.pipeline.cli.ending import Terminated
from thumbline.pipeline.cli.telling import errors_told
from thumbline.pipeline.errors import InputError, TrainingError


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def told(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended, errors_told():
        raise error
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.jsonl: no such file."), 2),
        (TrainingError("no rows."), 1),
        (PermissionError(13, "Permission denied", "/a/b"), 2),
        (OSError(28, "No space left on device", "/a/b"), 1),
    ],
)
def test_an_error_is_one_message(error, code, capsys):
    found, said = told(error, capsys)
    assert found == code
    assert said.startswith("error: ") and said.count("\n") == 1
    assert "Traceback" not in said


def test_a_message_holds_no_secret(capsys, monkeypatch):
    monkeypatch.setenv("MY_KEY", "a-secret-of-mine")
    _, said = told(InputError("s3://me:TOPSECRET@bucket/x: refused for a-secret-of-mine"), capsys)
    assert said == "error: s3://(kept secret)@bucket/x: refused for (kept secret)\n"


def test_a_fault_of_the_program_is_one_line_and_a_file_that_says_where(capsys, tmp_path):
    code, said = told(ZeroDivisionError("division by zero"), capsys)
    assert code == 1
    assert "a fault of thumbline, not of yours (ZeroDivisionError: division by zero)" in said
    assert "Traceback" not in said
    (kept,) = re.findall(r"report it with (\S+),", said)
    assert Path(kept).parent == tmp_path
    assert "Traceback" in Path(kept).read_text() and "test_telling.py" in Path(kept).read_text()


def test_a_stop_that_a_library_makes_another_error_of_is_told_as_the_stop(capsys):
    try:
        try:
            raise Terminated
        except Terminated:
            raise ImportError("cannot import name 'DataFrame' from partially initialized module") from None
    except ImportError as error:
        wrapped = error
    assert told(wrapped, capsys) == (143, "Terminated.\n")
    assert told(KeyboardInterrupt(), capsys) == (130, "Interrupted.\n")
    looped = ValueError("a")
    looped.__cause__ = looped
    assert told(looped, capsys)[0] == 1
