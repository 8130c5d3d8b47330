"""`thumbline reference`: score rows, join what is stored, and look after the store."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..config import build_config
from ..errors import ConfigError
from ..hiding import without_secrets
from . import completing
from .documents import JsonOption
from .options import ModelOption, ScoringArguments, grouped
from .terminal import ConsoleReporter, err, out, print_json, print_rows

_DEFAULT = "score"


class _ScoreByDefault(TyperGroup):
    """A group whose first argument may also be rows: `reference ROWS` is `reference score ROWS`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the command where the arguments do not."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [_DEFAULT, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_ScoreByDefault,
    help="Reference log-probs of your own rows, and the store that keeps them. `reference ROWS` scores rows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

RowsArgument = Annotated[
    str,
    typer.Argument(
        help="Pairs or labelled answers, in TRL's layouts or another of `thumbline formats`.", metavar="ROWS"
    ),
]
FileOption = Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.")]
StoreArgument = Annotated[str, typer.Argument(help="Folder or address of stored log-probs.", metavar="STORE")]
StoreOption = Annotated[
    str | None, typer.Option(help="Folder or address of stored log-probs; default: beside the output.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, as in a run file. Repeatable.",
        autocompletion=completing.assignments,
    ),
]


def _request(rows: str, model: str, store: str, settings: list[str] | None, **given: dict[str, Any]) -> Any:
    from ..config import override
    from ..reference.rows import Request

    document: dict[str, Any] = {"name": "reference", "model": model, "events": {"inputs": [rows]}, **given}
    for setting in settings or ():
        override(document, setting)
    config = build_config(document, origin="command line")
    return Request(rows, config.model, config.reference, config.sequences, store, config.events)


@app.command("score")
@grouped
def score_command(
    rows: RowsArgument,
    output: FileOption,
    model: ModelOption,
    scoring: ScoringArguments,
    store: StoreOption = None,
    settings: SetOption = None,
) -> None:
    """Add the reference model's log-probs to rows, as the columns that TRL's trainers take.

    What the store already holds is not scored again.
    """
    from ..reference import rows as reference_rows

    address = store or str(output.parent / "store")
    request = _request(rows, model, address, settings, **scoring.sections())
    done = reference_rows.score_rows(request, output, ConsoleReporter())
    _print_rows_written(output, done)
    out.print(f"{done.scored:,} sequences scored, {done.stored:,} from the store {address}")


@app.command("export")
@grouped
def export_command(
    rows: RowsArgument,
    output: FileOption,
    model: ModelOption,
    store: Annotated[str, typer.Option(help="Folder or address of stored log-probs.")],
    scoring: ScoringArguments,
    settings: SetOption = None,
) -> None:
    """Join stored log-probs to your own rows, all of their columns kept; nothing is scored.

    Rows whose log-probs are not all stored are left out and counted.
    """
    from ..reference import rows as reference_rows

    _print_rows_written(
        output, reference_rows.export_rows(_request(rows, model, store, settings, **scoring.sections()), output)
    )


def _print_rows_written(output: Path, done: Any) -> None:
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in done.rejected.items()) or "none"
    out.print(f"{output}: {done.rows:,} {done.kind} rows; left out: {left_out}")
    for sentence in done.said:
        err.print(f"  {sentence}", style="yellow", markup=False)


@app.command("verify")
def verify_command(
    what: Annotated[str, typer.Argument(help="A run's folder or YAML file; or rows, with --model and --store.")],
    rows: Annotated[int, typer.Option(min=1, help="Sequences to score again, at most.")] = 32,
    seed: Annotated[int, typer.Option(help="Draws them.")] = 0,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Of rows: the reference model.")] = None,
    store: Annotated[str | None, typer.Option(help="Of rows: folder or address of stored log-probs.")] = None,
    settings: SetOption = None,
) -> None:
    """Score a sample of stored sequences again and compare; exit with 1 where they differ by more than rounding.

    Shards that are cut or changed are found by their digests, named and set aside.
    """
    from .. import line
    from ..reference import care as reference_tools

    if (model is None) != (store is None):
        raise ConfigError("reference verify: rows need both --model and --store; a run needs neither.")
    if model is not None and store is not None:
        request = _request(what, model, store, settings)
        checked = reference_tools.verify_rows(request, rows, seed)
    else:
        config = line.open_run(what, tuple(settings or ()))
        checked = reference_tools.verify_run(config, rows, seed)
    out.print(
        f"{checked.stored:,} of {checked.wanted:,} sequences stored (by {checked.stored_route}); "
        f"{checked.compared:,} scored again by {checked.route}: mean difference {checked.mean_difference:.3g} nats, "
        f"largest {checked.largest_difference:.3g}"
    )
    problems = [checked.fault] if checked.fault else []
    problems += [f"{checked.broken:,} shards were broken and are set aside"] if checked.broken else []
    if problems:
        err.print(f"error: {'; '.join(problems)}.", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1)


@app.command("stats")
def stats_command(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Show what a store holds: one line a key, each shard checked by its digest.

    The document has `store` and `keys`, each with `key`, `model`, `engine`, `route`, `dtype`, `shards`, `sequences`,
    `tokens`, `bytes` and `broken`, the number of shards whose bytes are not those that were stored.
    """
    from ..reference import care as reference_tools

    rows = reference_tools.store_facts(store)
    if as_json:
        print_json({"store": without_secrets(store), "keys": rows})
    elif not rows:
        out.print(f"{store}: nothing is stored here.", markup=False, soft_wrap=True)
    else:
        print_rows(rows, whole=tuple(rows[0]))


@app.command("gc")
def gc_command(
    store: StoreArgument,
    runs: Annotated[Path, typer.Option(help="Folder of the runs whose sequences are kept.")] = Path("runs"),
    older_than: Annotated[float, typer.Option(min=0.0, help="Hours; what was written later is kept.")] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run/--delete", help="Only count, or delete.")] = True,
) -> None:
    """Find shards that no run refers to, and files that were set aside as broken; --delete deletes them."""
    from ..reference import care as reference_tools

    swept = reference_tools.sweep(store, runs, older_than, delete=not dry_run)
    verb = "would be deleted (--delete does it)" if dry_run else "deleted"
    out.print(f"{swept.files:,} files with {swept.rows:,} sequences, {swept.size:,} bytes, {verb}")
