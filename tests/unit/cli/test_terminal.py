"""What a person sees while work goes on."""

import io
import json
import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thumbline.pipeline.cli import evaluated, terminal


def test_a_bar_says_what_is_done_and_how_long_it_takes(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "err", Console(file=screen, force_terminal=True, width=160))
    with terminal.ConsoleReporter().progress("reference log-probs", 40_000, "tokens") as advance:
        for _ in range(4):
            advance(4_000)
    text = screen.getvalue()
    assert "reference log-probs" in text
    assert "16000/40000" in text
    assert "tokens" in text
    assert "left" in text


@pytest.mark.parametrize(("speed", "shown"), [(None, ""), (12_345.6, "12,346/s")])
def test_speed_is_units_a_second(speed, shown):
    assert terminal._SpeedColumn().render(SimpleNamespace(speed=speed)).plain == shown


def test_rows_of_nothing_print_nothing(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=screen, width=40))
    terminal.print_rows([])
    assert screen.getvalue() == ""
    terminal.print_rows([{"key": "a", "shards": 3}])
    assert screen.getvalue().split() == ["key", "shards", "a", "3"]


def test_names_of_others_neither_move_the_terminal_nor_are_read_as_markup(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "out", terminal._PlainConsole(file=screen, width=80))
    terminal.print_rows([{"model": "x[red]\x1b[31m\u202e"}, {"model": "m[/x]:smile:\nb\udcff"}])
    terminal.out.print("x\x1b[2J wins over m[v2]")
    table = Table(box=None)
    table.add_column("n[v1]\x1b")
    table.add_row("a[/b]\x07", Text("bold", style="bold"))
    terminal.out.print(table)
    shown = screen.getvalue()
    assert "x[red][U+001B][31m[U+202E]" in shown
    assert "m[/x]:smile:[U+000A]b[U+DCFF]" in shown
    assert "x[U+001B][2J wins over m[v2]" in shown
    assert "n[v1][U+001B]" in shown
    assert "a[/b][U+0007]" in shown


def test_a_verdict_is_one_line_whatever_a_model_is_called(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(evaluated, "out", terminal._PlainConsole(file=screen, width=80))
    evaluated._print_ending("m\nReport: fine is better", Path("out"))
    first, second = screen.getvalue().splitlines()
    assert first == "m[U+000A]Report: fine is better"
    assert second.startswith("Report: out/report.html")


def test_a_bar_shows_names_as_they_are(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "err", terminal._PlainConsole(file=screen, force_terminal=True, width=160))
    reporter = terminal.ConsoleReporter()
    with reporter.progress("scoring m[/v2]\x1b]0;x", 10, "rows") as advance:
        reporter.note("loss [red]0.5")
        advance(10)
    assert "scoring m[/v2][U+001B]]0;x" in screen.getvalue()
    assert "loss [red]0.5" in screen.getvalue()


def test_a_document_is_json_whatever_its_values_are(capsys):
    document = {
        "path": Path("a/b"),
        "value": float("nan"),
        "rows": [1, (2.5, math.inf)],
        "name": "日\x1b\x9b\udc80\u202e",
    }
    terminal.print_json(document)
    printed = capsys.readouterr().out
    assert "日" in printed
    assert not terminal._NOT_PRINTED.search(printed.replace("\n", ""))
    assert json.loads(printed) == {"path": "a/b", "value": None, "rows": [1, [2.5, None]], "name": document["name"]}


def test_into_a_pipe_long_work_says_how_far_it_is_and_nothing_is_folded(monkeypatch):
    screen = io.StringIO()
    # What says that a pipe is a terminal, or how wide one is.
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(terminal, "err", terminal._PlainConsole(file=screen, highlight=False))
    reporter = terminal.ConsoleReporter(every_seconds=0.02)
    with reporter.stage("train"):
        wait_for(lambda: "train, 0 s so far" in screen.getvalue())
        with reporter.progress("training (dpo)", 110, "steps") as advance:
            advance(40)
            reporter.note("loss 0.6100  margin 0.020")
            wait_for(lambda: "  train step 40 of 110, loss 0.6100, margin 0.020\n" in screen.getvalue())
    said = screen.getvalue()
    with reporter.progress("judged by taste", 7, "answers") as advance:
        advance(2)
        wait_for(lambda: "  judged by taste, 2 of 7 answers\n" in screen.getvalue())
    # No line after the work.
    said = screen.getvalue()
    time.sleep(0.06)
    assert screen.getvalue() == said
    # None of work that is done before it is due.
    with terminal.ConsoleReporter(every_seconds=60).progress("quick work", 7, "answers") as advance:
        advance(7)
    assert screen.getvalue() == said
    rows = [{"fingerprint": "0123456789abcdef" * 4, "path": "x" * 300}]
    terminal.print_rows(rows, console=terminal.err)
    assert f"{rows[0]['fingerprint']}  {rows[0]['path']}" in screen.getvalue().splitlines()[-1]


def test_a_quiet_command_says_no_more_than_errors(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "err", terminal._PlainConsole(file=screen, force_terminal=True, highlight=False))
    monkeypatch.setattr(terminal.notes, "quiet", True)
    reporter = terminal.ConsoleReporter(every_seconds=0.01)
    with reporter.stage("train"), reporter.progress("training (dpo)", 110, "steps") as advance:
        advance(40)
        reporter.note("loss 0.6100")
        reporter.say("another engine")
        time.sleep(0.05)
    assert screen.getvalue() == ""


def test_while_a_document_is_printed_people_read_stderr(capsys):
    with terminal.only_document():
        terminal.out.print("Report: a")
        terminal.notes.print("events 3 in")
        terminal.print_json({"a": 1})
    terminal.out.print("Report: b")
    with terminal.only_document(False):
        terminal.out.print("Report: c")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ('{\n  "a": 1\n}\nReport: b\nReport: c\n', "Report: a\nevents 3 in\n")


def wait_for(holds):
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert holds()
