"""HelpSteer's preferences: two responses to one context, and by how much people preferred one.

The scale runs from -3 (the first is much better) over 0 (about the same: a tie) to 3 (the second is much better). Rows
of HelpSteer3 hold the context as messages and `overall_preference`; rows of HelpSteer2 hold a prompt and
`preference_strength`. How strong a preference is, is not kept: an event says which, not how much.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import Options, Record, Sample, Source
from .base import Batch, ImporterSpec, RawEvent, read_rows
from .shared import values
from .shared.votes import compared, known_label

NAME: Final = "helpsteer"
_OUTCOMES: Final = {-3: "first", -2: "first", -1: "first", 0: "tied", 1: "second", 2: "second", 3: "second"}


class _Layout(NamedTuple):
    prompt: str
    answers: tuple[str, str]
    preference: str


_LAYOUTS: Final = (
    _Layout("context", ("response1", "response2"), "overall_preference"),
    _Layout("prompt", ("response_1", "response_2"), "preference_strength"),
)


def detect(sample: Sample, options: Options) -> bool:
    """Whether the rows have the columns of one of the releases."""
    return any({layout.prompt, *layout.answers, layout.preference} <= set(sample.fields) for layout in _LAYOUTS)


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the comparisons."""
    return read_rows(source, _events)


def _events(record: Record) -> list[RawEvent]:
    row = record.value
    layout = next((one for one in _LAYOUTS if one.preference in row), _LAYOUTS[0])
    outcome = known_label(values.present(row, layout.preference), _OUTCOMES, layout.preference)
    prompt = values.messages(values.present(row, layout.prompt), layout.prompt, empty="empty_prompt")
    first, second = (_side(record, prompt, field, place) for place, field in enumerate(layout.answers, start=1))
    return compared(first, second, outcome, "preference")


def _side(record: Record, prompt: list[dict[str, str]], field: str, place: int) -> RawEvent:
    completion: Any = values.present(record.value, field)
    return RawEvent(
        prompt=prompt,
        completion=values.answer(completion, field),
        position=place,
    )


SPEC: Final = ImporterSpec(
    name=NAME,
    description="HelpSteer2 and HelpSteer3 preferences: two responses and a preference from -3 to 3, 0 a tie.",
    detect=detect,
    read=read,
)
