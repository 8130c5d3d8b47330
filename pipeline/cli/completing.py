"""What a shell offers after the tab key: names of methods, stages, tables, formats, judges and settings.

Lists that stand in a source are read from there: a shell should not wait for the libraries that importing them takes.
"""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parents[2]


def methods(incomplete: str) -> list[str]:
    """Names of `thumbline losses` that begin so, those of other packages too."""
    own = [*names_in("losses/registry.py", "LOSSES"), *names_in("losses/registry.py", "ROLLOUTS")]
    return _beginning(incomplete, [*own, *_added("thumbline.losses")])


def stages(incomplete: str) -> list[str]:
    """Stages that begin so, in the line's order."""
    return _beginning(incomplete, names_in("pipeline/line/stages.py", "STAGE_NAMES"))


def tables(incomplete: str) -> list[str]:
    """Names of `thumbline tables` that begin so."""
    return _beginning(incomplete, names_in("pipeline/tables/registry.py", "TABLES"))


def formats(incomplete: str) -> list[str]:
    """Names of `thumbline formats` that begin so, those of other packages too, and `auto`."""
    known = names_in("pipeline/importers/registry.py", "_IN_ORDER")
    return _beginning(incomplete, ["auto", *known, *_added("thumbline.importers")])


def judges(incomplete: str) -> list[str]:
    """Names of `thumbline judges` that begin so, those of other packages too."""
    known = names_in("pipeline/judges/registry.py", "JUDGES")
    return _beginning(incomplete, [*known, *_added("thumbline.judges")])


def settings(incomplete: str) -> list[str]:
    """Sections and keys of a run file that begin so; sections alone until a dot is typed."""
    from ..config.keys import sections
    from ..config.schema import settings_named

    named = [*filter(None, sections()), *(one.key for one in settings_named())]
    return list(dict.fromkeys(name for name in _beginning(incomplete, named) if "." not in name or "." in incomplete))


def assignments(incomplete: str) -> list[str]:
    """Keys that begin so, each with the `=` that its value follows."""
    from ..config.schema import settings_named

    return [f"{key}=" for key in _beginning(incomplete, (one.key for one in settings_named()))]


def names_in(file: str, name: str) -> list[str]:
    """The entries of a tuple, or the keys of a dictionary, that a module of the package calls `name`.

    An entry such as `arena.SPEC` is named after its module.

    Args:
        file: The module's file, from the package's folder.
        name: A name that it assigns.
    """
    for statement in ast.parse((_PACKAGE / file).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = statement.value
            if statement.target.id == name and isinstance(value, ast.Dict | ast.Tuple):
                parts = value.keys if isinstance(value, ast.Dict) else value.elts
                return [_name_of(part) for part in parts]
    return []


def _name_of(part: ast.expr | None) -> str:
    if isinstance(part, ast.Attribute):
        return _name_of(part.value)
    return part.id if isinstance(part, ast.Name) else str(part.value) if isinstance(part, ast.Constant) else ""


def _added(group: str) -> list[str]:
    """Names that other packages add under an entry point's group; nothing of theirs is loaded."""
    from importlib.metadata import entry_points

    return [entry.name for entry in entry_points(group=group)]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
