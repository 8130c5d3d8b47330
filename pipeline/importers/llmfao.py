"""LLMFAO's crowd: which of two models' answers a worker found better, or that they tie.

The votes (`crowd-comparisons.csv`) and the texts (`pairs-crowd.jsonl`) lie in two files of one folder and meet on the
pair's `id`; both are inputs of a run. Workers were told to call two failures a tie too, so a tie says no more than
that. A vote on a pair of which one answer is empty is rejected: nothing was written that could be learnt from.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..reading.records import Options, Record, RowError, Source
from .base import Batch, ImporterSpec, RawEvent, Row, has_columns, read_rows
from .shared import values
from .shared.joins import text_or_problem
from .shared.labels import Labels, label_options, labels_of
from .shared.texts import Text, TextIndex
from .shared.votes import compared, known_label

_WINNERS: Final = {"left": "first", "right": "second", "tie": "tied"}
_VOTE_FIELDS: Final = frozenset({"id", "worker", "winner", "left", "right"})
_PAIR_FIELDS: Final = frozenset({"id", "text", "model_x", "result_x", "model_y", "result_y"})


def read_together(sources: Sequence[Source], options: Options) -> Iterator[tuple[str, Batch]]:
    """Batches of the votes of all sources, their texts looked up in all sources."""
    labels, index = labels_of(options, _WINNERS), TextIndex()
    try:
        for source in sources:
            index.put(_texts(source))
        for source in sources:
            for batch in read_rows(source, lambda record: _events(record.value, index, labels)):
                yield source.name, batch
    finally:
        index.close()


def _texts(source: Source) -> Iterator[Text]:
    for record in source.rows():
        if isinstance(record, Record) and "result_x" in record.value:
            yield _side(record.value, "left", "result_x")
            yield _side(record.value, "right", "result_y")


def _side(row: dict[str, Any], side: str, field: str) -> Text:
    key = f"{row.get('id')}/{side}"
    return text_or_problem(key, lambda: _text(key, row, field))


def _text(key: str, row: dict[str, Any], field: str) -> Text:
    prompt = values.text(row, "text", empty="empty_prompt")
    answer = values.text(row, field, empty="empty_completion")
    return Text(key, [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}])


def _events(row: Row, index: TextIndex, labels: Labels) -> list[RawEvent]:
    if "result_x" in row:
        return []
    outcome = known_label(values.present(row, "winner"), labels, "winner")
    pair_id, worker = values.identifier(row, "id"), values.identifier(row, "worker")
    if pair_id is None:
        raise RowError("missing_field", "field 'id' is empty")
    left, right = (
        RawEvent(
            source_event_id=f"{pair_id}/{worker}",
            user_id=worker,
            model=values.identifier(row, side),
            prompt=answer.prompt,
            **answer.said._asdict(),
            position=position,
        )
        for position, side in enumerate(("left", "right"), start=1)
        for answer in [index.answer([f"{pair_id}/{side}"])]
    )
    return compared(left, right, outcome, "preference")


SPEC: Final = ImporterSpec(
    name="llmfao",
    description="LLMFAO's crowd votes (left, right, tie), with the answers in pairs-crowd.jsonl as a second input.",
    detect=has_columns(_VOTE_FIELDS, _PAIR_FIELDS),
    read=lambda source, options: (batch for _, batch in read_together([source], options)),
    options=label_options(_WINNERS),
    read_together=read_together,
)
