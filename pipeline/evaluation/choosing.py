"""Which layout a file of preferences has: one that is stated, or the first that its columns fit."""

from ..errors import ConfigError, InputError, unknown_name
from ..importers.registry import importer, importer_names
from ..reading.records import Options, Sample
from .layouts import LAYOUTS


def layout_names() -> list[str]:
    """Layouts that can be asked for: those of evaluation alone, and importers that take one file at a time."""
    formats = {name: importer(name) for name in importer_names()}
    return [*LAYOUTS, *(name for name, spec in formats.items() if spec.read_together is None or spec.alone)]


def detects(layout: str, sample: Sample, options: Options) -> bool:
    """Whether a file with these first rows is of a layout."""
    return LAYOUTS[layout].detect(sample) if layout in LAYOUTS else importer(layout).detect(sample, options)


def found_layout(location: str, sample: Sample, asked: str, options: Options) -> str:
    """The name of a file's layout.

    Raises:
        ConfigError: There is no layout of the name that was asked for.
        InputError: The columns fit none.
    """
    if asked != "auto":
        if asked not in layout_names():
            raise ConfigError(f"--layout: {unknown_name('layout', asked, ['auto', *layout_names()])}")
        return asked
    for name in layout_names() if sample.records else ():
        if detects(name, sample, options):
            return name
    columns = ", ".join(sample.fields) or "none that can be read"
    raise InputError(
        f"{location}: columns {columns} fit no layout of pairs. Rename them to prompt, chosen and rejected; "
        f"known layouts: {', '.join(LAYOUTS)}, and what `thumbline formats` lists."
    )
