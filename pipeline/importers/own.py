"""A function of the caller's own as a log format: one row goes in, its events come out.

It is called in this process only: other processes import importers by name, and a function given to a call has none.
A format that many processes read is an `ImporterSpec` of a package, named by an entry point.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ..errors import ConfigError, unknown_name
from ..reading.records import Record, RowError
from .base import Events, ImporterSpec, RawEvent, Row, each, read_rows
from .shared import signals, values
from .shared.calls import offered_tools
from .shared.messages import Answer, answer, messages

NAME: Final = "own"
_FIELDS: Final = tuple(name for name in RawEvent._fields if name != "line")
_AS_NAMED: Final = {name: name for name in _FIELDS}
_VOTES: Final = values.vote_table({}).over(
    {label: vote for vote, labels in signals.COMPARED.items() for label in labels} | dict(signals.DONE)
)
_MAX_DETAIL_CHARACTERS: Final = 200

Event = RawEvent | Mapping[str, Any]
Adapter = Callable[[Row], Event | Iterable[Event] | None]


def spec_of(function: Adapter, name: str = NAME) -> ImporterSpec:
    """The format that a function reads.

    Args:
        function: A row's event, or several: each a `RawEvent`, or a mapping of its fields, of which `prompt` and
            `completion` must be there. A prompt is a text or a list of messages; a vote is any label that a product
            log may have (`up`, `thumbs_down`, True, None for unrated); a time is one, a text, or seconds since 1970;
            `chosen` and `rejected` are two events with one `comparison_id`. A row is a reject where the function
            returns nothing or raises `RowError`, `ValueError` or `KeyError`.
        name: The events' `format`.
    """
    return ImporterSpec(
        name=name,
        description="Rows as a function of the caller's reads them.",
        detect=lambda sample, options: True,
        in_process=True,
        read=lambda source, options: read_rows(source, lambda record: events_of(record, function)),
    )


def events_of(record: Record, function: Adapter) -> Events:
    """The events that the function makes of a record.

    Raises:
        RowError: It refuses the row, or gives nothing that is an event.
        ConfigError: It returns something else than events, or a mapping with a field that an event does not have.
    """
    made = _called(function, record.value)
    events = [made] if isinstance(made, RawEvent | Mapping) else list(made or ())
    if not events:
        raise RowError("no_event", "the function returned no event for the row")
    return each(events, lambda event: [_event(event)])


def _called(function: Adapter, row: Row) -> Event | list[Event] | None:
    """What the function returns; a generator is run here, so that what it raises is known to be the function's."""
    try:
        made = function(row)
        if made is None or isinstance(made, RawEvent | Mapping):
            return made
        if isinstance(made, Iterable):
            return list(made)
    except RowError:
        raise
    except KeyError as error:
        raise RowError("missing_field", f"the function asks for field {error}"[:_MAX_DETAIL_CHARACTERS]) from error
    except ValueError as error:
        raise RowError("refused", f"the function says: {error}"[:_MAX_DETAIL_CHARACTERS]) from error
    raise ConfigError(_wrong_type("returned", made))


def _wrong_type(verb: str, made: object) -> str:
    return f"a reading function {verb} a {type(made).__name__}, not a RawEvent, a mapping of its fields, or a list."


def _answer(fields: Mapping[str, Any]) -> Answer:
    """The answer, with what the function says goes along with it.

    Raises:
        RowError: It says nothing.
    """
    extra = values.identifier(fields, "completion_extra")
    if extra is None:
        return answer(values.present(fields, "completion"), "completion")
    return answer([{"role": "assistant", "content": fields.get("completion"), "extra": extra}], "completion")


def _event(given: Event) -> RawEvent:
    """One event of the function's, each field read as strictly as a log's.

    Raises:
        RowError: A value does not hold.
        ConfigError: It is no event, or has a field that none has.
    """
    if not isinstance(given, RawEvent | Mapping):
        raise ConfigError(_wrong_type("listed", given))
    fields = given._asdict() if isinstance(given, RawEvent) else given
    for name in fields:
        if name not in RawEvent._fields:
            raise ConfigError(f"a reading function returned {unknown_name('field of an event', str(name), _FIELDS)}")
    # An event without messages before it says so by its type; a mapping may just have lost them.
    opens = isinstance(given, RawEvent) and given.prompt == []
    event = RawEvent(
        prompt=[] if opens else messages(values.present(fields, "prompt"), "prompt", empty="empty_prompt"),
        tools=offered_tools(fields.get("tools"), "tools"),
        **_answer(fields)._asdict(),
        vote=values.vote({"vote": fields.get("vote")}, "vote", _VOTES),
        source_event_id=values.identifier(fields, "source_event_id"),
        conversation_id=values.identifier(fields, "conversation_id"),
        user_id=values.identifier(fields, "user_id"),
        model=values.identifier(fields, "model"),
        created_at=values.time(fields, "created_at"),
    )
    event = signals.exposed(event, fields, _AS_NAMED)
    return signals.compared_as(event, fields, _AS_NAMED) if event.vote in signals.COMPARED else event
