"""The tree of a run file's keys, as the models of its sections say it."""

import functools
from typing import Any, Final, get_args

from .base import StageConfig
from .run import RunConfig

# The keys of the file itself.
TOP: Final = ""


@functools.cache
def sections() -> dict[str, type[StageConfig]]:
    """The model of each section by its dotted name, the file's own keys first, under `TOP`.

    A list of sections, such as `judges`, has the name of its key.
    """
    return dict(_within(TOP, RunConfig))


def _within(place: str, model: type[StageConfig]) -> list[tuple[str, type[StageConfig]]]:
    found = [(place, model)]
    for name, field in model.model_fields.items():
        section = section_in(field.annotation)
        if section is not None:
            found += _within(f"{place}.{name}".lstrip("."), section)
    return found


def section_in(annotation: Any) -> type[StageConfig] | None:
    """The section that a field holds, alone or in a list; None for a field of plain values."""
    if isinstance(annotation, type) and issubclass(annotation, StageConfig):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_in(part)) is not None), None)


def section_at(location: tuple[Any, ...]) -> type[StageConfig]:
    """The section at a place of a run file: names of sections, and numbers in lists of them."""
    place = ".".join(part for part in location if isinstance(part, str))
    return sections().get(place, RunConfig)
