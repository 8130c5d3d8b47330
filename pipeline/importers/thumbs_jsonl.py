"""A plain product log: one row a rated answer, as JSON lines, CSV or Parquet, with a mapping of its column names.

A log may know more than votes, and each has its own event: an answer that was copied, asked for again (`regenerated`),
or edited; the side of a comparison that it was, under a `comparison_id`. How likely an answer was to be shown, and at
which place, goes with its events.

Every field goes by the first of its usual names that the file has; an option of the field's name states another
column, such as `prompt: question`. Labels are the usual words; a label of your own, and every number, is stated by
the options `up`, `down`, `retracted` and `unrated`, such as `up: "1"`, `down: "0"`, or `up: ">=4"`, `down: "<=2"`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from ..errors import InputError, examples
from ..reading.files import take_sample
from ..reading.records import Options, Record, RowError, Sample, Source
from .base import Batch, ImporterSpec, Message, RawEvent, Row, read_rows
from .shared import prompts, signals, times, values
from .shared.calls import offered_tools
from .shared.fields import LEAVABLE, NAMES, OPTIONAL, REQUIRED
from .shared.fields import OPTIONS as COLUMN_OPTIONS
from .shared.labels import described, told_by_others
from .shared.messages import answer, messages, said

NAME: Final = "thumbs_jsonl"
_LABELS: Final = {**values.VOTE_LABELS, **signals.COMPARED}
_PROMPT_PARTS: Final = ("input", "system", "history")
# What stands around a prompt beside its own column.
AROUND: Final = (*_PROMPT_PARTS, "tools")
SYSTEM: Final = "system"
_NONE_ABSENT: Final[Mapping[str, str]] = {}
_NOTHING_EARLIER: Final = signals.Earlier({}, frozenset(), flagged=False)


class Layout(NamedTuple):
    """How the rows of one log are read.

    Attributes:
        columns: Field of an event to column of the log.
        votes: Label, lower case, to vote.
        time_unit: What a numeric time counts.
        watched: Columns of what users do beside voting: a row that has one may be several events.
        linked: Whether rows name other rows of the log, so that they cannot be read apart.
        around: Where the parts of a prompt lie; None where it lies in its own column alone.
        absent: Usual name to its field, for optional fields that the first rows lack: a later row may have them.
    """

    columns: Mapping[str, str]
    votes: Mapping[str, str]
    time_unit: str
    watched: frozenset[str]
    linked: bool
    around: prompts.PromptColumns | None = None
    absent: Mapping[str, str] = _NONE_ABSENT


def detect(sample: Sample, options: Options) -> bool:
    """Whether the sample has a prompt, a completion and a vote under a usual or a stated name."""
    return not [name for name in REQUIRED if not _candidates(name, sample.fields, options)]


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the log.

    Raises:
        InputError: A stated column, or every usual name of a required field, is missing from the first rows; or two
            usual names of the vote are there and which one counts is not stated.
        ConfigError: An option's value does not hold.
    """
    sample = take_sample(source)
    layout = layout_of(sample, options)
    earlier = signals.find_earlier(source, sample.fields, layout.columns, lambda record: _exposed(record, layout))
    return read_rows(source, lambda record: parse(record, layout, earlier))


def layout_of(sample: Sample, options: Options) -> Layout:
    """How the sample's log is to be read.

    Raises:
        InputError: As in `read`.
        ConfigError: As in `read`.
    """
    mapping = _mapping(sample, options)
    stated = {vote: options[vote] for vote in _LABELS if vote in options}
    compared = {label: vote for vote, labels in signals.COMPARED.items() for label in labels}
    told = told_by_others(record.get(mapping["vote"]) for record in sample.records)
    table, unit = values.vote_table(stated).over(compared | dict(signals.DONE) | told), values.time_unit(options)
    watched = frozenset(mapping[name] for name in signals.COLUMNS)
    linked = mapping["regenerated_from"] in sample.fields
    return Layout(mapping, table, unit, watched, linked, _around(mapping), _absent(mapping, sample.fields, options))


def _absent(mapping: Mapping[str, str], fields: list[str], options: Options) -> dict[str, str]:
    """Usual name to field, of what the first rows have no column for; a field's first name comes last."""
    missing = [name for name in OPTIONAL if name not in mapping and not _is_left_out(name, options)]
    if mapping["prompt"] != "instruction":
        missing = [name for name in missing if name != "input"]
    return {column: name for name in missing for column in reversed(OPTIONAL[name]) if column not in fields}


def _with_late(layout: Layout, row: Row) -> Layout:
    """The layout of a row that has usual columns which the first rows lack."""
    late = {name: column for column, name in layout.absent.items() if column in row}
    columns = {**layout.columns, **late}
    return layout._replace(columns=columns, around=_around(columns))


def _around(mapping: Mapping[str, str]) -> prompts.PromptColumns | None:
    if mapping.keys().isdisjoint(_PROMPT_PARTS):
        return None
    names = {part: (mapping[part],) if part in mapping else () for part in ("prompt", *_PROMPT_PARTS)}
    return prompts.PromptColumns(
        names["prompt"], names["input"], names["system"], names["history"], frozenset(mapping.keys() & {"input"})
    )


def parse(record: Record, layout: Layout, earlier: signals.Earlier = _NOTHING_EARLIER) -> Iterable[RawEvent | RowError]:
    """The events of one row.

    Args:
        record: The row.
        layout: How its log is read.
        earlier: Answers that other rows were regenerated from; a layout that is not `linked` has none.

    Raises:
        RowError: The row cannot be used.
    """
    event = _exposed(record, layout)
    if layout.watched.isdisjoint(record.value):  # the plain row of most logs: nothing else to look for
        return [_compared(event, record, layout.columns)]
    return _events(event, record, layout.columns, earlier)


def _exposed(record: Record, layout: Layout) -> RawEvent:
    event = _event(record, layout)
    return event if layout.watched.isdisjoint(record.value) else signals.exposed(event, record.value, layout.columns)


def _is_left_out(name: str, options: Options) -> bool:
    """Whether an option says that the log has no such field, whatever its columns are called."""
    return name in LEAVABLE and options.get(name) == ""


def _is_wanted(name: str, options: Options) -> bool:
    return name in REQUIRED or (name in options and not _is_left_out(name, options))


def _candidates(name: str, fields: list[str], options: Options) -> list[str]:
    """Columns that may hold a field: those of its names, or else of these names in other letters or with spaces."""
    if _is_left_out(name, options):
        return []
    names = (options[name],) if name in options else NAMES[name]
    folded = {field.strip().lower(): field for field in reversed(fields)}
    found = (candidate if candidate in fields else folded.get(candidate.lower()) for candidate in names)
    return list(dict.fromkeys(field for field in found if field is not None))


def _mapping(sample: Sample, options: Options) -> dict[str, str]:
    """Field of an event to column of the log, for the fields that the log has."""
    fields = sample.fields
    if not sample.records:
        # Nothing readable: whatever the columns are called, every row is a reject already.
        return {name: names[0] for name, names in NAMES.items()}
    candidates = {name: _candidates(name, fields, options) for name in NAMES}
    if "input" not in options and candidates["prompt"][:1] != ["instruction"]:
        candidates["input"] = []
    missing = [name for name, columns in candidates.items() if not columns and _is_wanted(name, options)]
    if missing:
        raise InputError(
            f"{sample.name}: no column for {', '.join(missing)} among: {examples(fields, 20)}. "
            f"State it in events.options, for example {missing[0]}: {(fields or ['column'])[0]}."
        )
    if len(candidates["vote"]) > 1:
        raise InputError(
            f"{sample.name}: columns {' and '.join(candidates['vote'])} could each be the vote. "
            f"State one in events.options, for example vote: {candidates['vote'][0]}."
        )
    if candidates["regenerated_from"] and not candidates["event_id"]:
        raise InputError(
            f"{sample.name}: column {candidates['regenerated_from'][0]} names other rows, "
            "and no column holds their ids. "
            f"State it in events.options, for example event_id: {fields[0]}."
        )
    # What users do beside voting is rare: its columns may begin after the first rows.
    later = {name: names[0] for name, names in signals.COLUMNS.items() if not candidates[name]}
    return {name: columns[0] for name, columns in candidates.items() if columns} | later


def _compared(event: RawEvent, record: Record, mapping: Mapping[str, str]) -> RawEvent:
    return signals.compared_as(event, record.value, mapping) if event.vote in signals.COMPARED else event


def _events(
    event: RawEvent, record: Record, mapping: Mapping[str, str], earlier: signals.Earlier
) -> Iterator[RawEvent | RowError]:
    """The event of a row, and those of what else was done with its answer."""
    yield _compared(event, record, mapping)
    yield from signals.done(event, record.value, mapping)
    yield from signals.regenerated(event, record.value, mapping, earlier)


def _prompt(row: Row, layout: Layout) -> list[Message]:
    name = layout.columns["prompt"]
    value = values.present(row, name)
    if layout.around is None:
        return messages(value, name, empty="empty_prompt")
    return prompts.prompt_of(row, layout.around)


def _event(record: Record, layout: Layout) -> RawEvent:
    row = record.value
    if not layout.absent.keys().isdisjoint(row):
        layout = _with_late(layout, row)
    mapping = layout.columns
    completion = mapping["completion"]
    answered = answer(values.present(row, completion), completion)
    return RawEvent(
        # Kept where another row speaks of this one, as one that was regenerated from it does.
        line=record.line,
        source_event_id=values.identifier(row, mapping.get("event_id")),
        conversation_id=values.identifier(row, mapping.get("conversation_id")),
        user_id=values.identifier(row, mapping.get("user_id")),
        model=values.identifier(row, mapping.get("model")),
        prompt=prompts.before_answers(_prompt(row, layout), mapping["prompt"], [said(answered)]),
        tools=offered_tools(row.get(mapping["tools"]), mapping["tools"]) if "tools" in mapping else None,
        **answered._asdict(),
        vote=values.vote(row, mapping["vote"], layout.votes),
        created_at=values.time(row, mapping.get("created_at"), layout.time_unit),
    )


SPEC: Final = ImporterSpec(
    name=NAME,
    description="A product log of your own: one row an answer with its prompt and its vote (JSONL, CSV, Parquet).",
    detect=detect,
    read=read,
    options={
        **COLUMN_OPTIONS,
        **{vote: described(vote, labels) for vote, labels in _LABELS.items()},
        **times.OPTIONS,
    },
)
