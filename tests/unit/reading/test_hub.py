"""Data sets through the library datasets, from local folders: no network is used."""

import json
from pathlib import Path

import pytest

from tests.unit.importers import fixtures_fastchat as fastchat
from tests.unit.importers import fixtures_helpsteer as helpsteer
from tests.unit.importers import fixtures_hh_rlhf as hh_rlhf
from tests.unit.importers import fixtures_open_assistant as open_assistant
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.reading import hub
from thumbline.pipeline.stages.events import ingest, input_digests

THUMB = {"prompt": "p", "response": "c", "feedback": "up"}
PAIR = {"prompt": "p", "chosen": "good", "rejected": "bad"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def write(path: Path, *rows: dict[str, object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_thumbs_of_a_local_folder(folder: Path) -> None:
    write(folder / "train.jsonl", THUMB, THUMB | {"feedback": "meh"}, THUMB | {"response": "nul \x00"})
    result = ingest(EventsConfig(inputs=("hub:./set",)))
    (event,) = result.events.to_dicts()
    assert (event["source_file"], event["source_line"], event["vote"]) == ("hub:./set", 1, "up")
    assert event["format"] == "thumbs_jsonl"
    assert result.rejects.select("source_line", "reason").rows() == [(2, "unknown_label"), (3, "nul_character")]


def test_pairs_and_the_option_split(folder: Path) -> None:
    write(folder / "train.jsonl", PAIR)
    write(folder / "test.jsonl", PAIR, PAIR | {"prompt": "q"})
    assert ingest(EventsConfig(inputs=("hub:./set",))).counts.rows_out == 2
    result = ingest(EventsConfig(inputs=("hub:./set",), options={"split": "test"}))
    assert result.notes["votes"] == {"chosen": 2, "rejected": 2}


def test_a_mapping_reaches_the_rows(folder: Path) -> None:
    write(folder / "train.jsonl", {"asked": "p", "response": "c", "feedback": 1})
    config = EventsConfig(inputs=("hub:./set",), options={"prompt": "asked", "up": "1", "down": "0"})
    assert ingest(config).events["vote"].to_list() == ["up"]


@pytest.mark.parametrize(
    ("rows", "votes"),
    [
        ([hh_rlhf.row()], {"chosen": 1, "rejected": 1}),
        ([helpsteer.third(), helpsteer.third(0, response2="No.")], {"chosen": 1, "rejected": 1, "tied": 2}),
        ([fastchat.battle("model_a")], {"chosen": 1, "rejected": 1}),
        (
            [open_assistant.message("u1", "prompter", "Hi", open_assistant.message("a1", "assistant", "Ho"))],
            {"unrated": 1},
        ),
    ],
)
def test_published_data_sets_are_read_by_their_own_importers(
    folder: Path, rows: list[dict[str, object]], votes: dict[str, int]
) -> None:
    write(folder / "train.jsonl", *rows)
    assert ingest(EventsConfig(inputs=("hub:./set",))).notes["votes"] == votes


def test_an_option_that_the_rows_importer_does_not_have_is_refused(folder: Path) -> None:
    write(folder / "train.jsonl", PAIR)
    with pytest.raises(
        ConfigError,
        match=r"events\.options: unknown option of trl or hub: 'upwards'.* Known: .*name, .*revision, .*split",
    ):
        ingest(EventsConfig(inputs=("hub:./set",), options={"upwards": "1"}))


def test_the_same_rows_of_a_file_are_the_same_events(folder: Path) -> None:
    write(folder / "train.jsonl", THUMB, THUMB | {"feedback": "down"})
    of_hub, of_file = (ingest(EventsConfig(inputs=(entry,))).events for entry in ("hub:./set", "set/train.jsonl"))
    assert of_hub.drop("source_file").equals(of_file.drop("source_file"))


@pytest.mark.parametrize("stated", ["auto", "hub", "trl"])
def test_a_stated_format_is_the_rows_and_hub_means_that_it_is_found(folder: Path, stated: str) -> None:
    write(folder / "train.jsonl", PAIR | {"response": "c", "feedback": "up"})
    formats = ingest(EventsConfig(inputs=("hub:./set",), format=stated)).notes["formats"]
    assert formats == {"trl": 2}
    config = EventsConfig(inputs=("hub:./set",), format="thumbs_jsonl")
    assert ingest(config).notes["formats"] == {"thumbs_jsonl": 1}


def test_an_option_of_the_source_does_not_reach_an_importer_of_files(folder: Path) -> None:
    write(folder / "train.jsonl", PAIR)
    with pytest.raises(ConfigError, match=r"unknown option of trl 'split'"):
        ingest(EventsConfig(inputs=("set/train.jsonl",), options={"split": "train"}))


def test_a_data_set_without_rows_is_an_input_error(folder: Path) -> None:
    (folder / "train.csv").write_text("prompt,chosen,rejected\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"hub:\./set: no readable row"):
        ingest(EventsConfig(inputs=("hub:./set",)))


def test_columns_that_no_importer_knows_are_named(folder: Path) -> None:
    write(folder / "train.jsonl", {"text": "x", "stars": 5})
    with pytest.raises(
        InputError, match=r"hub:\./set: no format fits the fields text, stars\. Known formats: convai2, "
    ):
        ingest(EventsConfig(inputs=("hub:./set",)))


def test_a_split_that_is_not_there_is_an_input_error(folder: Path) -> None:
    write(folder / "train.jsonl", THUMB)
    with pytest.raises(InputError, match=r"hub:\./set: no data set loads"):
        ingest(EventsConfig(inputs=("hub:./set",), options={"split": "nope"}))


def test_a_damaged_file_is_an_input_error_without_its_text(folder: Path) -> None:
    (folder / "train.jsonl").write_text('{"prompt": "my secret", "response": "c", "feed', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        ingest(EventsConfig(inputs=("hub:./set",)))
    assert "my secret" not in str(caught.value)


def test_digests_follow_a_folders_content_and_an_ids_revision(folder: Path) -> None:
    write(folder / "train.jsonl", THUMB)
    config = EventsConfig(inputs=("hub:./set",))
    before = input_digests(config)
    assert list(before) == ["hub:./set"]
    write(folder / "train.jsonl", PAIR)
    assert input_digests(config) != before
    pinned = [hub.digest("hub:someone/set", {"revision": revision}) for revision in ("a", "b", "a")]
    assert pinned[0] == pinned[2] != pinned[1]


def test_a_folder_whose_name_is_a_pattern_is_refused(folder: Path) -> None:
    # `datasets` would read the folder `s1`.
    for name in ("s1", "s[1]"):
        (folder / name).mkdir()
        write(folder / name / "train.jsonl", THUMB | {"prompt": name})
    with pytest.raises(InputError, match=r"takes \[ \] \* \? in a folder's path for a pattern"):
        ingest(EventsConfig(inputs=(f"hub:{folder}/s[1]",)))
