"""Commands that are imported when they are called, so that `thumbline --help` waits for none of them."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class Lazy(NamedTuple):
    """A command that is not imported yet.

    Attributes:
        place: Module of this package and name in it, as `run:run_command`; a function, or a typer app with commands.
        summary: What `--help` says of it: the first line of its own help.
    """

    place: str
    summary: str

    def load(self, name: str) -> Any:
        """The command itself, as the group calls it."""
        module, _, found = self.place.partition(":")
        command = getattr(import_module(f".{module}", __package__), found)
        if not isinstance(command, typer.Typer):
            app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
            app.command(name)(command)
            command = app
        loaded: Any = get_command(command)
        loaded.name = name
        return loaded


class LazyGroup(TyperGroup):
    """A group that knows the names and first lines of `lazy`, and imports what is called."""

    lazy: ClassVar[Mapping[str, Lazy]] = {}

    def __init__(self, **given: Any) -> None:
        """As typer makes a group, with the lazy commands before those that it was given."""
        super().__init__(**given)
        own = dict(self.commands)
        self.commands = {name: TyperCommand(name, help=one.summary) for name, one in self.lazy.items()} | own

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.lazy[name].load(name) if name is not None and name in self.lazy else command, rest
