"""The product log: its usual names, stated names, labels, and what is refused."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.logs import message
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.importers.shared.values import VOTE_LABELS, vote_table
from thumbline.pipeline.stages.events import EventsResult, ingest

ROW = {
    "event_id": "e1",
    "timestamp": "2026-03-01T12:00:00Z",
    "conversation_id": "c1",
    "user_id": "ann",
    "model": "m1",
    "prompt": "How far is the moon?",
    "response": "About 384,400 km.",
    "feedback": "thumbs_up",
}


def read(folder: Path, *rows: object, name: str = "log.jsonl", **config: object) -> EventsResult:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ingest(EventsConfig.model_validate({"inputs": [str(path)], **config}))


def test_every_field_of_a_row_arrives(tmp_path: Path) -> None:
    (event,) = read(tmp_path, ROW).events.to_dicts()
    assert event["prompt"] == [message("user", "How far is the moon?")]
    assert event["completion"] == "About 384,400 km."
    assert event["vote"] == "up"
    assert (event["conversation_id"], event["model"], event["format"]) == ("c1", "m1", "thumbs_jsonl")
    assert event["created_at"] == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (event["source_line"], event["deliveries"]) == (1, 1)
    assert event["user_id"] != "ann"
    assert len(event["user_id"]) == 16


@pytest.mark.parametrize(
    ("prompt", "completion", "vote"),
    [("question", "answer", "rating"), ("input", "output", "thumb"), ("query", "reply", "reaction")],
)
def test_usual_names_are_found(tmp_path: Path, prompt: str, completion: str, vote: str) -> None:
    result = read(tmp_path, {prompt: "p", completion: "c", vote: "dislike"})
    assert result.events.select("completion", "vote").rows() == [("c", "down")]


def test_options_state_other_columns(tmp_path: Path) -> None:
    row = {"prompt": "not this", "asked": "p", "said": "c", "felt": "up", "who": "ann"}
    options = {"prompt": "asked", "completion": "said", "vote": "felt", "user_id": "who"}
    (event,) = read(tmp_path, row, options=options).events.to_dicts()
    assert (event["prompt"][0]["content"], event["completion"], event["vote"]) == ("p", "c", "up")
    assert event["user_id"] is not None


def test_a_prompt_of_messages_stays_as_it_is(tmp_path: Path) -> None:
    messages = [message("system", "Be brief."), message("user", "Hi")]
    (event,) = read(tmp_path, ROW | {"prompt": messages}).events.to_dicts()
    assert event["prompt"] == messages


@pytest.mark.parametrize(("vote", "labels"), VOTE_LABELS.items())
def test_each_known_label_in_any_case(tmp_path: Path, vote: str, labels: tuple[str, ...]) -> None:
    rows = [ROW | {"event_id": f"{label}-{index}", "feedback": label.title()} for index, label in enumerate(labels)]
    result = read(tmp_path, *rows)
    assert result.events["vote"].to_list() == [vote] * len(labels)


def test_booleans_and_null(tmp_path: Path) -> None:
    votes = [True, False, None, "thumbsUp"]
    result = read(tmp_path, *(ROW | {"event_id": str(index), "feedback": vote} for index, vote in enumerate(votes)))
    in_order = result.events.sort("source_line")["vote"].to_list()
    assert in_order == ["up", "down", "unrated", "up"]


@pytest.mark.parametrize("label", [1, 0, -1, "1", "5", 2.0, "meh", "", 0.5, ["up"], {"rating": "up"}])
def test_a_label_that_nobody_stated_is_rejected_with_its_value(tmp_path: Path, label: object) -> None:
    result = read(tmp_path, ROW, ROW | {"event_id": "e2", "feedback": label})
    assert result.events.height == 1
    (reject,) = result.rejects.to_dicts()
    assert (reject["reason"], reject["source_line"]) == ("unknown_label", 2)
    shown = repr(label) if isinstance(label, str | int | float) else f"a {type(label).__name__}"
    assert shown in reject["detail"]


def test_a_number_asks_for_its_meaning(tmp_path: Path) -> None:
    result = read(tmp_path, ROW | {"feedback": 1})
    assert 'events.options: up: "1"' in result.rejects["detail"][0]


@pytest.mark.parametrize(("up", "down", "values"), [("1", "0", [1, 0]), ("1", "-1", ["1", "-1"]), ("1", "2", [1.0, 2])])
def test_a_stated_scale_is_read_as_stated(tmp_path: Path, up: str, down: str, values: list[object]) -> None:
    rows = [ROW | {"event_id": str(value), "feedback": value} for value in values]
    result = read(tmp_path, *rows, options={"up": up, "down": down})
    assert result.events.sort("source_line")["vote"].to_list() == ["up", "down"]


def test_stated_labels_win_over_the_usual_ones(tmp_path: Path) -> None:
    options = {"retracted": "none, like", "unrated": "n/a"}
    rows = [ROW | {"event_id": label, "feedback": label} for label in ("none", "LIKE", "n/a")]
    result = read(tmp_path, *rows, options=options)
    assert result.events.sort("source_line")["vote"].to_list() == ["retracted", "retracted", "unrated"]


def test_a_label_for_two_votes_is_refused() -> None:
    with pytest.raises(ConfigError, match="'1' is stated for two votes: 'up' and 'down'"):
        vote_table({"up": "1", "down": "0, 1"})
    with pytest.raises(ConfigError, match="empty label"):
        vote_table({"up": "1,"})


def test_text_fields_are_not_coerced(tmp_path: Path) -> None:
    broken = [{"prompt": 7}, {"response": True}, {"prompt": [{"role": "user", "content": 7}]}, {"prompt": ["hi"]}]
    result = read(tmp_path, ROW, *(ROW | one for one in broken))
    assert result.rejects["reason"].to_list() == ["wrong_type"] * 4
    assert result.events.height == 1


def test_whole_number_ids_are_their_digits_and_nothing_else_is_an_id(tmp_path: Path) -> None:
    ids: list[object] = [7, 7.0, 10**39, 1.5, True, {"id": 7}, [7], float(1 << 60)]
    result = read(tmp_path, *(ROW | {"conversation_id": value} for value in ids))
    found = result.events.sort("source_line")["conversation_id"].to_list()
    assert found == ["7", str(10**39), None] and result.counts.merged == 5
    assert result.notes["remarks"]["unreadable_field"] == {
        "conversation_id: a bool is no id": 1,
        "conversation_id: a dict is no id": 1,
        "conversation_id: a float is no id": 2,
        "conversation_id: a list is no id": 1,
    }


def test_missing_and_blank_fields(tmp_path: Path) -> None:
    without_vote = {name: value for name, value in ROW.items() if name != "feedback"}
    rows = [ROW, ROW | {"prompt": None}, without_vote, ROW | {"prompt": " \n"}, ROW | {"response": ""}]
    rows += [ROW | {"prompt": []}, ROW | {"prompt": [{"role": "user", "content": " "}]}]
    result = read(tmp_path, *rows)
    assert result.rejects["reason"].to_list() == [
        "missing_field",
        "missing_field",
        "empty_prompt",
        "empty_completion",
        "empty_prompt",
        "empty_prompt",
    ]


def test_an_unknown_role_is_rejected(tmp_path: Path) -> None:
    result = read(tmp_path, ROW, ROW | {"prompt": [{"role": "narrator", "content": "x"}]})
    assert result.rejects.select("reason", "detail").rows() == [
        ("unknown_role", "field 'prompt' has a message of role 'narrator'")
    ]


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        ("2026-03-01T14:00:00+02:00", {}, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01 12:00:00", {}, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (1772366400, {}, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (1772366400.5, {}, datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        (1772366400123, {"time_unit": "ms"}, datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)),
        (1772366400123456, {"time_unit": "us"}, datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)),
        (1772366400123, {}, datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)),
        (1772366400123456, {}, datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)),
        (1772366400123456789, {}, datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)),
        (1772366400123456789, {"time_unit": "ns"}, datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-01 12:00:00 UTC", {}, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("1772366400", {}, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (" 1772366400.5 ", {}, datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("1772366400123", {}, datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)),
        ("20260301", {}, datetime(2026, 3, 1, tzinfo=UTC)),
        (1772366400123, {"time_unit": "s"}, None),
        (None, {}, None),
        ("", {}, None),
    ],
)
def test_times(tmp_path: Path, value: object, options: dict[str, str], expected: datetime | None) -> None:
    result = read(tmp_path, ROW | {"timestamp": value}, options=options)
    assert result.events["created_at"].to_list() == [expected]


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("soon", "no time"),
        ("31/12/2025 10:00", "no time"),
        (True, "no time"),
        ([], "no time"),
        (10**30, "no time"),
        (17, "a time before 1990 or after 2099"),
        ("0001-01-01T00:00:00+14:00", "no time"),
        ("2300-01-01", "a time before 1990 or after 2099"),
    ],
)
def test_what_is_no_time_or_no_plausible_one_is_left_out_and_said(tmp_path: Path, value: object, seen: str) -> None:
    result = read(tmp_path, ROW | {"timestamp": value}, ROW | {"timestamp": value, "event_id": "2"})
    assert result.events["created_at"].to_list() == [None, None]
    sentence = "optional fields that were left empty, since they could not be read"
    assert result.notes["said"] == [f"{sentence}: timestamp: {seen} (2 rows)"]


def test_a_unit_that_its_size_tells_is_said(tmp_path: Path) -> None:
    result = read(tmp_path, ROW | {"timestamp": 1772366400123}, ROW | {"timestamp": 1772366400, "event_id": "2"})
    assert result.notes["remarks"]["told_time_unit"] == {"timestamp in milliseconds": 1}
    stated = read(tmp_path, ROW | {"timestamp": 1772366400123}, options={"time_unit": "ms"})
    assert "told_time_unit" not in stated.notes["remarks"]
    wrong = read(tmp_path, ROW | {"timestamp": 1772366400123}, options={"time_unit": "us"})
    assert list(wrong.notes["remarks"]["unreadable_field"]) == [
        "timestamp: a time before 1990 or after 2099 by option `time_unit`"
    ]


def test_an_unknown_time_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="time_unit is 'h', not one of auto, s, ms, us, ns"):
        read(tmp_path, ROW, options={"time_unit": "h"})


def test_two_columns_that_could_be_the_vote_ask_which(tmp_path: Path) -> None:
    row = ROW | {"rating": "down"}
    with pytest.raises(InputError, match="columns feedback and rating could each be the vote"):
        read(tmp_path, row)
    assert read(tmp_path, row, options={"vote": "rating"}).events["vote"].to_list() == ["down"]


def test_a_stated_column_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column for user_id among: event_id, timestamp"):
        read(tmp_path, ROW, options={"user_id": "uid"})


def test_csv_and_parquet_give_the_same_events_as_json_lines(tmp_path: Path) -> None:
    rows = [
        ROW,
        ROW | {"event_id": "e2", "response": 'A "quoted",\nbroken line', "feedback": "thumbs_down"},
        ROW | {"event_id": "e3", "feedback": None, "model": None},
    ]
    expected = read(tmp_path, *rows).events.drop("source_file", "source_line")
    frame = pl.DataFrame(rows)
    frame.write_csv(tmp_path / "log.csv")
    frame.write_parquet(tmp_path / "log.parquet")
    with gzip.open(tmp_path / "log.csv.gz", "wb") as stream:
        stream.write((tmp_path / "log.csv").read_bytes())
    for name in ("log.csv", "log.csv.gz", "log.parquet"):
        result = ingest(EventsConfig(inputs=(str(tmp_path / name),)))
        assert result.rejects.is_empty()
        assert result.events.drop("source_file", "source_line").equals(expected)


def test_a_parquet_log_with_real_times_and_whole_numbers(tmp_path: Path) -> None:
    frame = pl.DataFrame([ROW, ROW | {"event_id": "e2"}]).with_columns(
        timestamp=pl.lit(datetime(2026, 3, 1, 12)).cast(pl.Datetime("ns")), user_id=pl.lit(7)
    )
    frame.write_parquet(tmp_path / "log.parquet")
    events = ingest(EventsConfig(inputs=(str(tmp_path / "log.parquet"),))).events
    assert events["created_at"].to_list() == [datetime(2026, 3, 1, 12, tzinfo=UTC)] * 2
    assert events["user_id"].n_unique() == 1


def votes_of(tmp_path: Path, *labels: object) -> list[str]:
    rows = [ROW | {"event_id": str(number), "feedback": label} for number, label in enumerate(labels)]
    return [str(vote) for vote in read(tmp_path, *rows).events.sort("source_line")["vote"]]


def test_words_and_thumbs_of_any_colour_are_known(tmp_path: Path) -> None:
    labels = ["yes", "No", "GOOD", "bad", "\U0001f44d\U0001f3fd", "\U0001f44e\U0001f3ff\ufe0f", "\U0001f44d\ufe0f"]
    assert votes_of(tmp_path, *labels) == ["up", "down", "up", "down", "up", "down", "up"]


def test_numbers_are_known_by_what_stands_beside_them(tmp_path: Path) -> None:
    assert votes_of(tmp_path, True, 0, 1, "false", "1") == ["up", "down", "up", "down", "up"]
    assert votes_of(tmp_path, "+1", "-1", None, "-1") == ["up", "down", "unrated", "down"]
    # One is the worst of five stars, and the better of two on another scale.
    for labels in ((1, 0), ("+1", "-1", "-2"), (-1, 1), (True, 1, 2)):
        assert set(votes_of(tmp_path, "up", *labels)) == {"up"}, labels


def test_columns_are_found_whatever_their_letters_and_outer_spaces(tmp_path: Path) -> None:
    named = {
        "prompt": " Prompt",
        "response": "RESPONSE ",
        "feedback": "Feedback",
        "user_id": "User_ID",
        "timestamp": "TimeStamp",
    }
    row = {named.get(name, name): value for name, value in ROW.items()}
    result = read(tmp_path, row, row | {"event_id": "2", "Feedback": None})
    assert result.events.height == 2 and result.notes["users"] == 1
    assert result.events["created_at"].null_count() == 0
    # The usual spelling goes first.
    both = read(tmp_path, ROW | {"PROMPT": "another"})
    assert both.events["prompt"][0][0]["content"] == ROW["prompt"]
    stated = read(tmp_path, ROW | {"Nutzer": "eva"}, options={"user_id": "nutzer"})
    assert stated.notes["users"] == 1


def test_nan_is_null_and_said(tmp_path: Path) -> None:
    row = ROW | {"comment": float("nan"), "score": float("-inf"), "user_id": float("nan")}
    result = read(tmp_path, row, ROW | {"event_id": "2", "comment": "NaN, -Infinity"})
    assert result.rejects.is_empty() and result.events.height == 2
    assert result.notes["remarks"]["not_a_number"] == {"comment": 1, "score": 1, "user_id": 1}
    required = read(tmp_path, ROW | {"prompt": float("nan")}, ROW)
    assert required.rejects.select("reason", "detail").rows() == [("missing_field", "field 'prompt' is null")]


def test_fields_that_begin_after_the_first_rows_are_read(tmp_path: Path) -> None:
    early = [{"prompt": f"p{number}", "completion": "c", "vote": "up"} for number in range(250)]
    late = {
        "system_prompt": "Speak like a pirate.",
        "chat_history": [["Ahoy?", "Aye."]],
        "tools": [{"name": "sail"}],
        "user": 7,
        "createdAt": 1_770_000_000,
        "id": "late",
    }
    result = read(tmp_path, *early, {"prompt": "p1", "completion": "c", "vote": "down"} | late)
    (event,) = result.events.filter(vote="down").to_dicts()
    assert [message["role"] for message in event["prompt"]] == ["system", "user", "assistant", "user"]
    assert event["tools"] == '[{"name":"sail"}]'
    assert event["created_at"] == datetime(2026, 2, 2, 2, 40, tzinfo=UTC)
    assert (result.notes["users"], result.notes["said"]) == (1, [])


def test_an_input_that_begins_late_follows_an_instruction_alone(tmp_path: Path) -> None:
    def last_prompt(name: str) -> str:
        rows = [{name: f"p{number}", "output": "c", "vote": "up"} for number in range(250)]
        result = read(tmp_path, *rows, {name: "Sum it up.", "input": "Rain, then sun.", "output": "c", "vote": "down"})
        return str(result.events.filter(vote="down")["prompt"][0][-1]["content"])

    assert last_prompt("instruction") == "Sum it up.\nRain, then sun."
    assert last_prompt("question") == "Sum it up."


def test_a_field_that_the_log_does_not_have_is_left_out_whatever_its_columns_are_called(tmp_path: Path) -> None:
    row = {"user": "How far is the moon?", "response": "Far.", "feedback": "up"}
    options = {"prompt": "user"}
    assert read(tmp_path, row, options=options).events["user_id"].null_count() == 0
    later = row | {"user_id": "ann"}
    events = read(tmp_path, *[row] * 200, later, options={**options, "user_id": ""}).events
    assert events["user_id"].null_count() == len(events) == 1
    with pytest.raises(InputError, match="no column for copied"):
        read(tmp_path, row, options={**options, "copied": ""})
