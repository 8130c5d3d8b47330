"""Which importer reads which of a run's sources, and in which parts."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from ..config import EventsConfig
from ..errors import ConfigError, InputError, unknown_name
from ..importers import thumbs_jsonl
from ..importers.registry import DETECTED, format_of, importer
from ..importers.shared.fields import OPTION_OF
from ..reading import encodings
from ..reading.files import FileSource, take_sample
from ..reading.fitting import fitted
from ..reading.hub import OPTIONS as HUB_OPTIONS
from ..reading.hub import HubSource
from ..reading.inputs import Inputs
from ..reading.records import Options, Sample, Source
from ..reading.streams import ByteRange, is_compressed
from .fast_parquet import RowGroups, has_plain_columns, row_group_parts

_NO_OPTIONS: Final[Options] = {}
# Logs of texts take about a quarter of their size, be it by gzip or zstd.
_COMPRESSED_TIMES: Final = 4


class FastWay(NamedTuple):
    """What reading a product log's lines fast takes: its layout, and the fields of a usual line."""

    layout: thumbs_jsonl.Layout
    fields: list[str]


class Plan(NamedTuple):
    """One source and how it is read.

    Attributes:
        source: Where the rows come from.
        format: Name of the importer; None where the source is refused.
        options: The importer's, out of the run's.
        refusal: Why it is refused.
        fast: Set where lines can be read many at a time.
        beside: The other sources of a format whose votes and texts may lie in different ones.
    """

    source: Source
    format: str | None
    options: Options = _NO_OPTIONS
    refusal: str = ""
    fast: FastWay | None = None
    beside: tuple[Source, ...] = ()


class Unit(NamedTuple):
    """A part of a source that is read in one go.

    Attributes:
        number: Its place among all units: by name of the source, then by place in it.
        plan: The source, and how it is read.
        part: Which lines or row groups of the file; None: the whole source.
    """

    number: int
    plan: Plan
    part: ByteRange | RowGroups | None

    @property
    def content_bytes(self) -> int:
        """About how much there is to read: what a file takes on disk, or once it is unpacked; what row groups hold."""
        if isinstance(self.part, RowGroups):
            return self.part.content_bytes
        if self.part is not None:
            return self.part.stop - self.part.start
        sources = (self.plan.source, *self.plan.beside)
        return sum(_content_bytes(source.path) for source in sources if isinstance(source, FileSource))


def _content_bytes(path: Path) -> int:
    return path.stat().st_size * (_COMPRESSED_TIMES if is_compressed(path) else 1)


def plan(inputs: Inputs, config: EventsConfig) -> list[Plan]:
    """Which importer reads which source.

    Raises:
        ConfigError: The format is unknown, or an option belongs to none of the formats found.
        InputError: A file that the user named has fields that no format knows, or no file at all can be read.
    """
    stated = _stated_format(config.format)
    encoding = encodings.check_encoding(config.options.get(encodings.OPTION))
    plans: list[Plan] = []
    for file in inputs.files:
        source = FileSource(file.path, file.name, config.max_line_bytes, None if file.added else encoding)
        own = (None, _NO_OPTIONS) if file.added else (stated, config.options)
        plans.append(plan_file(source, file.explicit, *own))
    plans.extend(plan_hub(HubSource(address, config.options), stated, config.options) for address in inputs.addresses)
    if not any(entry.format for entry in plans):
        raise InputError(plans[0].refusal)
    _check_options(plans, config.options)
    return read_together(plans)


def _stated_format(name: str) -> str | None:
    """The format that the run states; None where it is to be detected."""
    if name in DETECTED:
        return None
    try:
        importer(name)
    except ConfigError as error:
        raise ConfigError(f"events.format: {error}") from error
    return name


def read_together(plans: list[Plan]) -> list[Plan]:
    """The plans, those of one joined format as one."""
    first_plans: dict[str, Plan] = {}
    for entry in plans:
        joined = entry.format is not None and importer(entry.format).read_together is not None
        name = f"format {entry.format}" if joined else f"source {entry.source.name}"
        first = first_plans.setdefault(name, entry)
        if first is not entry:
            first_plans[name] = first._replace(beside=(*first.beside, entry.source))
    return list(first_plans.values())


def plan_file(source: FileSource, explicit: bool, stated: str | None, options: Options) -> Plan:
    """Which importer reads a file.

    Args:
        source: The file.
        explicit: Whether the user named this very file.
        stated: The format that the run states; None: it is told by the fields.
        options: The run's.

    Raises:
        InputError: The file is of no format and was named, or its columns are not clear.
        ConfigError: An option's value does not hold.
    """
    if foreign := source.content.foreign:
        if explicit:
            raise InputError(f"{source.name}: {foreign}.")
        return Plan(source, None, refusal=f"{source.name}: {foreign}.")
    source, sample = fitted(source, partial(_fits, stated=stated, options=options))
    if stated not in (None, thumbs_jsonl.NAME):
        return Plan(source, stated, _known_options(stated, options))
    try:
        format_name = stated or format_of(sample, options)
    except InputError as error:
        # A file without one readable row is read all the same: each of its rows becomes a reject with its reason.
        if sample.records:
            if explicit:
                raise
            return Plan(source, None, refusal=str(error))
        format_name = thumbs_jsonl.NAME
    return _with_fast_way(source, sample, format_name, options, strict=explicit or stated is None)


def _with_fast_way(source: FileSource, sample: Sample, format_name: str, options: Options, *, strict: bool) -> Plan:
    own = _known_options(format_name, options)
    try:
        fast = _fast_way(source, sample, own) if format_name == thumbs_jsonl.NAME and sample.records else None
    except InputError as error:
        # What lies in a folder beside its logs is told with its name, and does not hide them.
        if strict:
            raise
        return Plan(source, None, refusal=str(error))
    return Plan(source, format_name, own, fast=fast)


def _fits(sample: Sample, stated: str | None, options: Options) -> bool:
    """Whether the stated format, or any where none is stated, knows a sample."""
    if stated is not None:
        return importer(stated).detect(sample, options)
    try:
        return bool(format_of(sample, options))
    except InputError:
        return False


def plan_hub(source: HubSource, stated: str | None, options: Options) -> Plan:
    """Which importer reads a data set; raises as `plan_file` of a named file."""
    rest = {name: value for name, value in options.items() if name not in HUB_OPTIONS}
    format_name = stated or format_of(take_sample(source), rest)
    return Plan(source, format_name, _known_options(format_name, rest))


def _fast_way(source: FileSource, sample: Sample, options: Options) -> FastWay | None:
    layout = thumbs_jsonl.layout_of(sample, options)
    plain = has_plain_columns(source.path, layout) if source.is_parquet else source.holds_lines
    return FastWay(layout, list(sample.records[0])) if plain and not layout.linked else None


def _known_options(format_name: str, options: Options) -> Options:
    return {name: value for name, value in options.items() if name in importer(format_name).options}


def _check_options(plans: list[Plan], options: Mapping[str, str]) -> None:
    formats = sorted({entry.format for entry in plans if entry.format is not None})
    known = {name for format_name in formats for name in importer(format_name).options}
    of_hub = any(isinstance(entry.source, HubSource) for entry in plans)
    known |= HUB_OPTIONS.keys() if of_hub else set()
    known |= encodings.OPTIONS.keys() if not all(isinstance(entry.source, HubSource) for entry in plans) else set()
    for name in options:
        if name not in known:
            kind = f"option of {' or '.join([*formats, *(['hub:'] if of_hub else [])])}"
            raise ConfigError(f"events.options: {unknown_name(kind, name, known or ['none'], OPTION_OF)}")


def units(plans: list[Plan], unit_bytes: int) -> list[Unit]:
    """The plans in parts of about `unit_bytes`, where a source can be read in parts."""
    parts = [
        (entry, part)
        for entry in sorted(plans, key=lambda entry: entry.source.name)
        for part in _parts(entry, unit_bytes) or [None]
    ]
    return [Unit(number, entry, part) for number, (entry, part) in enumerate(parts)]


def _parts(entry: Plan, unit_bytes: int) -> Sequence[ByteRange | RowGroups | None]:
    """The parts of one source; none where it is read as a whole."""
    source = entry.source
    if entry.fast is None or not isinstance(source, FileSource) or not source.is_divisible:
        return []
    if source.is_parquet:
        return row_group_parts(source.path, unit_bytes)
    size = source.path.stat().st_size
    starts = range(0, size, unit_bytes) if size > unit_bytes else range(0)
    return [ByteRange(start, min(start + unit_bytes, size)) for start in starts]
