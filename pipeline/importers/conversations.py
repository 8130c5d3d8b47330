"""Conversations with a verdict on their last answer, or with a worse answer beside it: rows of other trainers.

LLaMA-Factory and ms-swift keep the answer as the last of `messages` or `conversations`, or in a column of its own
beside a question (`instruction`, `input` and `output`; `query` and `response`). `label` or `kto_tag` says whether it is
good; `rejected_response` or `rejected_messages` is a worse one to the same prompt.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ..reading.files import take_sample
from ..reading.records import Options, RowError, Sample, Source
from .base import Batch, ImporterSpec, Message, RawEvent, Row, read_rows
from .shared import prompts, truths
from .shared.calls import TOOLS, offered_tools
from .shared.labels import Labels
from .shared.pairs import Pair, answer_event, answer_of, listed, pair_events, side_of
from .shared.votes import known_label

NAME: Final = "conversations"
_ANSWERS: Final = ("completion", "output", "response", "answer")
_LABELS: Final = ("label", "kto_tag")
_REJECTED: Final = ("rejected_response", "rejected_messages")
# A log with one of these has its vote there, and what it calls a label is something else.
_OWN_VOTE: Final = frozenset({"feedback", "vote", "rating", "thumb", "thumbs", "reaction"})
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {"completion": _ANSWERS, "label": _LABELS, "rejected": _REJECTED}
OPTIONS: Final[Mapping[str, str]] = {
    "completion": f"Column of the answer; else the first of: {', '.join(_ANSWERS)}, or the last message.",
    "label": f"Column that says whether the answer is good; else the first of: {', '.join(_LABELS)}.",
    "rejected": f"Column of a worse answer; else the first of: {', '.join(_REJECTED)}.",
}


class _Layout(NamedTuple):
    """Where the parts of a row lie."""

    prompt: prompts.PromptColumns
    columns: Mapping[str, tuple[str, ...]]
    labels: Labels


def _columns(options: Options) -> dict[str, tuple[str, ...]]:
    return {part: (options[part],) if part in options else names for part, names in _COLUMNS.items()}


def detect(sample: Sample, options: Options) -> bool:
    """Whether the sample has conversations, or questions and answers, and a verdict or a worse answer to each."""
    fields, columns, asked = set(sample.fields), _columns(options), prompts.prompt_columns(options)
    if "vote" in options or not fields.isdisjoint(_OWN_VOTE):
        return False
    whole = not fields.isdisjoint(prompts.CONVERSATIONS)
    apart = not fields.isdisjoint((*asked.prompt, *asked.follows)) and not fields.isdisjoint(columns["completion"])
    return (whole or apart) and not fields.isdisjoint((*columns["label"], *columns["rejected"]))


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the rows.

    Raises:
        ConfigError: An option's value does not hold.
    """
    sample, columns = take_sample(source), _columns(options)
    label = next((name for name in columns["label"] if name in sample.fields), columns["label"][0])
    layout = _Layout(prompts.prompt_columns(options), columns, truths.labels(sample, label, options))
    return read_rows(source, lambda record: _events(record.value, layout))


def _events(row: Row, layout: _Layout) -> list[RawEvent]:
    prompts.check_text_only(row)
    tools = offered_tools(row.get(TOOLS), TOOLS)
    prompt, answer = _answered(row, layout)
    rejected = _named(row, layout.columns["rejected"])
    if rejected is not None:
        worse = side_of(listed(row[rejected], rejected), rejected, prompt)
        return pair_events(Pair(prompt, answer, worse, tools), NAME)
    label = _named(row, layout.columns["label"])
    if label is None:
        names = " or ".join((*layout.columns["label"], *layout.columns["rejected"]))
        raise RowError("missing_field", f"the row has no {names}")
    return [answer_event(prompt, answer, known_label(row[label], layout.labels, label), tools)]


def _named(row: Row, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


def _answered(row: Row, layout: _Layout) -> tuple[list[Message], Message]:
    """Prompt and answer: the answer's own column, or the last message of the conversation."""
    name = _named(row, layout.columns["completion"])
    if name is not None:
        prompt = prompts.prompt_of(row, layout.prompt)
        answer = answer_of(row[name], name)
        return prompts.before_answers(prompt, prompts.prompt_name(row, layout.prompt), [answer]), answer
    columns = layout.prompt
    if "prompt" not in columns.stated:
        columns = columns._replace(prompt=prompts.CONVERSATIONS)
    whole = prompts.prompt_of(row, columns)
    if whole[-1]["role"] != "assistant":
        raise RowError("not_an_answer", f"field '{prompts.prompt_name(row, columns)}' does not end in an answer")
    if not any(message["role"] == "user" for message in whole):
        raise RowError("empty_prompt", f"field '{prompts.prompt_name(row, columns)}' has nothing before the answer")
    return whole[:-1], answer_of(whole[-1:], "messages")


SPEC: Final = ImporterSpec(
    NAME,
    "Conversations with label or kto_tag, or with rejected_response: LLaMA-Factory's and ms-swift's rows.",
    detect=detect,
    read=read,
    options={**prompts.OPTIONS, **OPTIONS, **truths.OPTIONS},
)
