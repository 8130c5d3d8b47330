"""The reading of a file that fits a format: as it is, with its columns' names in small letters, or out of a wrapper."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from .files import FileSource, take_sample
from .json_wrapped import wrapped_list
from .records import Sample


class Fitted(NamedTuple):
    """A file as it is to be read, and its first rows."""

    source: FileSource
    sample: Sample


def fitted(source: FileSource, fits: Callable[[Sample], bool]) -> Fitted:
    """The first reading of the file whose sample fits; the file as it is where none does.

    Args:
        source: The file.
        fits: Whether a format, the stated one or any, knows a sample.
    """
    plain = Fitted(source, take_sample(source))
    return next((found for found in _readings(plain) if fits(found.sample)), plain)


def rows_inside(source: FileSource) -> Sample:
    """The first rows of a file: of the list inside its one object, where it is one."""
    plain = Fitted(source, take_sample(source))
    inside = (found.sample for found in _readings(plain) if found.source.wrapped is not None)
    return next(inside, plain.sample)


def _readings(plain: Fitted) -> Iterator[Fitted]:
    source = plain.source
    yield from _with_names(plain)
    if len(plain.sample.records) > 1 or source.content.kind not in ("lines", "indented"):
        return
    inside = wrapped_list(source.path, source.encoding)
    if inside is not None:
        opened = source._replace(wrapped=inside)
        yield from _with_names(Fitted(opened, take_sample(opened)))


def _with_names(found: Fitted) -> Iterator[Fitted]:
    """As the columns are named, and in small letters without outer spaces where that differs."""
    yield found
    if any(name != name.strip().lower() for name in found.sample.fields):
        folded = found.source._replace(folded=True)
        yield Fitted(folded, take_sample(folded))
