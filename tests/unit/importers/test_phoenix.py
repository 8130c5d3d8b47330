"""Phoenix: people's annotations find their spans, whichever way attributes are written."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.unit.importers.joined_logs import Row, assistant, read, reasons, user, votes
from tests.unit.importers.logs import message
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.event_ids import pseudonym
from thumbline.pipeline.stages.events import ingest

SPANS: list[Row] = [
    {
        "id": "U3Bhbjox",
        "name": "ChatCompletion",
        "context": {"trace_id": "t1", "span_id": "aa01"},
        "parent_id": None,
        "span_kind": "LLM",
        "attributes": {
            "llm.model_name": "tiny",
            "session.id": "s1",
            "llm.input_messages.1.message.content": "Is tin a metal?",
            "llm.input_messages.1.message.role": "user",
            "llm.input_messages.0.message.role": "system",
            "llm.input_messages.0.message.content": "Yes or no.",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "Yes.",
            "output.value": "{}",
        },
    },
    {
        "context": {"trace_id": "t2", "span_id": "aa02"},
        "span_kind": "CHAIN",
        "attributes": {"input": {"value": "Is ice a metal?"}, "output": {"value": "No.", "mime_type": "text/plain"}},
    },
    {
        "context": {"trace_id": "t3", "span_id": "aa03"},
        "attributes": {
            "llm": {
                "input_messages": [{"message": user("Is rust a metal?")}],
                "output_messages": [{"message.role": "assistant", "message.content": "Its oxide."}],
            }
        },
    },
    {"context": {"trace_id": "t3", "span_id": "aa04"}, "attributes": {"openinference.span.kind": "RETRIEVER"}},
]


def annotation(number: int, span: str | None, label: Any, **fields: Any) -> Row:
    return {
        "id": f"an{number}",
        "span_id": span,
        "name": "user_feedback",
        "annotator_kind": "HUMAN",
        "result": {"label": label, "score": 1, "explanation": "fine"},
        "source": "API",
        "identifier": "",
        "user_id": "ann",
        "created_at": "2026-04-01T00:00:00+00:00",
        "updated_at": "2026-04-02T00:00:00+00:00",
    } | fields


ANNOTATIONS: list[Row] = [
    annotation(1, "aa01", "thumbs-up"),
    annotation(2, "aa02", "thumbs-down"),
    annotation(3, "aa03", "👍"),
]
FILES = {"annotations.jsonl": ANNOTATIONS, "spans.jsonl": SPANS}


def test_annotations_and_spans(tmp_path: Path) -> None:
    result = read(tmp_path, FILES)
    assert result.rejects.is_empty()
    assert votes(result) == [
        ("Is tin a metal?", "Yes.", "up"),
        ("Is ice a metal?", "No.", "down"),
        ("Is rust a metal?", "Its oxide.", "up"),
    ]
    first = result.events.sort("source_line").to_dicts()[0]
    assert first["prompt"] == [message("system", "Yes or no."), user("Is tin a metal?")]
    assert (first["model"], first["conversation_id"], first["user_id"]) == ("tiny", "s1", pseudonym("ann", "thumbline"))
    assert first["created_at"] == datetime(2026, 4, 2, tzinfo=UTC)


def test_tables_of_the_client(tmp_path: Path) -> None:
    spans = [
        {
            "context.span_id": "aa01",
            "attributes.llm.input_messages": [{"message.role": "user", "message.content": "Hm?"}],
            "attributes.llm.output_messages": [{"message.role": "assistant", "message.content": "Ha."}],
        }
    ]
    pl.DataFrame(spans).write_parquet(tmp_path / "spans.parquet")
    rows = [
        {"span_id": "aa01", "annotation_name": "user_feedback", "annotator_kind": "HUMAN", "label": "up", "score": None}
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "annotations.csv")
    assert votes(ingest(EventsConfig(inputs=(str(tmp_path),)))) == [("Hm?", "Ha.", "up")]


@pytest.mark.parametrize(
    ("row", "reason", "shown"),
    [
        (annotation(2, "aa02", "okay"), "unknown_label", "'okay'"),
        (annotation(2, "aa02", None), "unknown_label", "is 1; state what it means in events.options: up:"),
        (annotation(2, "aa02", "up", annotator_kind="LLM"), "not_human", "'LLM'"),
        (annotation(2, "aa02", "up", annotator_kind="CODE"), "not_human", "'CODE'"),
        (annotation(2, "aa02", "up", name="correctness"), "other_feedback", "'correctness'"),
        (annotation(2, "ffff", "up"), "no_trace", "in none of the inputs"),
        (annotation(2, "aa04", "up"), "no_trace", "in none of the inputs"),
        (annotation(2, None, "up"), "missing_field", "span_id"),
    ],
)
def test_what_is_no_vote_for_sure_is_rejected(tmp_path: Path, row: Row, reason: str, shown: str) -> None:
    result = read(tmp_path, FILES | {"annotations.jsonl": [ANNOTATIONS[0], row]})
    assert result.events.height == 1
    assert reasons(result) == [(2, reason)]
    assert shown in result.rejects["detail"][0]


def test_options_take_models_judgements_and_scores(tmp_path: Path) -> None:
    rows = [annotation(1, "aa01", None, annotator_kind="LLM", name="correctness")]
    options = {"annotators": "all", "name": "Correctness", "up": "1"}
    assert [vote for *_, vote in votes(read(tmp_path, FILES | {"annotations.jsonl": rows}, options=options))] == ["up"]


def test_the_same_span_with_other_words_is_nobodys_guess(tmp_path: Path) -> None:
    other = SPANS[1] | {"attributes": {"input.value": "Is ice a metal?", "output.value": "Hardly."}}
    result = read(tmp_path, FILES | {"spans.jsonl": [*SPANS, other]})
    assert reasons(result) == [(2, "two_texts")]


def test_messages_of_a_value_that_is_json(tmp_path: Path) -> None:
    value = '{"messages": [{"role": "user", "content": "Inside?"}]}'
    span = SPANS[1] | {"attributes": {"input.value": value, "output.value": '{"role": "assistant", "content": "Yes."}'}}
    result = read(tmp_path, {"annotations.jsonl": [ANNOTATIONS[1]], "spans.jsonl": [span]})
    assert result.events["prompt"].to_list() == [[user("Inside?")]]
    assert result.events["completion"].to_list() == [assistant("Yes.")["content"]]
