"""Logs of newcomers to run files that read them: what is told, asked, guessed, stated, and given in the end."""

import json
from pathlib import Path

import pytest

from tests.unit.starting.newcomers import NEWCOMERS, Newcomer, array, in_ms, lines, rows, sheet
from thumbline.pipeline.config import EventsConfig, load_config
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.importers.describing import describe_format
from thumbline.pipeline.stages.events import ingest
from thumbline.pipeline.starting import reading
from thumbline.pipeline.starting.amounts import Amounts, Method, amounts_of, method_for
from thumbline.pipeline.starting.looking import Looked, look
from thumbline.pipeline.starting.questions import Topic
from thumbline.pipeline.starting.run_file import Model, relative, run_file


class Asked:
    """Answers with the guess, or with what a question's beginning is given for."""

    how = "asked"

    def __init__(self, **answers: str) -> None:
        self.topics: list[Topic] = []
        self.answers = answers

    def __call__(self, topic: Topic) -> list[str]:
        self.topics.append(topic)
        return [self.answers.get(question.about.split(" (")[0], question.guess) for question in topic.questions]


class Guessing(Asked):
    """Takes every guess."""

    how = "guessed"


def looked(path: Path, ask: Asked | None = None, **events: object) -> Looked:
    return look(EventsConfig.model_validate({"inputs": [str(path)], **events}), ask or Asked())


def written(found: Looked, folder: Path) -> Path:
    place = folder / "run.yaml"
    place.write_text(
        run_file(found, Method("kto", "it suits"), Model("demo", "stated"), place, "run", "thumbline init")
    )
    return place


@pytest.mark.parametrize("log", NEWCOMERS, ids=lambda log: log.name)
def test_the_run_file_of_a_newcomer_reads_what_the_look_said(tmp_path: Path, log: Newcomer) -> None:
    log.write(tmp_path / log.name)
    found = looked(tmp_path / log.name)
    assert found.options.items() >= log.options.items()
    config = load_config(written(found, tmp_path))
    assert config.events.inputs == (str(tmp_path / log.name),)
    result = ingest(config.events)
    votes = dict(result.events["vote"].cast(str).value_counts().iter_rows())
    assert votes == log.votes
    assert len(result.rejects) == log.rejected == len(found.read.rejects)
    (source,) = found.sources
    assert (source.whole, source.events) == (True, sum(log.votes.values()))


def test_times_of_a_number_get_their_unit_and_others_none(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines(rows(("prompt", "response", "vote"), ["up", "down"] * 3, created_at=in_ms))(log)
    found = looked(log)
    assert (found.options["time_unit"], found.whys["time_unit"]) == ("ms", "the size of the numbers in created_at")
    assert ingest(load_config(written(found, tmp_path)).events).events["created_at"].null_count() == 0
    lines(rows(("prompt", "response", "vote"), ["up", "down"] * 3, created_at=lambda n: in_ms(n) // (1000 ** (n % 2))))(
        log
    )
    assert "time_unit" not in looked(log).options


def test_what_is_not_sure_is_asked_and_the_answer_counts(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    sheet(rows(("prompt", "response", "stars"), [1, 2, 3, 1, 2, 3]), ",")(log)
    ask = Asked(**{"1": "up", "2": "", "3": "down"})
    found = looked(log, ask)
    (topic,) = ask.topics
    assert topic.title.endswith("log.csv: what do these votes mean?")
    assert [(one.about, one.guessed) for one in topic.questions] == [
        ("1 (2 rows)", "a thumb down"),
        ("2 (2 rows)", "no vote"),
        ("3 (2 rows)", "a thumb up"),
    ]
    assert topic.state == {"down": "<=1", "unrated": "2", "up": ">=3"}
    assert {name: found.options[name] for name in ("up", "down")} == {"up": "1", "down": "3"}
    assert "unrated" not in found.options
    assert len(found.read.events) == 4 and set(found.read.rejects["reason"]) == {"unknown_label"}


def test_of_two_columns_that_may_be_the_answer_one_is_asked_for(tmp_path: Path) -> None:
    made = rows(("prompt", "response", "vote"), ["up", "down"] * 3)
    lines(
        [
            {"text": row["prompt"], "draft": row["response"] + " Or so.", "final": row["response"], "vote": row["vote"]}
            for row in made
        ]
    )(tmp_path / "log.jsonl")
    ask = Asked(**{"the prompt": "text", "the answer": "final"})
    found = looked(tmp_path / "log.jsonl", ask)
    assert [question.about for question in ask.topics[0].questions] == ["the prompt", "the answer"]
    assert (found.options["prompt"], found.options["completion"]) == ("text", "final")
    assert found.whys["completion"] == "asked, by its values"
    assert found.read.events["completion"][0].startswith("Boil water")


def test_of_two_usual_names_for_the_answer_one_is_asked_for(tmp_path: Path) -> None:
    made = rows(("prompt", "response", "vote"), ["up", "down"] * 3)
    lines([row | {"answer": row["response"].upper()} for row in made])(tmp_path / "log.jsonl")
    ask = Asked(**{"the answer": "answer"})
    found = looked(tmp_path / "log.jsonl", ask)
    assert [question.about for question in ask.topics[0].questions] == ["the answer"]
    assert (found.options["completion"], found.whys["completion"]) == ("answer", "asked")
    assert found.read.events["completion"][0].startswith("BOIL WATER")
    guessing = look(EventsConfig(inputs=(str(tmp_path),)), Guessing())
    assert guessing.options["completion"] == "response"
    assert guessing.whys["completion"] == "guessed: answer may be it too"


def test_what_is_stated_is_not_asked(tmp_path: Path) -> None:
    sheet(rows(("q", "a", "stars"), [1, 5] * 3), ",")(tmp_path / "log.csv")
    ask = Asked()
    found = looked(tmp_path / "log.csv", ask, options={"up": "1", "down": "5", "vote": "stars"})
    assert ask.topics == []
    assert (found.options["up"], found.whys["up"], found.options["prompt"]) == ("1", "stated", "q")


def test_files_of_several_formats_stay_detected(tmp_path: Path) -> None:
    lines(rows(("prompt", "response", "vote"), ["up", "down"] * 3))(tmp_path / "a.jsonl")
    lines([{"prompt": "Hi?", "chosen": "Hello!", "rejected": "No."}])(tmp_path / "b.jsonl")
    found = looked(tmp_path)
    assert [source.format for source in found.sources] == ["thumbs_jsonl", "trl"]
    assert (found.format, found.options) == ("auto", {})
    assert len(ingest(load_config(written(found, tmp_path)).events).events) == 8


def test_a_log_without_votes_says_what_is_missing(tmp_path: Path) -> None:
    array([{"q": f"What is {n}?", "a": f"It is {n}, I think."} for n in range(4)])(tmp_path / "log.json")
    with pytest.raises(InputError, match=r"no column can be the vote among: q, a\. .*options=\{vote: COLUMN\}"):
        looked(tmp_path / "log.json")


def test_a_column_of_comments_is_no_vote(tmp_path: Path) -> None:
    votes = [f"I liked number {n} a lot" for n in range(60)]
    lines(rows(("prompt", "response", "feedback"), votes))(tmp_path / "log.jsonl")
    with pytest.raises(InputError, match=r"holds 60 different labels .*Is another column the vote\?"):
        looked(tmp_path / "log.jsonl")


def test_two_answers_a_row_are_stated_too(tmp_path: Path) -> None:
    lines(
        [
            {"instruction": f"Say {n}", "output_1": f"It is {n}", "output_2": "No", "preference": 1 + n % 2}
            for n in range(6)
        ]
    )(tmp_path / "log.jsonl")
    found = looked(tmp_path / "log.jsonl")
    assert (found.format, found.options["first"], found.options["preference"]) == (
        "two_answers",
        "output_1",
        "preference",
    )
    assert amounts_of(found.read.events).pairs == 6


def test_the_method_follows_from_the_rows() -> None:
    assert method_for(Amounts(9, 20, 10, 10, 5, 3)).name == "dpo"
    assert method_for(Amounts(9, 20, 10, 10, 4, 3)).name == "kto"
    assert method_for(Amounts(9_000, 20_000, 10_000, 10_000, 1_000, 3)).name == "dpo"
    assert "among the first rows" in method_for(Amounts(9, 20, 10, 10, 5, 3), whole=False).why
    assert "votes of one kind teach nothing" in method_for(Amounts(9, 20, 10, 0, 0, 3)).why


def test_inputs_are_relative_to_the_run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative("logs/*.jsonl", tmp_path) == "logs/*.jsonl"
    assert relative("logs/a.jsonl", tmp_path / "runs") == "../logs/a.jsonl"
    assert relative("a.jsonl", tmp_path / "x" / "y") == str(tmp_path / "a.jsonl")
    assert relative("hub:./set", tmp_path / "x") == "hub:./set"


@pytest.mark.parametrize(
    "name", ["argilla", "chatgpt", "conversations", "dify", "gradio", "langfuse", "llmfao", "open_webui"]
)
def test_exports_of_tools_are_told_and_nothing_is_changed(tmp_path: Path, name: str) -> None:
    """Of formats whose labels are known nothing is asked, and the run file reads what detection reads."""
    for file, text in describe_format(name).example.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    ask = Asked()
    found = looked(tmp_path, ask)
    assert (found.format, found.options, ask.topics) == (name, {}, [])
    assert len(found.read.rejects) == 0 < len(found.read.events)


def test_only_the_first_rows_are_looked_at_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_ROWS", 4)
    lines(rows(("prompt", "response", "vote"), ["up", "down"] * 3))(tmp_path / "log.jsonl")
    found = looked(tmp_path / "log.jsonl")
    (source,) = found.sources
    assert (source.rows, source.whole, source.events, found.is_whole) == (4, False, 4, False)


def test_a_file_that_is_no_log_is_said_and_others_are_read(tmp_path: Path) -> None:
    lines(rows(("prompt", "response", "vote"), ["up", "down"]))(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"SQLite format 3\x00" + bytes(64))
    found = looked(tmp_path)
    assert [source.format for source in found.sources] == ["thumbs_jsonl", ""]
    assert "a SQLite database" in found.sources[1].refusal


def test_a_table_in_a_folder_that_is_no_log_hides_no_log_beside_it(tmp_path: Path) -> None:
    lines(rows(("prompt", "response", "vote"), ["up", "down"]))(tmp_path / "b.jsonl")
    (tmp_path / "a.json").write_text('{"version": 1}')
    (tmp_path / "c.jsonl").touch()
    found = looked(tmp_path)
    assert [source.format for source in found.sources] == ["", "thumbs_jsonl", "thumbs_jsonl"]
    assert found.options["completion"] == "response"
    assert "no column can be the prompt and the answer among: version" in found.sources[0].refusal
    taken = ingest(load_config(written(found, tmp_path)).events)
    assert len(taken.events) == 2 and set(taken.rejects["reason"]) == {"unknown_format", "empty_file"}
    with pytest.raises(InputError, match="no column can be the prompt and the answer"):
        looked(tmp_path / "a.json")


def test_files_with_different_columns_are_told_apart(tmp_path: Path) -> None:
    lines(rows(("q", "a", "stars"), ["up", "down"]))(tmp_path / "a.jsonl")
    lines(rows(("asked", "said", "liked"), ["up", "down"]))(tmp_path / "b.jsonl")
    with pytest.raises(
        InputError, match=r"b\.jsonl: its columns \(asked, said, liked\) are others .* stars is the vote"
    ):
        looked(tmp_path)


def test_a_list_inside_one_object_is_looked_into(tmp_path: Path) -> None:
    made = rows(("asked", "said", "thumb"), ["up", "down"] * 3)
    (tmp_path / "log.json").write_text(json.dumps({"version": 1, "items": made}))
    found = looked(tmp_path / "log.json")
    assert (found.options["prompt"], found.sources[0].holds) == ("asked", "a list inside one JSON object")
    assert len(ingest(load_config(written(found, tmp_path)).events).events) == 6


def test_names_that_no_comment_takes_do_no_harm(tmp_path: Path) -> None:
    lines(rows(("prompt", "response", "vo\x07te\nx: y"), ["up", "down"] * 3))(tmp_path / "log.jsonl")
    found = looked(tmp_path / "log.jsonl")
    config = load_config(written(found, tmp_path))
    assert config.events.options["vote"] == "vo\x07te\nx: y" and len(ingest(config.events).events) == 6
