"""Label Studio's pairwise export: one task a row, each annotation of it a choice of the left or the right answer.

An annotation that was cancelled, or that chose neither, is rejected, so that it is counted. Tasks hold their texts
under names of the project's own making; the options `prompt`, `left` and `right` state them.
"""

from collections.abc import Iterator
from typing import Any, Final

from ..reading.records import Options, RowError, Sample, Source
from .base import Batch, Events, ImporterSpec, RawEvent, Row, each, read_rows
from .shared import values
from .shared.labels import Labels, label_options, labels_of
from .shared.messages import answer, messages
from .shared.threads import listed, nested
from .shared.votes import compared, known_label

_SELECTED: Final = {"left": "first", "right": "second"}
_NAMES: Final = {"prompt": "prompt", "left": "answer1", "right": "answer2"}


def detect(sample: Sample, options: Options) -> bool:
    """Whether the rows are tasks with a pairwise result in an annotation."""
    tasks = [record for record in sample.records if isinstance(record.get("data"), dict)]
    annotations = [task["annotations"] for task in tasks if isinstance(task.get("annotations"), list)]
    return any(_pairwise(entry) for entries in annotations for entry in entries if isinstance(entry, dict))


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the annotations."""
    names = {name: options.get(name, usual) for name, usual in _NAMES.items()}
    labels = labels_of(options, _SELECTED)
    return read_rows(source, lambda record: _events(record.value, names, labels))


def _pairwise(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    """The pairwise results of an annotation; it may hold results of other kinds beside."""
    results = annotation.get("result")
    entries = results if isinstance(results, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and entry.get("type") == "pairwise"]


def _events(task: Row, names: dict[str, str], labels: Labels) -> Events:
    annotations = listed(task, "annotations")
    if not annotations:
        raise RowError("no_vote", "nobody annotated the task")
    return each(range(len(annotations)), lambda number: _comparison(task, number, names, labels))


def _comparison(task: Row, number: int, names: dict[str, str], labels: Labels) -> list[RawEvent]:
    annotation = task["annotations"][number]
    if annotation.get("was_cancelled") is True:
        raise RowError("cancelled", "the annotator skipped the task")
    results = _pairwise(annotation)
    if len(results) != 1:
        raise RowError("no_vote", f"the annotation has {len(results)} pairwise results, not one")
    selected = nested(results[0], "value").get("selected")
    if selected is None:
        raise RowError("no_vote", "the annotation chose neither side")
    outcome = known_label(selected, labels, "value.selected")
    data = nested(task, "data")
    prompt = messages(values.present(data, names["prompt"]), names["prompt"], empty="empty_prompt")
    task_id = values.identifier(task, "id")
    # Annotations have ids of their own; an export without them still tells them apart by their order.
    annotation_id = values.identifier(annotation, "id") or str(number)
    left, right = (
        RawEvent(
            source_event_id=f"{task_id}/{annotation_id}",
            user_id=_annotator(annotation),
            prompt=prompt,
            **answer(values.present(data, names[side]), names[side])._asdict(),
            created_at=values.time(annotation, "updated_at") or values.time(annotation, "created_at"),
            position=position,
        )
        for position, side in enumerate(("left", "right"), start=1)
    )
    return compared(left, right, outcome, "preference")


def _annotator(annotation: dict[str, Any]) -> str | None:
    """Who annotated: a number, or where the export expands it, that of an object."""
    person = annotation.get("completed_by")
    return (
        values.identifier(person, "id") if isinstance(person, dict) else values.identifier(annotation, "completed_by")
    )


SPEC: Final = ImporterSpec(
    name="label_studio",
    description="Label Studio pairwise export: the left or the right answer chosen by each annotator.",
    detect=detect,
    read=read,
    options={
        "prompt": "Field of a task's data with the prompt; default prompt.",
        "left": "Field with the left answer; default answer1.",
        "right": "Field with the right answer; default answer2.",
        **label_options(_SELECTED),
    },
)
