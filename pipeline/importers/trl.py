"""TRL's preference layouts: prompt with completion and label, or chosen and rejected with the prompt beside or inside.

Each is plain text or conversational. A plain prompt becomes one user message, since every row of the line goes
through a chat template. A pair gives two events, voted `chosen` and `rejected`, that share a comparison id made of
the pair's content. Sets made of ratings, such as UltraFeedback's, keep the two scores beside the pair: where these are
equal the two events are `tied`.
"""

from typing import Any, Final, NamedTuple

from ..reading.records import RowError, bounded_label
from ..storage.digests import digest_json
from .base import Message, RawEvent, Row, has_columns, row_importer
from .shared import values

NAME: Final = "trl"
_SCORES: Final = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"))
_LABELS: Final = {"true": "up", "false": "down"}


class _Pair(NamedTuple):
    prompt: list[Message]
    chosen: str
    rejected: str


def _events(row: Row) -> list[RawEvent]:
    if "chosen" not in row and "rejected" not in row:
        completion = values.answer(values.present(row, "completion"), "completion")
        return [RawEvent(_prompt(row), completion, _label(row))]
    pair = _explicit(row) if row.get("prompt") is not None else _implicit(row)
    comparison_id = digest_json([NAME, *pair])
    chosen, rejected = ("tied", "tied") if _scored_alike(row) else ("chosen", "rejected")
    return [
        RawEvent(pair.prompt, answer, vote, comparison_id=comparison_id, comparison_kind="preference")
        for answer, vote in ((pair.chosen, chosen), (pair.rejected, rejected))
    ]


def _scored_alike(row: dict[str, Any]) -> bool:
    """Whether the scores that some sets have beside their pairs say that neither side is better.

    Raises:
        RowError: They say that the rejected side is the better one.
    """
    for names in _SCORES:
        better, worse = (row.get(name) for name in names)
        if all(isinstance(score, int | float) and not isinstance(score, bool) for score in (better, worse)):
            if better < worse:  # type: ignore[operator]  # both are numbers, as `all` has seen
                raise RowError("contradiction", f"field '{names[1]}' is above '{names[0]}'")
            return bool(better == worse)
    return False


def _prompt(row: dict[str, Any]) -> list[Message]:
    return values.messages(values.present(row, "prompt"), "prompt", empty="empty_prompt")


def _label(row: dict[str, Any]) -> str:
    label = values.present(row, "label")
    if isinstance(label, bool):
        return "up" if label else "down"
    vote = _LABELS.get(label.lower()) if isinstance(label, str) else None
    if vote is None:
        raise RowError("unknown_label", f"field 'label' is {bounded_label(label)}, not true or false")
    return vote


def _explicit(row: dict[str, Any]) -> _Pair:
    """The pair of a row with a prompt. Sides that repeat the prompt before the answer, as some sets do, are cut."""
    prompt = _prompt(row)
    return _Pair(prompt, _side(row, "chosen", prompt), _side(row, "rejected", prompt))


def _side(row: dict[str, Any], field: str, prompt: list[Message]) -> str:
    value = values.present(row, field)
    if isinstance(value, list):
        messages = values.messages(value, field, empty="empty_completion")
        if values.same_messages(prompt, messages) == len(prompt):
            value = messages[len(prompt) :]
    return values.answer(value, field)


def _implicit(row: dict[str, Any]) -> _Pair:
    """The pair of a row whose two sides each begin with the prompt."""
    chosen, rejected = values.present(row, "chosen"), values.present(row, "rejected")
    if isinstance(chosen, list) and isinstance(rejected, list):
        left = values.messages(chosen, "chosen", empty="empty_completion")
        right = values.messages(rejected, "rejected", empty="empty_completion")
        shared = values.same_messages(left, right)
        prompt: Any = left[:shared]
        chosen, rejected = left[shared:], right[shared:]
    elif isinstance(chosen, str) and isinstance(rejected, str):
        shared = shared_text(chosen, rejected)
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    else:
        raise RowError("wrong_type", "fields 'chosen' and 'rejected' are not both texts or both lists of messages")
    if not prompt:
        raise RowError("empty_prompt", "fields 'chosen' and 'rejected' do not begin alike, and there is no 'prompt'")
    return _Pair(
        values.messages(prompt, "prompt", empty="empty_prompt"),
        values.answer(chosen, "chosen"),
        values.answer(rejected, "rejected"),
    )


def shared_text(chosen: str, rejected: str) -> int:
    """How many characters of two texts are their common prompt.

    Source: TRL 1.16, `extract_prompt`: the longest common beginning, less one space before the first difference, so
        that the space goes with the answers. Where one text is the beginning of the other TRL cuts a character short
        of its end; here nothing is left of it, and the row is rejected as an empty completion.
    """
    shared = 0
    for a, b in zip(chosen, rejected, strict=False):
        if a != b:
            break
        shared += 1
    else:
        return shared
    return shared - 1 if shared and chosen[shared - 1] == " " else shared


SPEC: Final = row_importer(
    NAME,
    "TRL data sets: prompt/completion/label, or chosen/rejected with or without prompt; text or messages.",
    detect=has_columns({"chosen", "rejected"}, {"prompt", "completion", "label"}),
    parse=_events,
)
