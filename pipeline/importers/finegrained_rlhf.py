"""Fine-grained RLHF's human feedback: four answers to a question, and a preference between every two of them.

`preference` holds six judgements in the order 1-2, 1-3, 1-4, 2-3, 2-4, 3-4: 1 where the first of the two is better, 2
where the second is, 0 where they are tied. The people saw the question together with passages of text; the prompt
holds the question alone, or with the option `passages` set to `true` the passages before it, as the models were asked.
The annotations of single errors are not read.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

from ..errors import ConfigError
from ..reading.records import Options, RowError, Source
from ..storage.digests import digest_json
from .base import Batch, Events, ImporterSpec, Message, RawEvent, Row, each, has_columns, read_rows
from .shared import values
from .shared.labels import Labels, label_options, labels_of
from .shared.votes import compared, known_label

_OUTCOMES: Final = {0: "tied", 1: "first", 2: "second"}
_ANSWERS: Final = tuple(f"prediction {number}" for number in (1, 2, 3, 4))
_PAIRS: Final = tuple(combinations(_ANSWERS, 2))


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the comparisons, twelve events a row.

    Raises:
        ConfigError: The option `passages` is neither true nor false.
    """
    stated = options.get("passages", "false")
    if stated not in ("true", "false"):
        raise ConfigError(f"option passages is '{stated}', not true or false.")
    labels = labels_of(options, _OUTCOMES)
    return read_rows(source, lambda record: _events(record.value, stated == "true", labels))


def _events(row: Row, with_passages: bool, labels: Labels) -> Events:
    prompt = _prompt(row, with_passages)
    judgements = values.present(row, "preference")
    if not isinstance(judgements, list) or len(judgements) != len(_PAIRS):
        raise RowError("wrong_type", f"field 'preference' is not a list of {len(_PAIRS)} judgements")
    row_id = digest_json([row.get(field) for field in ("question", *_ANSWERS)])

    def comparison(number: int) -> list[RawEvent]:
        outcome = known_label(judgements[number], labels, f"preference[{number}]")
        first, second = (_event(row, f"{row_id}/{number}", prompt, answer) for answer in _PAIRS[number])
        return compared(first, second, outcome, "preference")

    return each(range(len(_PAIRS)), comparison)


def _prompt(row: dict[str, Any], with_passages: bool) -> list[Message]:
    question = values.text(row, "question", empty="empty_prompt")
    if not with_passages:
        return [{"role": "user", "content": question}]
    passages = values.present(row, "passages")
    if not isinstance(passages, list) or not all(_is_passage(passage) for passage in passages):
        raise RowError("wrong_type", "field 'passages' is not a list of passages")
    return [{"role": "user", "content": "\n\n".join([*(" ".join(passage) for passage in passages), question])}]


def _is_passage(passage: Any) -> bool:
    return isinstance(passage, list) and all(isinstance(sentence, str) for sentence in passage)


def _event(row: Row, name: str, prompt: list[Message], answer: str) -> RawEvent:
    return RawEvent(
        source_event_id=name,
        prompt=prompt,
        completion=values.text(row, answer, empty="empty_completion"),
        position=_ANSWERS.index(answer) + 1,
    )


SPEC: Final = ImporterSpec(
    name="finegrained_rlhf",
    description="Fine-grained RLHF feedback: four answers to a question, preference[6] between every two, 0 a tie.",
    detect=has_columns({"question", "preference", *_ANSWERS}),
    read=read,
    options={
        "passages": "true puts the passages that were searched before the question; default false.",
        **label_options(_OUTCOMES),
    },
)
