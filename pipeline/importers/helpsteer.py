"""HelpSteer's preferences: two responses to one context, and by how much people preferred one.

The scale runs from -3 (the first is much better) over 0 (about the same: a tie) to 3 (the second is much better). Rows
of HelpSteer3 hold the context as messages and `overall_preference`; rows of HelpSteer2 hold a prompt and
`preference_strength`. How strong a preference is, is not kept: an event says which, not how much.
"""

from typing import Final, NamedTuple

from .base import RawEvent, Row, has_columns
from .shared import values
from .shared.labels import Labels, labelled_importer
from .shared.messages import answer, messages
from .shared.votes import compared, known_label

_OUTCOMES: Final = {-3: "first", -2: "first", -1: "first", 0: "tied", 1: "second", 2: "second", 3: "second"}


class _Layout(NamedTuple):
    prompt: str
    answers: tuple[str, str]
    preference: str


_LAYOUTS: Final = (
    _Layout("context", ("response1", "response2"), "overall_preference"),
    _Layout("prompt", ("response_1", "response_2"), "preference_strength"),
)


def _events(row: Row, labels: Labels) -> list[RawEvent]:
    layout = next((one for one in _LAYOUTS if one.preference in row), _LAYOUTS[0])
    outcome = known_label(values.present(row, layout.preference), labels, layout.preference)
    prompt = messages(values.present(row, layout.prompt), layout.prompt, empty="empty_prompt")
    first, second = (
        RawEvent(prompt, **answer(values.present(row, field), field)._asdict(), position=position)
        for position, field in enumerate(layout.answers, start=1)
    )
    return compared(first, second, outcome, "preference")


SPEC: Final = labelled_importer(
    "helpsteer",
    "HelpSteer2 and HelpSteer3 preferences: two responses and a preference from -3 to 3, 0 a tie.",
    detect=has_columns(*((layout.prompt, *layout.answers, layout.preference) for layout in _LAYOUTS)),
    parse=_events,
    known=_OUTCOMES,
)
