"""The `thumbline` command: all its parts under one name, and how an error ends it."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..errors import MISUSE, PipelineError
from ..peers import Peers, leading, peers
from .evaluate import compare_command, evaluate_command
from .export import export_command
from .launch_plan import launch_plan_command
from .plan import plan_command
from .reference import app as reference_app
from .run import prepare_command, run_command, status_command, train_command
from .sweep import sweep_command
from .terminal import err, print_rows

app = typer.Typer(
    help="Turn thumbs-up / thumbs-down logs into a preference-trained model, and prove that it is better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.add_typer(reference_app, name="reference")


class _WarningHandler(logging.Handler):
    """Our own modules' warnings, as lines of the command's output."""

    def emit(self, record: logging.LogRecord) -> None:
        err.print(f"  {record.getMessage()}", style="yellow", markup=False)


app.command("run")(run_command)
app.command("plan")(plan_command)
app.command("status")(status_command)
app.command("prepare")(prepare_command)
app.command("train")(train_command)
app.command("sweep")(sweep_command)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("export")(export_command)
app.command("launch-plan")(launch_plan_command)


@app.command("losses")
def losses_command() -> None:
    """List the training methods: what each needs and when to use it."""
    from thumbline.losses.registry import describe

    rows = describe()
    print_rows(rows)


@app.command("formats")
def formats_command() -> None:
    """List the log formats that can be read."""
    from ..importers.registry import describe

    print_rows(describe())


@app.command("judges")
def judges_command(
    name: Annotated[str | None, typer.Argument(help="A judge; none lists them all.", metavar="JUDGE")] = None,
) -> None:
    """List the judges of sampled answers, or the options of one of them."""
    from ..judges.registry import describe, describe_options

    print_rows(describe() if name is None else describe_options(name))


@app.command("tables")
def tables_command(
    name: Annotated[str | None, typer.Argument(help="A table; none lists them all.", metavar="TABLE")] = None,
) -> None:
    """Show the tables of the line and the columns of one of them."""
    from ..tables import TABLES, describe_table

    if name is None:
        print_rows([{"table": table, "columns": ", ".join(schema.columns)} for table, schema in TABLES.items()])
        return
    print_rows(describe_table(name))


def _quiet_libraries() -> None:
    """Keep other libraries' chatter off the terminal; our own warnings are shown."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("thumbline").addHandler(_WarningHandler())
    logging.getLogger("thumbline").propagate = False


@contextmanager
def _errors_told() -> Iterator[None]:
    """An error prints one message, never a traceback; a user's mistake exits with 2, others with 1."""
    try:
        yield
    except PipelineError as error:
        err.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, MISUSE) else 1)
    except KeyboardInterrupt:
        err.print("Interrupted. Finished stages are kept; the same command resumes.")
        sys.exit(130)


def _follow(found: Peers) -> int:
    """Take part in what the first process runs; the exit code.

    It speaks alone: this process says something only where that one goes on and waits for it.
    """
    from ..line import follow

    try:
        follow(found)
    except KeyboardInterrupt:
        return 130
    # Whatever breaks once the first process has ended is its leaving; anything else is told or raised below.
    except Exception as error:
        if found.has_ended():
            return 0
        if not isinstance(error, PipelineError):
            raise
        err.print(f"error: process {found.rank + 1} of {found.size}: {error}", style="red", markup=False)
        return 1
    return 0


def main() -> None:
    """Entry point; of several processes that were started as one command, the first runs it."""
    _quiet_libraries()
    with _errors_told():
        found = peers()
    if found is not None and not found.is_first:
        sys.exit(_follow(found))
    with leading(found), _errors_told():
        app()


if __name__ == "__main__":
    main()
