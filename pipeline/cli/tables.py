"""The command `tables`: what the line's tables hold, and the first rows of one of a run's, with their texts."""

import json
from typing import Annotated, Any, Final

import typer

from ..errors import ConfigError, unknown_name
from . import completing
from .terminal import only_document, out, plain_line, print_entries, print_json, print_rows

_CELL_CHARACTERS: Final = 300


def tables_command(
    name: Annotated[
        str | None,
        typer.Argument(help="A table; none lists them all.", metavar="TABLE", autocompletion=completing.tables),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Show this run's first rows of the table, events and answers with texts."),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows are shown.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows of a run as one JSON document.")] = False,
) -> None:
    """Show the tables of the line, the columns of one of them, or its rows in a run."""
    from ..tables import TABLES

    if name is not None and name not in TABLES:
        raise ConfigError(unknown_name("table", name, TABLES))
    if of is not None:
        _show_rows(name, of, rows, as_json=as_json)
    elif name is None:
        print_rows([{"table": table, "columns": ", ".join(schema.columns)} for table, schema in TABLES.items()])
    else:
        _explain(name)


def _explain(name: str) -> None:
    from ..tables import describe_table

    missing = {"no": "", "allowed": "; may be null", "the column too": "; the column may be absent"}
    print_entries(
        (
            row["column"],
            row["type"] + (f"; {row['values']}" if row["values"] else "") + missing[row["missing"]],
            row["meaning"],
        )
        for row in describe_table(name)
    )


def _show_rows(name: str | None, run: str, limit: int, *, as_json: bool) -> None:
    from .. import line

    if name is None:
        raise ConfigError("tables --of RUN: name the table, such as `thumbline tables responses --of RUN`.")
    with only_document(as_json):
        config = line.open_run(run)
        found = line.first_rows(config.run_dir, name, limit)
    shown = [json.loads(row) for row in found.write_ndjson().splitlines()]
    if as_json:
        print_json({"run": config.place(), "table": name, "rows": shown})
        return
    if not shown:
        out.print(f"Table {name} has no rows.")
    for number, row in enumerate(shown, start=1):
        for index, (column, value) in enumerate(row.items()):
            mark = f"{number}." if index == 0 else ""
            out.print(f"  {mark:<3} {column}: {_cell(value)}", markup=False, soft_wrap=True)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return plain_line(text if len(text) <= _CELL_CHARACTERS else f"{text[:_CELL_CHARACTERS]}…")
