"""What other packages add by entry points: listed when somebody asks for it, loaded when it is used.

The groups are `thumbline.losses`, `thumbline.importers`, `thumbline.evaluators` and `thumbline.judges`. A package
names its specs in its own pyproject.toml:

    [project.entry-points."thumbline.losses"]
    mine = "my_package.mine:SPEC"
"""

from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

_Spec = TypeVar("_Spec")


class PluginError(ValueError):
    """A plugin that cannot be used; the message names it and its package."""


class Plugins(Generic[_Spec]):
    """The specs of one kind that installed packages add."""

    def __init__(self, group: str, kind: type[_Spec], own: Collection[str]) -> None:
        """Nothing is looked up yet.

        Args:
            group: The entry points' group.
            kind: What an entry point has to stand for.
            own: Names that come with thumbline, which no plugin may take.
        """
        self._group, self._kind, self._own = group, kind, own
        self._loaded: dict[str, _Spec] = {}

    def names(self) -> list[str]:
        """Names of all plugins, sorted, those that cannot be used too."""
        return list(_points(self._group))

    def get(self, name: str) -> _Spec | None:
        """The spec of the plugin `name`; None where no package adds one of this name.

        Raises:
            PluginError: The name is taken, or what it stands for does not load or is no spec.
        """
        if name not in _points(self._group):
            return None
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def origin(self, name: str) -> str:
        """Package and version that the plugin `name` comes from."""
        return " and ".join(map(_origin, _points(self._group)[name]))

    def _load(self, name: str) -> _Spec:
        points = _points(self._group)[name]
        what = f"{self._group.rpartition('.')[2]} plugin '{name}' of {self.origin(name)}"
        if name in self._own:
            raise PluginError(f"{what}: thumbline has its own '{name}'. Rename the entry point, or uninstall it.")
        if len(points) > 1:
            raise PluginError(f"{what}: two packages take one name. Uninstall one of them.")
        try:
            spec = points[0].load()
        except Exception as error:  # importing somebody else's package may raise anything
            told = f"{type(error).__name__}: {error}"
            raise PluginError(f"{what} does not load ({told}). Repair or uninstall the package.") from error
        if not isinstance(spec, self._kind):
            kind = type(spec).__name__
            raise PluginError(f"{what}: {points[0].value} is a {kind}, not a {self._kind.__name__}.")
        return spec


def origins(group: str, names: Iterable[str] | None = None) -> dict[str, str]:
    """What a stage that uses `names` depends on: each plugin among them with its package and version.

    Args:
        group: The entry points' group.
        names: Names of any kind; None for all plugins. Nothing is loaded.
    """
    points = _points(group)
    used = points if names is None else sorted(set(names) & points.keys())
    return {f"{group}:{name}": " and ".join(map(_origin, points[name])) for name in used}


@cache
def _points(group: str) -> dict[str, list[EntryPoint]]:
    """The group's entry points by name: one, or several packages' where they take the same."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        same = found.setdefault(point.name, [])
        # A package that lies twice on the path is found twice; the first one is what Python imports.
        if _package(point) not in map(_package, same):
            same.append(point)
    return dict(sorted(found.items()))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed package"


def _origin(point: EntryPoint) -> str:
    return f"{_package(point)} {point.dist.version}" if point.dist is not None else _package(point)
