"""`thumbline init`: a log is looked at, what is not sure is asked, and a run file states what was found."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.prompt import Prompt

from ..config import EventsConfig, build_config, load_config, override, read_value
from ..errors import ConfigError, InputError
from ..starting.amounts import Method, amounts_of, method_for
from ..starting.looking import look
from ..starting.run_file import Model, run_file
from ..storage.files import free_place, write_text
from . import completing
from .asking import Answers, is_terminal
from .init_words import print_look, print_method, print_next
from .terminal import command_line, out

_SMALL_MODEL: Final = "Qwen/Qwen2.5-0.5B-Instruct"
_SECTION: Final = "events."
_NO_NAME: Final = re.compile(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]+")


def init_command(
    inputs: Annotated[list[str], typer.Argument(help="Logs: files, folders, globs, or hub:ID.", metavar="LOGS...")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run file to write; unset: run.yaml, named after the log.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take the guess where it is not sure, and say so.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Hub id, local folder, or `demo`.")] = None,
    method: Annotated[
        str,
        typer.Option(help="A name of `thumbline losses`; auto: what the rows suit.", autocompletion=completing.methods),
    ] = "auto",
    log_format: Annotated[
        str, typer.Option("--format", "-f", help="A name of `thumbline formats`.", autocompletion=completing.formats)
    ] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="State something: `events.options.vote=stars`. Repeatable.",
            autocompletion=completing.assignments,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a run file that is there.")] = False,
) -> None:
    """Look at a log and write a run file for it.

    Shows how the log is read, what each vote is taken for, and three rows; asks where it is not sure. Nothing is
    guessed silently: whatever was inferred stands in the run file.
    """
    _check_method(method)
    place = output or Path("run.yaml")
    _check_output(place, force=force)
    events = _events(inputs, log_format, settings or [])
    asks = not yes and is_terminal()
    answers = Answers(events.options, asks=asks)
    found = look(events, answers)
    print_look(found, answers)
    if not len(found.read.events):
        raise InputError("init: no row is feedback on an answer, so that no run file is written.")
    if not yes:
        answers.refuse_guesses()
    amounts = amounts_of(found.read.events)
    chosen = method_for(amounts, whole=found.is_whole) if method == "auto" else Method(method, "stated")
    print_method(amounts, chosen)
    name = _name(place.stem if output is not None else Path(inputs[0].rstrip("/")).name.partition(".")[0])
    _write(place, run_file(found, chosen, _model(model, asks=asks), place, name, command_line()))
    print_next(place)


def _check_method(name: str) -> None:
    """Refuse a method that is none, where the losses are installed."""
    if name == "auto":
        return
    try:
        from thumbline.losses import loss_spec  # it takes seconds, and an extra
    except ImportError:
        return
    try:
        loss_spec(name)
    except ValueError as error:
        raise ConfigError(f"--method: {error}") from error


def _check_output(place: Path, *, force: bool) -> None:
    if place.is_dir():
        raise ConfigError(f"{place}: a folder; give -o the name of a run file, such as {place / 'run.yaml'}.")
    if place.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{place}: a run file's name ends in .yaml.")
    if place.exists() and not force:
        raise ConfigError(f"{place}: there is a file already; give -o another name, or --force to write over it.")


def _events(inputs: list[str], log_format: str, settings: list[str]) -> EventsConfig:
    """The settings that are stated.

    Raises:
        ConfigError: One is none of the section `events`, or does not hold.
    """
    document: dict[str, Any] = {"events": {"format": log_format}}
    for setting in settings:
        if not setting.startswith(_SECTION):
            raise ConfigError(f"--set {setting}: init takes settings of events; write others into the run file.")
        override(document, setting)
    return EventsConfig.model_validate(document["events"] | {"inputs": inputs})


def _name(stem: str) -> str:
    """A name of a run, made of a file's."""
    return _NO_NAME.sub("-", stem).strip("-._") or "run"


def _model(stated: str | None, *, asks: bool) -> Model:
    if stated is not None:
        return Model(stated, "stated")
    if asks:
        return Model(Prompt.ask("\nModel to train", default=_SMALL_MODEL, console=out), "stated")
    return Model(_SMALL_MODEL, "none was stated, so a small one; put yours here")


def _write(place: Path, text: str) -> None:
    """Write the run file, which has to load; nothing is written that does not."""
    build_config({"runs": "runs"} | read_value(text, origin=str(place)), origin=str(place))
    write_text(free_place(place), text)
    load_config(place)
