"""The stage: ids from content, deliveries merged, counts that add up, the same tables in any order of files."""

import hashlib
import json
import os
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from thumbline.pipeline.config import EventsConfig, caches
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.ingest import merging
from thumbline.pipeline.ingest.columns import RAW_EVENTS
from thumbline.pipeline.stages.events import EventsResult, ingest, input_digests, transform
from thumbline.pipeline.storage.digests import digest_file
from thumbline.pipeline.storage.manifests import Counts
from thumbline.pipeline.tables import polars_schema, validate

ROW = {"event_id": "e1", "user_id": "ann", "prompt": "p", "response": "r", "feedback": "up", "timestamp": 1_772_366_400}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(name: str, *rows: Any) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def read(*inputs: str, **config: Any) -> EventsResult:
    result = ingest(EventsConfig(inputs=inputs, **config))
    validate("events", result.events)
    validate("rejects", result.rejects)
    return result


def test_the_same_event_delivered_twice_is_merged_and_its_first_place_kept() -> None:
    write("b.jsonl", ROW, ROW)
    write("a.jsonl", ROW | {"event_id": "e0"}, ROW)
    result = read("b.jsonl", "a.jsonl")
    places = result.events.select("source_file", "source_line", "deliveries").sort("deliveries").rows()
    assert places == [("a.jsonl", 1, 1), ("a.jsonl", 2, 3)]
    assert result.counts == Counts(rows_in=4, gave=4, rows_out=2, merged=2)


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": "e2"},
        {"event_id": None},
        {"user_id": "bob"},
        {"user_id": None},
        {"prompt": "q"},
        {"prompt": [{"role": "system", "content": "p"}]},
        {"prompt": [{"role": "user", "content": "p"}, {"role": "user", "content": "p"}]},
        {"response": "r "},
        {"feedback": "down"},
        {"timestamp": 1_772_366_401},
        {"timestamp": None},
        {"model": "m"},
        {"conversation_id": "c"},
    ],
)
def test_an_event_that_differs_anywhere_is_another_event(change: dict[str, Any]) -> None:
    write("a.jsonl", ROW, ROW | change)
    assert read("a.jsonl").events["deliveries"].to_list() == [1, 1]


def test_values_that_run_into_each_other_stay_apart() -> None:
    first = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    write("a.jsonl", ROW | {"prompt": first}, ROW | {"prompt": [{"role": "user", "content": "a4:user1:b"}]})
    write("b.jsonl", ROW | {"prompt": "1", "response": "23"}, ROW | {"prompt": "12", "response": "3"})
    assert read("a.jsonl", "b.jsonl").counts.merged == 0


def test_two_contents_under_one_event_id_both_stay_and_are_counted() -> None:
    write("a.jsonl", ROW, ROW | {"feedback": "down"}, ROW | {"event_id": "e2"})
    result = read("a.jsonl")
    assert result.counts.rows_out == 3
    assert result.notes["source_event_ids_with_several_contents"] == 1


def test_users_are_keyed_hashes() -> None:
    write("a.jsonl", ROW)
    first, second = read("a.jsonl").events, read("a.jsonl", user_key="other").events
    for key in ("other", "k" * 64, "k\u00e9" * 50):
        short = key.encode() if len(key.encode()) <= 64 else hashlib.blake2b(key.encode()).digest()
        expected = hashlib.blake2b(b"ann", key=short, digest_size=8).hexdigest()
        assert read("a.jsonl", user_key=key).events["user_id"].to_list() == [expected]
    assert first["user_id"].to_list() != second["user_id"].to_list()
    # Not even the id lets a stranger test a name: it is made from the pseudonym.
    assert first["event_id"].to_list() != second["event_id"].to_list()


def test_the_order_of_files_changes_nothing() -> None:
    write("a.jsonl", ROW, "bad", ROW | {"prompt": ""})
    write("b.jsonl", ROW, ROW | {"response": "s"}, "worse")
    write("c.jsonl", {"chosen": "xy", "rejected": "xz"}, ROW)
    results = [read(*order) for order in permutations(["a.jsonl", "b.jsonl", "c.jsonl"])]
    for result in results[1:]:
        assert result.events.equals(results[0].events)
        assert result.rejects.equals(results[0].rejects)
        assert (result.counts, result.notes) == (results[0].counts, results[0].notes)


def test_tables_are_sorted_and_counts_add_up() -> None:
    rows = [ROW | {"event_id": str(index), "feedback": ["up", "down", None, "?"][index % 4]} for index in range(40)]
    write("a.jsonl", *rows, *rows[:7], ROW | {"response": None})
    result = read("a.jsonl")
    assert result.events.select("prompt_id", "response_id", "event_id").rows() == sorted(
        result.events.select("prompt_id", "response_id", "event_id").rows()
    )
    assert result.rejects["source_line"].is_sorted()
    assert result.counts == Counts(rows_in=48, gave=48, rows_out=30, merged=6, rejected=12)
    assert result.notes["records"] == 48
    assert result.notes["votes"] == {"up": 10, "down": 10, "unrated": 10}
    assert result.notes["reject_reasons"] == {"missing_field": 1, "unknown_label": 11}


def test_a_folder_of_several_formats_and_a_stray_file() -> None:
    write("logs/a.jsonl", ROW)
    write("logs/pairs.jsonl", {"prompt": "p", "chosen": "c", "rejected": "d"})
    write("logs/other.jsonl", {"stars": 5})
    write("logs/empty.jsonl")
    result = read("logs")
    assert result.notes["formats"] == {"thumbs_jsonl": 1, "trl": 2}
    assert result.rejects.select("source_file", "reason").rows() == [
        ("logs/empty.jsonl", "empty_file"),
        ("logs/other.jsonl", "unknown_format"),
    ]
    with pytest.raises(InputError, match="no format fits the fields stars"):
        read("logs", "logs/other.jsonl")


def test_nothing_but_files_of_unknown_format_is_an_error() -> None:
    write("logs/other.jsonl", {"stars": 5})
    with pytest.raises(InputError, match="no format fits the fields stars"):
        read("logs")


def test_a_stated_format_is_used_as_stated() -> None:
    both = {"prompt": "p", "completion": "c", "label": True, "feedback": "down"}
    write("a.jsonl", both)
    assert read("a.jsonl").events["vote"].to_list() == ["up"]
    assert read("a.jsonl", format="thumbs_jsonl").events["vote"].to_list() == ["down"]
    with pytest.raises(InputError, match="no column for completion, vote"):
        write("b.jsonl", {"prompt": "p"})
        read("b.jsonl", format="thumbs_jsonl")


def test_unknown_formats_and_options_are_named() -> None:
    write("a.jsonl", ROW)
    with pytest.raises(ConfigError, match=r"unknown format 'thumb_jsonl'\. Did you mean 'thumbs_jsonl'"):
        read("a.jsonl", format="thumb_jsonl")
    with pytest.raises(ConfigError, match=r"unknown option of thumbs_jsonl 'promt'\. Did you mean 'prompt'"):
        read("a.jsonl", options={"promt": "question"})
    with pytest.raises(ConfigError, match=r"unknown option of thumbs_jsonl 'timestamp'\. Did you mean 'created_at'"):
        read("a.jsonl", options={"timestamp": "at"})
    write("c.jsonl", {"dialog": [], "participant1_id": {}, "participant2_id": {}})
    with pytest.raises(ConfigError, match=r"unknown option of convai2 'prompt'"):
        read("c.jsonl", options={"prompt": "question"})


def test_max_line_bytes_is_kept() -> None:
    write("a.jsonl", ROW, ROW | {"event_id": "e2", "response": "x" * 500})
    result = read("a.jsonl", max_line_bytes=300)
    assert result.rejects.select("source_line", "reason").rows() == [(2, "line_too_long")]
    assert read("a.jsonl").rejects.is_empty()


def test_no_rows_give_the_two_tables_empty() -> None:
    write("a.jsonl")
    result = read("a.jsonl")
    assert result.events.schema == polars_schema("events", optional=True)
    assert result.events.is_empty()
    assert result.rejects["reason"].to_list() == ["empty_file"]


def test_transform_of_nothing_is_the_table_without_rows() -> None:
    assert transform(RAW_EVENTS.to_frame()).schema == polars_schema("events", optional=True)


def test_lost_rows_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.jsonl", ROW, ROW | {"event_id": "e2"})
    monkeypatch.setattr(merging, "merged", lambda frame, merged=merging.merged: merged(frame).head(1))
    with pytest.raises(ValueError, match="2 rows in, but 1 out"):
        read("a.jsonl")


def test_input_digests_follow_content_whatever_times_are_given_to_a_file() -> None:
    config = EventsConfig(inputs=(write("logs/a.jsonl", ROW), "logs"))
    expected = {"logs/a.jsonl": digest_file(Path("logs/a.jsonl"))}
    assert input_digests(config) == expected
    old = 1_700_000_000
    os.utime("logs/a.jsonl", (old, old))
    assert input_digests(config) == expected
    # Other bytes under the same name, size, time and inode: the time of change, which nobody can set, tells.
    with Path("logs/a.jsonl").open("r+b") as stream:
        stream.write(b" ")
    os.utime("logs/a.jsonl", (old, old))
    assert input_digests(config) == {"logs/a.jsonl": digest_file(Path("logs/a.jsonl"))} != expected
    write("logs/a.jsonl", ROW, ROW)
    assert input_digests(config) == {"logs/a.jsonl": digest_file(Path("logs/a.jsonl"))} != expected


def test_a_file_that_just_changed_is_read_again() -> None:
    config = EventsConfig(inputs=(write("a.jsonl", ROW),))
    state = Path("a.jsonl").stat()
    before = input_digests(config)
    write("a.jsonl", ROW | {"user_id": "eve"})
    os.utime("a.jsonl", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert Path("a.jsonl").stat().st_size == state.st_size
    assert input_digests(config) != before


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert caches.cache_dir() == folder / "cache"
    monkeypatch.delenv("THUMBLINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "xdg"))
    assert caches.cache_dir() == folder / "xdg" / "thumbline"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert caches.cache_dir() == Path.home() / ".cache" / "thumbline"


def event_id(event: dict[str, object], prompt: str, completion: str) -> str:
    """Texts are said by the response's id, and once more where they are not written as that id has them."""
    optional = ["=e1", "", f"={event['user_id']}", "", "", "", "", "", prompt, completion]
    said = f"thumbs_jsonl up 1772366400000000 {event['response_id']} "
    said += "".join(f"{len(text.encode())}:{text}" for text in optional)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def test_an_event_id_is_the_digest_of_its_fields_in_order() -> None:
    write("a.jsonl", ROW)
    (event,) = read("a.jsonl").events.to_dicts()
    assert event["event_id"] == event_id(event, "", "")


def test_spellings_of_one_text_are_events_of_their_own() -> None:
    write("a.jsonl", ROW, ROW | {"response": " r\n"}, ROW | {"prompt": "p ", "response": "r "})
    events = read("a.jsonl").events.sort("source_line").to_dicts()
    assert len({event["response_id"] for event in events}) == 1
    spelled = [("", ""), ("", "= r\n"), ("=4:user2:p ", "=r ")]
    for event, (prompt, completion) in zip(events, spelled, strict=True):
        assert event["event_id"] == event_id(event, prompt, completion)


SAMPLE = Path(__file__).parents[3] / "data" / "sample"
# How the sample's own account of its broken lines reads as reject reasons.
SAMPLE_FAULTS = {
    "cut_json": "broken_json",
    "no_response_field": "missing_field",
    "no_prompt_field": "missing_field",
    "empty_response": "empty_completion",
    "unknown_label": "unknown_label",
    "wrong_type": "wrong_type",
    "not_utf8": "invalid_utf8",
}


def test_the_sample_log_gives_the_counts_that_its_maker_wrote_down() -> None:
    made = json.loads((SAMPLE / "counts.json").read_text(encoding="utf-8"))
    result = read(str(SAMPLE / "thumbs.jsonl"))
    votes = {"thumbs_up": "up", "thumbs_down": "down", "retracted": "retracted", "null": "unrated"}
    reasons: Counter[str] = Counter()
    for fault, count in made["broken_lines"].items():
        reasons[SAMPLE_FAULTS[fault]] += count
    assert result.counts.model_dump(exclude={"made"}) == {
        "rows_in": made["lines"],
        "gave": made["lines"],
        "rows_out": made["events"],
        "merged": made["duplicate_lines"],
        "rejected": sum(reasons.values()),
    }
    assert result.notes["reject_reasons"] == dict(reasons)
    assert result.notes["votes"] == {votes[label]: count for label, count in made["feedback"].items()}
