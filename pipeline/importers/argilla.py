"""Argilla's records: what people submitted to one question about an answer, or about several.

What a question's value means is the project's own affair, so that options state it: which question holds the vote and
which labels or ratings mean `up` and `down`, or that the `first` or the `second` of two answers is better. A ranking
names the fields that it ranks and needs no labels. A text question (`edit`) holds a better answer in a person's words.
Drafts and discarded responses are rejected, so that they are counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, combinations
from typing import Any, Final, NamedTuple

from ..errors import ConfigError, InputError, examples
from ..reading.files import take_sample
from ..reading.records import Options, Record, RowError, Sample, Source, bounded_label
from ..storage.digests import digest_json
from .argilla_records import Response, answered, fields, is_record, questions, responses
from .base import Batch, Events, ImporterSpec, Message, RawEvent, Row, each, read_rows
from .shared import values
from .shared.labels import LabelTable, label_key, refusal, stated_labels
from .shared.messages import answer, messages
from .shared.seen import noted
from .shared.votes import compared

_VOTES: Final = ("up", "down", "unrated")
_OUTCOMES: Final = ("first", "second", "tied", "both_bad")
_PROMPTS: Final = ("prompt", "instruction", "question", "input", "query")
_COMPLETIONS: Final = ("completion", "response", "answer", "output", "generation")


class _Plan(NamedTuple):
    """What the options say of one file."""

    question: str | None
    edit: str | None
    labels: LabelTable
    prompts: tuple[str, ...]
    completions: tuple[str, ...]
    other: str | None
    without_status: str | None


class _Item(NamedTuple):
    """One record under the plan of its file."""

    row: Row
    texts: dict[str, Any]
    prompt: list[Message]
    plan: _Plan


def read_together(sources: Sequence[Source], options: Options) -> Iterator[tuple[str, Batch]]:
    """Batches of the responses of all sources.

    Raises:
        InputError: A stated question is answered in none of them; or several questions were answered in one, and which
            holds the vote is not stated.
        ConfigError: Options contradict each other.
    """
    _check_answered(sources, {options[name]: name for name in ("question", "edit") if name in options})
    for source in sources:
        for batch in _read(source, options):
            yield source.name, batch


def _check_answered(sources: Sequence[Source], asked: Mapping[str, str]) -> None:
    """Raise InputError where a question that an option states has no answer in any source."""
    missing, found = set(asked), set[str]()
    for row in chain.from_iterable(source.rows() for source in sources) if asked else ():
        if isinstance(row, Record):
            found |= answered(row.value)
            missing -= found
        if not missing:
            return
    if missing:
        name = min(missing)
        others = f"answered are: {examples(sorted(found), 10)}" if found else "no question is answered in the inputs"
        raise InputError(
            f"question '{name}' is answered nowhere; {others}. State another as {asked[name]} in events.options."
        )


def _read(source: Source, options: Options) -> Iterator[Batch]:
    plan = _plan(take_sample(source), options)
    return read_rows(source, lambda record: _events(record.value, plan))


def _plan(sample: Sample, options: Options) -> _Plan:
    edit = options.get("edit")
    asked = [options["question"]] if "question" in options else [name for name in questions(sample) if name != edit]
    if len(asked) > 1:
        raise InputError(
            f"{sample.name}: questions {examples(asked, 10)} were answered. State which one holds the vote in "
            f"events.options, for example question: {asked[0]}."
        )
    if not options.keys().isdisjoint(_OUTCOMES) and "other" not in options:
        raise ConfigError(
            "options first, second, tied and both_bad compare two answers: state the second's field as other."
        )
    return _Plan(
        question=asked[0] if asked else None,
        edit=edit,
        labels=stated_labels({name: options[name] for name in (*_VOTES, *_OUTCOMES) if name in options}),
        prompts=(options["prompt"],) if "prompt" in options else _PROMPTS,
        completions=(options["completion"],) if "completion" in options else _COMPLETIONS,
        other=options.get("other"),
        without_status=options.get("without_status"),
    )


def _events(row: Row, plan: _Plan) -> Events:
    texts = fields(row)
    prompt_field = _field(texts, plan.prompts, "prompt")
    item = _Item(row, texts, messages(texts[prompt_field], prompt_field, empty="empty_prompt"), plan)
    asked = [name for name in (plan.question, plan.edit) if name is not None]
    given = list(responses(row, asked))
    if not given:
        yield _event(item, _answer_field(item), None, "")
    yield from each(given, lambda response: _response(item, response))


def _response(item: _Item, response: Response) -> Events:
    _check_status(response, item.plan)
    question, edit = item.plan.question, item.plan.edit
    vote = None if question is None else response.values.get(question)
    edited = None if edit is None else response.values.get(edit)
    if vote is None and edited is None:
        raise RowError("no_vote", "the response answers no question that was asked for")
    if vote is not None:
        yield from each([vote], partial(_ranking if isinstance(vote, list) else _voted, item, response))
    if edited is not None:
        original = _event(item, _answer_field(item), response, f"{edit}")
        better = values.text({"edit": edited}, "edit", empty="empty_completion")
        yield from compared(original._replace(completion=better, model=None), original, "first", "edit")


def _check_status(response: Response, plan: _Plan) -> None:
    status = plan.without_status if response.status is None else response.status
    if status is None:
        raise RowError("missing_field", "the response has no status; state `without_status: submitted` to take it")
    if status in ("draft", "discarded"):
        raise RowError("not_submitted", f"the response is of status '{status}'")
    if status != "submitted":
        raise RowError("unknown_label", f"status is {bounded_label(status)}, not submitted, draft or discarded")


def _voted(item: _Item, response: Response, vote: Any) -> list[RawEvent]:
    """A label or a rating of one answer, or a label that compares two."""
    name = f"{item.plan.question}"
    outcome = None if isinstance(vote, bool) else item.plan.labels.get(label_key(vote))
    noted(vote, name, outcome)
    if outcome is None:
        raise refusal(vote, name, ("up", "down") if item.plan.other is None else ("first", "second"))
    event = _event(item, _answer_field(item), response, name)
    if outcome in _VOTES:
        return [event._replace(vote=outcome)]
    other = _event(item, _field(item.texts, (f"{item.plan.other}",), "other"), response, name)
    return compared(event._replace(position=1), other._replace(position=2), outcome, "preference")


def _ranking(item: _Item, response: Response, ranking: list[Any]) -> Events:
    """Every two ranked answers compared; equal ranks are tied."""
    name = f"{item.plan.question}"
    ranks: dict[str, int] = {}
    for number, entry in enumerate(ranking, start=1):
        field, rank = (entry.get("value"), entry.get("rank")) if isinstance(entry, dict) else (entry, number)
        if not isinstance(field, str) or field not in item.texts:
            raise RowError("unknown_label", f"question '{name}' ranks {bounded_label(field)}, which is no field")
        if type(rank) is not int or field in ranks:
            raise RowError(
                "unknown_label", f"question '{name}' ranks a field as {bounded_label(rank)}, or ranks it twice"
            )
        ranks[field] = rank

    def comparison(pair: tuple[str, str]) -> list[RawEvent]:
        first, second = pair
        outcome = "tied" if ranks[first] == ranks[second] else "first" if ranks[first] < ranks[second] else "second"
        one, other = (_event(item, field, response, f"{name}/{first}/{second}") for field in pair)
        return compared(one, other, outcome, "ranking")

    return each(combinations(ranks, 2), comparison)


def _field(texts: dict[str, Any], names: tuple[str, ...], option: str) -> str:
    """The first of the names that the record has a text under."""
    for name in names:
        if texts.get(name) is not None:
            return name
    raise RowError("missing_field", f"no field {' or '.join(names)}; state it with the option `{option}`")


def _answer_field(item: _Item) -> str:
    return _field(item.texts, item.plan.completions, "completion")


def _event(item: _Item, field: str, response: Response | None, question: str) -> RawEvent:
    """An answer before its vote; without a response, one that nobody voted on."""
    row = item.row
    record_id = values.identifier(row, "id") or values.identifier(row, "external_id")
    metadata = row.get("metadata")
    user_id = None if response is None else response.user_id
    times = {} if response is None else response.row
    return RawEvent(
        source_event_id=f"{record_id or digest_json([item.prompt, item.texts[field]])}/{user_id}/{question}",
        user_id=user_id,
        model=values.identifier(metadata, "model") if isinstance(metadata, dict) else None,
        prompt=item.prompt,
        **answer(item.texts[field], field)._asdict(),
        created_at=values.time(times, "updated_at") or values.time(times, "inserted_at"),
    )


SPEC: Final = ImporterSpec(
    name="argilla",
    description="Argilla records, nested or as a table: ratings, labels, rankings and rewritten answers as submitted.",
    detect=lambda sample, _: any(map(is_record, sample.records)),
    read=lambda source, options: (batch for _, batch in read_together([source], options)),
    read_together=read_together,
    alone=True,
    options={
        "question": "Question that holds the vote; may be left out where only one was answered.",
        "edit": "Text question that holds a better answer.",
        "prompt": f"Field of the prompt; else the first of: {', '.join(_PROMPTS)}.",
        "completion": f"Field of the answer, of two the first; else the first of: {', '.join(_COMPLETIONS)}.",
        "other": "Field of the second answer where a label says which of two is better.",
        **{vote: f"Labels, ratings or ranges such as >=4, comma separated, that mean {vote}." for vote in _VOTES},
        **{outcome: f"Labels, comma separated, by which two answers compare as {outcome}." for outcome in _OUTCOMES},
        "without_status": "submitted takes responses of exports that hold no status; else they are rejected.",
    },
)
