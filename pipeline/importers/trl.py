"""TRL's preference layouts: prompt with completion and label, or chosen and rejected with the prompt beside or inside.

Each is plain text or conversational. A plain prompt becomes one user message, since every row of the line goes
through a chat template; a prompt's other usual names, a system text and earlier turns are read beside it
(`shared.prompts`). A pair gives two events, voted `chosen` and `rejected`, that share a comparison id made of the
pair's content. Sets made of ratings, such as UltraFeedback's, keep the two scores beside the pair: where these are
equal the two events are `tied`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from ..errors import ConfigError
from ..reading.files import take_sample
from ..reading.records import Options, RowError, Sample, Source
from .base import Batch, ImporterSpec, RawEvent, Row, read_rows
from .shared import prompts, truths, values
from .shared.calls import TOOLS, offered_tools
from .shared.labels import Labels
from .shared.pairs import Sides, answer_event, answer_of, pair_events, pair_of
from .shared.votes import known_label

NAME: Final = "trl"
_SCORES: Final = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"))
_CHOSEN: Final = Sides("chosen", "rejected")
# Other names that sets have for the two answers; LLaMA-Factory's newest are whole conversations.
_USUAL_SIDES: Final = (
    _CHOSEN,
    Sides("chosen_response", "rejected_response"),
    Sides("chosen_messages", "rejected_messages"),
)
_COLUMNS: Final[Mapping[str, str]] = {
    "chosen": f"Column of the better answer; else {', '.join(sides.chosen for sides in _USUAL_SIDES)}.",
    "rejected": f"Column of the worse answer; else {', '.join(sides.rejected for sides in _USUAL_SIDES)}.",
    "completion": "Column of a single answer; else completion.",
    "label": "Column that says whether the answer is good; else label.",
}
_IMPLICIT: Final = "true: the prompt is the common beginning of two texts although the rows have other columns of text."


class _Layout(NamedTuple):
    """Where the parts of a row lie."""

    prompt: prompts.PromptColumns
    sides: tuple[Sides, ...]
    completion: str
    label: str
    labels: Labels
    implicit: bool


def _sides(options: Options) -> tuple[Sides, ...]:
    if not {"chosen", "rejected"} & options.keys():
        return _USUAL_SIDES
    return (Sides(options.get("chosen", _CHOSEN.chosen), options.get("rejected", _CHOSEN.rejected)),)


def detect(sample: Sample, options: Options) -> bool:
    """Whether the sample has two answers, or a prompt, one answer and a label."""
    fields = set(sample.fields)
    if any(fields.issuperset(sides) for sides in _sides(options)):
        return True
    labelled = {options.get("completion", "completion"), options.get("label", "label")}
    return labelled <= fields and not fields.isdisjoint(prompts.prompt_columns(options).prompt)


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the rows.

    Raises:
        ConfigError: An option's value does not hold.
    """
    if options.get("implicit", "false") not in ("true", "false"):
        raise ConfigError(f"option implicit is '{options['implicit']}', not true or false.")
    label = options.get("label", "label")
    layout = _Layout(
        prompts.prompt_columns(options),
        _sides(options),
        options.get("completion", "completion"),
        label,
        truths.labels(take_sample(source), label, options),
        options.get("implicit") == "true",
    )
    return read_rows(source, lambda record: _events(record.value, layout))


def _events(row: Row, layout: _Layout) -> list[RawEvent]:
    prompts.check_text_only(row)
    tools = offered_tools(row.get(TOOLS), TOOLS)
    sides = next((sides for sides in layout.sides if not row.keys().isdisjoint(sides)), None)
    if sides is None:
        answer = answer_of(values.present(row, layout.completion), layout.completion)
        vote = known_label(values.present(row, layout.label), layout.labels, layout.label)
        prompt = prompts.prompt_of(row, layout.prompt)
        before = prompts.before_answers(prompt, prompts.prompt_name(row, layout.prompt), [answer])
        return [answer_event(before, answer, vote, tools)]
    pair = pair_of(row, layout.prompt, sides, implicit=layout.implicit)._replace(tools=tools)
    return pair_events(pair, NAME, tied=_scored_alike(row))


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


SPEC: Final = ImporterSpec(
    NAME,
    "TRL data sets: prompt/completion/label, or chosen/rejected with or without prompt; text or messages.",
    detect=detect,
    read=read,
    options={**prompts.OPTIONS, **_COLUMNS, "implicit": _IMPLICIT, **truths.OPTIONS},
)
