"""The `thumbline` command: all its parts under one name, and how an error ends it."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any, ClassVar, Final

import typer

from ..errors import ConfigError
from ..hiding import as_told
from ..libraries import libraries_told
from ..peers import Peers, leading, peers
from . import completing
from .ending import exit_code, heed_termination, tell_stopped
from .lazy import Lazy, LazyGroup
from .telling import errors_told, tell_error
from .terminal import err, notes, out, print_entries, print_rows

_LOUDNESS: Final = ("-q", "--quiet", "-v", "--verbose")


class _Commands(LazyGroup):
    """The commands that are imported when they are called, each with the first line of its help."""

    lazy: ClassVar[Mapping[str, Lazy]] = {
        "run": Lazy("run:run_command", "Run the whole line: logs to a trained model and a report."),
        "plan": Lazy(
            "plan:plan_command",
            "Say what training would take: memory a device, time, which methods fit, what to change.",
        ),
        "init": Lazy("init:init_command", "Look at a log and write a run file for it."),
        "status": Lazy("status:status_command", "Show where each stage of a run stands."),
        "rejects": Lazy(
            "rejects:rejects_command", "Show the rows that a run's stages set aside, by reason, with what was logged."
        ),
        "tables": Lazy(
            "tables:tables_command", "Show the tables of the line, the columns of one of them, or its rows in a run."
        ),
        "prepare": Lazy("run:prepare_command", "Turn logs into unpaired rows, pairs and splits."),
        "train": Lazy("run:train_command", "Train a model on rows or logs; the model lands in OUTPUT/train/model."),
        "sweep": Lazy(
            "sweep:sweep_command",
            "Train a run under every combination of settings, over one stored reference, and choose on the validation "
            "split.",
        ),
        "compare-methods": Lazy(
            "compare_methods:compare_methods_command",
            "Train methods side by side: the same splits, model, reference and number of trained tokens, in one table.",
        ),
        "annotation-curve": Lazy(
            "annotation_curve:annotation_curve_command",
            "Train DPO on n pairs and KTO on n and n/2 thumbs: what annotations are worth, and half the effort.",
        ),
        "next-round": Lazy(
            "next_round:next_round_command",
            "Let a run's trained model answer its training prompts, judge the answers, and train on them again.",
        ),
        "evaluate": Lazy(
            "evaluate:evaluate_command",
            "Metrics with intervals, and a report, of a run, of scored rows, or of pairs that models score now.",
        ),
        "compare": Lazy(
            "evaluate:compare_command",
            "Models of several runs on the same held-out rows: a table, pictures and learning curves on one page.",
        ),
        "export": Lazy(
            "export:export_command",
            "Write a run's pairs and unpaired rows in the files that a service or a trainer takes.",
        ),
        "launch-plan": Lazy(
            "launch_plan:launch_plan_command",
            "Say how many users and days an A/B test needs to see the thumbs-up rate change.",
        ),
        "settings": Lazy(
            "settings:settings_command", "Explain the settings of a run file: meaning, unit, range, default."
        ),
        "reference": Lazy(
            "reference:app",
            "Reference log-probs of your own rows, and the store that keeps them. `reference ROWS` scores rows.",
        ),
    }

    def invoke(self, ctx: Any) -> Any:
        """Call the command; typer alone would end it without a word where it is stopped."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            raise typer.Exit(tell_stopped(stopped, ctx.invoked_subcommand)) from stopped


app = typer.Typer(
    cls=_Commands,
    help="Turn thumbs-up / thumbs-down logs into a preference-trained model, and prove that it is better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class _LogHandler(logging.Handler):
    """What our own modules log, as lines of the command's output: warnings, and with `--verbose` more."""

    def emit(self, record: logging.LogRecord) -> None:
        if notes.quiet and record.levelno < logging.ERROR:
            return
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        err.print(f"  {as_told(record.getMessage())}", style=style, markup=False, soft_wrap=True)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"thumbline {version('thumbline')}")
        raise typer.Exit


@app.callback()
def _settle(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and how it ended, nothing else.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what is done in detail too, and libraries' warnings.")
    ] = False,
) -> None:
    """How much is said, whatever the command."""
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose cannot both be; give one of them.")
    notes.quiet = quiet
    logging.getLogger("thumbline").setLevel(logging.INFO if verbose else logging.NOTSET)
    if verbose:
        os.environ["TRANSFORMERS_VERBOSITY"] = "warning"
        warnings.filterwarnings("default", category=FutureWarning)


@app.command("losses")
def losses_command(
    name: Annotated[
        str | None,
        typer.Argument(help="A method; none lists them all.", metavar="METHOD", autocompletion=completing.methods),
    ] = None,
) -> None:
    """List the training methods, what each needs and when to use it; or the hyper-parameters of one of them."""
    from thumbline.losses.describing import describe_method
    from thumbline.losses.registry import describe

    from ..training.methods import AS_SETTINGS, setting_instead

    if name is None:
        print_rows(describe())
        out.print("Set beside a method, which they change:")
        print_rows([dict(row) for row in AS_SETTINGS.values()])
        return
    instead = setting_instead(name)
    if instead is not None:
        out.print(f"{instead}. `thumbline settings train` explains it.", markup=False)
        return
    try:
        rows = describe_method(name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    print_entries((row["hyper-parameter"], f"{row['takes']}; default {row['default']}", row["meaning"]) for row in rows)


@app.command("formats")
def formats_command(
    name: Annotated[
        str | None,
        typer.Argument(help="A format; none lists them all.", metavar="FORMAT", autocompletion=completing.formats),
    ] = None,
) -> None:
    """List the log formats that can be read, or say what one of them reads: options, labels, an example."""
    from ..importers.registry import describe

    if name is None:
        print_rows(describe())
        return
    from .formats import print_format

    print_format(name)


@app.command("judges")
def judges_command(
    name: Annotated[
        str | None,
        typer.Argument(help="A judge; none lists them all.", metavar="JUDGE", autocompletion=completing.judges),
    ] = None,
) -> None:
    """List the judges of sampled answers, or the options of one of them."""
    from ..judges.registry import describe, describe_options

    print_rows(describe() if name is None else describe_options(name))


def loudness_first(words: Sequence[str]) -> list[str]:
    """The words of a command with `-q` and `-v` before the others: they are options of all commands alike."""
    end = words.index("--") if "--" in words else len(words)
    asked = [word for word in words[:end] if word in _LOUDNESS]
    return [*asked, *(word for word in words[:end] if word not in _LOUDNESS), *words[end:]]


def _quiet_libraries() -> None:
    """Keep other libraries' chatter off the terminal; our own warnings are shown."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("thumbline").addHandler(_LogHandler())
    logging.getLogger("thumbline").propagate = False
    for stream in (sys.stdout, sys.stderr):
        # A terminal of few characters shows the others as escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _follow(found: Peers) -> int:
    """Take part in what the first process runs; the exit code.

    It speaks alone: this process says something only where that one goes on and waits for it.
    """
    from ..line import follow

    try:
        follow(found)
    except KeyboardInterrupt as stopped:
        return exit_code(stopped)
    # Whatever breaks once the first process has ended is its leaving.
    except Exception as error:  # noqa: BLE001  all are told
        if found.has_ended():
            return 0
        return tell_error(error, f"process {found.rank + 1} of {found.size}: ")
    return 0


def main() -> None:
    """Entry point; of several processes that were started as one command, the first runs it."""
    heed_termination()
    _quiet_libraries()
    with errors_told():
        found = peers()
    if found is not None and not found.is_first:
        sys.exit(_follow(found))
    with leading(found), errors_told(), libraries_told("this command"):
        app(args=loudness_first(sys.argv[1:]))


if __name__ == "__main__":
    main()
