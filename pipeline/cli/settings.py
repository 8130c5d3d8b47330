"""The command `settings`: what a run file may hold, and its schema for editors."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from ..config.schema import Setting, run_schema, settings_named, summaries
from ..errors import ConfigError
from . import completing
from .terminal import out, print_entries, print_json, print_rows

# Who asks for it may mean the hyper-parameter in train.loss.
_LIKE_A_LOSS_S: Final = "metrics.beta"


def settings_command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A section or a key, such as train or train.epochs; none lists them.",
            metavar="NAME",
            autocompletion=completing.settings,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every setting as JSON.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a run file, for editors.")] = False,
) -> None:
    """Explain the settings of a run file: meaning, unit, range, default."""
    if schema:
        if name is not None or as_json:
            raise ConfigError("settings --schema: the schema is of the whole run file; leave the other arguments out.")
        print_json(run_schema())
    elif as_json:
        print_json([setting._asdict() for setting in settings_named(name)])
    elif name is None:
        _print_sections()
    else:
        _print_settings(settings_named(name))


def _print_sections() -> None:
    """The sections in the run file's order, and how many settings each has."""
    known = settings_named()
    rows = [
        {
            "section": section or "(the file itself)",
            "settings": sum(one.key.rpartition(".")[0] == section for one in known),
            "what": what,
        }
        for section, what in summaries().items()
    ]
    print_rows(rows, whole=("section",))
    out.print("`thumbline settings SECTION` explains its settings.", markup=False)


def _print_settings(settings: Sequence[Setting]) -> None:
    """Each with what it takes, its unit, its default and its meaning."""
    print_entries((one.key, "; ".join([one.takes + _unit(one), *_default(one)]), one.meaning) for one in settings)
    if [setting.key for setting in settings] == [_LIKE_A_LOSS_S]:
        out.print("`thumbline losses METHOD` explains the hyper-parameters of a method, such as beta.", markup=False)


def _unit(setting: Setting) -> str:
    return f" ({setting.unit})" if setting.unit else ""


def _default(setting: Setting) -> list[str]:
    if setting.takes == "section":
        return []
    return ["required" if setting.required else f"default {_as_yaml(setting.default)}"]


def _as_yaml(value: Any) -> str:
    """A default as a run file would state it, on one line."""
    return value if isinstance(value, str) and value else "unset" if value is None else json.dumps(value)
