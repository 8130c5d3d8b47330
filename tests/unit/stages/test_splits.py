import json
import resource

import polars as pl
import pytest

from tests.conftest import event, events_table
from thumbline.pipeline.config import PairsConfig, ResponsesConfig, SplitsConfig, UnpairedConfig, load_config
from thumbline.pipeline.errors import InputError, TableError
from thumbline.pipeline.evidence.leakage import leak_keys, met_keys
from thumbline.pipeline.evidence.meetings import KEPT, meetings
from thumbline.pipeline.evidence.neighbours import SIGNATURES
from thumbline.pipeline.evidence.placed_prompts import splits_table
from thumbline.pipeline.evidence.split_parts import Gathered, part_of
from thumbline.pipeline.stages import pairs, responses, splits, unpaired
from thumbline.pipeline.tables import SPLIT, polars_schema, validate


def made(rows, **config):
    events = events_table(rows).lazy()
    table = responses.transform(events, ResponsesConfig()).responses
    found = splits.transform(table, events, table.select("prompt_id"), SplitsConfig(**config))
    return validate("splits", found.collect())


def audited(rows, sets=None, **config):
    """Table `leakage` and splits of all rows."""
    events = events_table(rows)
    first = responses.transform(events.lazy(), ResponsesConfig())
    labelled = unpaired.transform(first.responses, UnpairedConfig())
    paired = pairs.transform(first.responses, first.comparisons, PairsConfig(), ResponsesConfig()).pairs
    settings = SplitsConfig(evaluation_sets=sets or {}, **config)
    table = splits.transform(first.responses, events.lazy(), labelled.select("prompt_id"), settings)
    keys = leak_keys(labelled, paired, table, near=settings.near_duplicates).collect()
    met = met_keys(events, table.collect(), KEPT[settings.group_by]) if KEPT[settings.group_by] else keys.clear()
    leakage = validate("leakage", splits.leakage_of(pl.concat([keys, met], how="diagonal"), settings))
    return {tuple(row[:4]): tuple(row[4:]) for row in leakage.iter_rows()}, table.collect()


def rated(prompt, **other):
    return event(prompt, f"answer to {prompt}", "up", **other)


def test_shares_are_near_what_was_asked_and_every_prompt_has_one_split():
    table = made([rated(f"prompt {number}") for number in range(4000)], validation=0.1, test=0.2)
    shares = dict(table["split"].value_counts(normalize=True).iter_rows())
    assert shares["test"] == pytest.approx(0.2, abs=0.02)
    assert shares["validation"] == pytest.approx(0.1, abs=0.02)
    assert table["prompt_id"].n_unique() == table.height == 4000


def test_prompts_that_differ_trivially_share_a_group():
    table = made([rated("What is a Fox?"), rated("what is a  fox"), rated("What is an ox?")])
    assert table["group_id"].n_unique() == 2


def test_a_conversation_does_not_cross_splits_unless_told():
    rows = [rated(f"turn {number}", conversation_id="c") for number in range(30)]
    assert made(rows)["group_id"].n_unique() == 1
    assert made(rows, group_by="prompt")["group_id"].n_unique() == 30


def test_adding_data_moves_no_group():
    old = [rated(f"prompt {number}") for number in range(300)]
    before = made(old)
    after = made([*old, *(rated(f"new prompt {number}") for number in range(300))])
    assert before.equals(after.join(before.select("prompt_id"), on="prompt_id", how="semi").sort("prompt_id"))


def chats(count, opener, turns=2):
    """Conversations of some turns, the first of which all begin with one prompt."""
    for number in range(count):
        texts = [opener, *(f"chat {number} turn {turn}" for turn in range(1, turns))]
        for turn, text in enumerate(texts):
            at = 10 * number + turn
            yield event(text, f"answer {number} {turn}", "up", user=None, at=at, conversation_id=f"k{number}")


@pytest.mark.parametrize("opener", ["", " \n"])
def test_an_empty_prompt_joins_nothing_and_is_in_one_split(opener):
    table = made(list(chats(40, opener)))
    assert table["group_id"].n_unique() == table.height == 41


def test_a_popular_opener_joins_its_oldest_conversations_and_the_audit_counts_what_crosses():
    rows = list(chats(200, "Hi there"))
    leakage, table = audited(rows)
    # The opener and the second turns of four conversations, and 196 second turns.
    assert table["group_id"].n_unique() == 197
    sizes = dict(table["split"].value_counts().iter_rows())
    place = table.filter(pl.col("group_id").is_duplicated())["split"].unique().to_list()
    # Half of all rows are answers to the opener, so its group trains.
    assert place == ["train"]
    assert leakage[("conversation", "exact", "train", "test")] == (sizes["test"], sizes["test"])
    assert leakage[("prompt", "exact", "train", "test")] == (sizes["test"], 0)
    with_users, _ = audited(rows, group_by="prompt_conversation_and_user")
    assert ("user", "exact", "train", "test") not in with_users
    alone, _ = audited(rows, group_by="prompt")
    assert {key[0] for key in alone} == {"prompt", "completion"}


def test_a_popular_opener_does_not_glue_users_either():
    rows = [row | {"user_id": f"u{place // 2 % 50}"} for place, row in enumerate(chats(200, "Hi there"))]
    leakage, table = audited(rows, group_by="prompt_conversation_and_user")
    # A user's four conversations are together, and of those that the opener joins four users.
    assert table["group_id"].n_unique() == 47
    assert leakage[("user", "exact", "train", "test")][1] > 0


def test_later_conversations_move_no_group_whatever_they_open_with():
    old, new = list(chats(100, "Hi there", turns=3)), list(chats(300, "Hi there", turns=3))
    before = {row["prompt_id"]: row["group_id"] for row in made(old).to_dicts()}
    after = {row["prompt_id"]: row["group_id"] for row in made(new).to_dicts()}
    assert len(before) == 201
    assert before.items() <= after.items()


def test_salt_changes_the_split():
    rows = [rated(f"prompt {number}") for number in range(100)]
    assert not made(rows)["split"].equals(made(rows, salt="other")["split"])


def test_prompts_of_symbols_alone_are_not_thrown_together():
    assert made([rated("???"), rated("!!!")])["group_id"].n_unique() == 2


def test_only_prompts_with_evidence_get_a_split():
    events = events_table([rated("a"), event("b", "c", "unrated")]).lazy()
    table = responses.transform(events, ResponsesConfig()).responses
    labelled = table.filter(pl.col("label") != "abstain").select("prompt_id")
    assert splits.transform(table, events, labelled, SplitsConfig()).collect().height == 1


def test_shares_are_met_within_one_percent_of_rows_on_large_data():
    table = pl.LazyFrame({"prompt_id": [f"{number:032x}" for number in range(40_000)]})
    part = splits.PromptFacts(
        prompts=table.select(
            id="prompt_id", text_key="prompt_id", oldest_event_at=pl.lit(None), newest_event_at=pl.lit(None)
        ),
        meetings=meetings(pl.LazyFrame(), pl.LazyFrame(), ()),
        signatures=SIGNATURES.to_frame().lazy(),
        answers=table.select(response_id="prompt_id", prompt_id="prompt_id"),
    )
    made_splits = splits.assign([part], table, SplitsConfig(validation=0.1, test=0.2))
    shares = dict(made_splits["split"].value_counts(normalize=True).iter_rows())
    assert shares["test"] == pytest.approx(0.2, abs=0.01)
    assert shares["validation"] == pytest.approx(0.1, abs=0.01)


def test_users_can_be_kept_together():
    rows = [rated(f"prompt {number}", user=f"u{number % 3}") for number in range(12)]
    assert made(rows)["group_id"].n_unique() == 12
    assert made(rows, group_by="prompt_conversation_and_user")["group_id"].n_unique() == 3


def test_near_duplicates_can_be_kept_together():
    pytest.importorskip("rensa")
    question = "Which vegetables should I plant in May if my garden is small and rather shady in the afternoon"
    rows = [rated(f"{question}?"), rated(f"{question}s?"), rated("What is a fox?")]
    assert made(rows)["group_id"].n_unique() == 3
    assert made(rows, near_duplicates=True)["group_id"].n_unique() == 2
    assert made(rows, near_duplicates=True, near_similarity=0.999)["group_id"].n_unique() == 3


def test_a_later_turn_does_not_rename_a_conversations_group():
    old = [rated(f"turn {number}", conversation_id="c", at=number) for number in range(5)]
    name = made(old)["group_id"].unique().to_list()
    for number in range(30):
        later = [*old, rated(f"later {number}", conversation_id="c", at=100)]
        assert made(later)["group_id"].unique().to_list() == name


def test_of_two_groups_that_merge_the_older_one_stays():
    old, young = rated("old", conversation_id="a", at=0), rated("young", conversation_id="b", at=10)
    bridge = [rated("bridge", conversation_id=name, at=20) for name in "ab"]
    before = {row["prompt_id"]: row["group_id"] for row in made([old, young]).to_dicts()}
    after = made([old, young, *bridge])
    assert after["group_id"].n_unique() == 1
    assert after["group_id"][0] in before.values()
    assert after["group_id"][0] == made([old])["group_id"][0]


def test_both_prompts_of_one_pair_share_a_group():
    rows = [event("What is a fox?", "a", "up"), event("what is an ox", "b", "down")]
    events = events_table(rows).lazy()
    table = responses.transform(events, ResponsesConfig()).responses.collect()
    first, second = table.rows(named=True)
    met = pl.LazyFrame({"prompt_id": [first["prompt_id"]], "rejected_response_id": [second["response_id"]]})
    alone = splits.transform(table.lazy(), events, table.lazy(), SplitsConfig()).collect()
    together = splits.transform(table.lazy(), events, table.lazy(), SplitsConfig(), met).collect()
    assert (alone["group_id"].n_unique(), together["group_id"].n_unique()) == (2, 1)


def test_by_time_the_newest_rows_are_the_test():
    rows = [rated(f"prompt {number}", at=number) for number in range(100)]
    events = events_table(rows).lazy()
    table = responses.transform(events, ResponsesConfig()).responses
    made_splits = splits.transform(table, events, table, SplitsConfig(method="time", validation=0.1, test=0.2))
    times = made_splits.join(table, on="prompt_id").sort("newest_event_at").collect()
    assert times["split"].to_list() == ["train"] * 70 + ["validation"] * 10 + ["test"] * 20


def test_by_time_a_group_lies_where_its_last_event_does():
    rows = [rated(f"prompt {number}", at=number) for number in range(20)]
    rows += [rated("old", at=0, conversation_id="c"), rated("new", at=1000, conversation_id="c")]
    events = events_table(rows).lazy()
    table = responses.transform(events, ResponsesConfig()).responses
    made_splits = (
        splits.transform(table, events, table, SplitsConfig(method="time")).join(table, on="prompt_id").collect()
    )
    found = {row["prompt"][0]["content"]: row["split"] for row in made_splits.to_dicts()}
    assert found["old"] == found["new"] == "test"
    assert found["prompt 0"] == "train"


def test_by_time_without_times_is_refused():
    with pytest.raises(InputError, match="splits.method is time, but no event of a labelled or paired prompt"):
        made([rated("a", at=None)], method="time")


def crossing(rows):
    return {key[:2] for key, (_, leaked) in rows.items() if leaked}


def test_texts_in_two_splits_are_counted():
    rows = [event(f"prompt {number}", "I cannot help with that!", "up") for number in range(60)]
    leakage, table = audited(rows)
    sizes = dict(table["split"].value_counts().iter_rows())
    assert leakage[("prompt", "exact", "train", "test")] == (sizes["test"], 0)
    assert leakage[("completion", "exact", "train", "test")] == (1, 1)
    assert leakage[("completion", "near", "train", "test")] == (1, None)
    assert crossing(leakage) == {("completion", "exact")}


def test_near_leaks_are_counted_where_asked_for():
    pytest.importorskip("rensa")
    answer = "Beans and peas like a wall to climb on, and warm soil from the middle of May onwards, says number"
    rows = [event(f"prompt {number} {chr(97 + number % 26) * 9}", f"{answer} {number}.", "up") for number in range(60)]
    assert audited(rows)[0][("completion", "near", "train", "test")][1] is None
    leakage, _ = audited(rows, near_duplicates=True, near_similarity=0.8)
    size, leaked = leakage[("completion", "near", "train", "test")]
    assert leaked == size > 0
    assert leakage[("completion", "exact", "train", "test")][1] == 0
    assert leakage[("prompt", "near", "train", "test")][1] == 0
    strict, _ = audited(rows, near_duplicates=True, near_similarity=0.9999)
    assert strict[("completion", "near", "train", "test")][1] == 0


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("messages", [False, True])
def test_overlap_with_evaluation_sets(tmp_path, suffix, messages):
    def prompt(text):
        return [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}] if messages else text

    path = tmp_path / f"held.{suffix}"
    held = [{"prompt": prompt(text), "completion": "other"} for text in ("PROMPT 3?", "prompt 4", "unknown")]
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in held))
    else:
        pl.DataFrame(held).write_parquet(path)
    leakage, table = audited([rated(f"prompt {number}") for number in range(40)], sets={"held": str(path)})
    found = {split: leakage[("prompt", "exact", split, "held")] for split in ("train", "validation", "test")}
    assert {size for size, _ in found.values()} == {3}
    assert sum(leaked for _, leaked in found.values()) == 2
    assert leakage[("completion", "exact", "train", "held")] == (1, 0)
    assert table.height == 40


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("held.jsonl", "{broken", "held.jsonl: not readable as JSON lines"),
        ("held.jsonl", '{"question": "x"}', "splits.evaluation_sets.held: .*has no column 'prompt'"),
        ("held.jsonl", '{"prompt": 3}', "column 'prompt' of .* is Int64; expected text, or messages"),
        ("held.csv", "prompt", "expected a .parquet or .jsonl file"),
        ("held.parquet", "no", "not readable as Parquet"),
    ],
)
def test_an_evaluation_set_that_cannot_be_read_says_why(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        audited([rated("a")], sets={"held": str(path)})
    path.unlink()
    with pytest.raises(InputError, match="no such file" if not name.endswith("csv") else "expected a .parquet"):
        audited([rated("a")], sets={"held": str(path)})


def test_evaluation_sets_lie_beside_the_run_file_and_are_part_of_the_fingerprint(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model: demo\nevents: {inputs: [log.jsonl]}\nsplits: {evaluation_sets: {held: held.jsonl}}")
    config = load_config(path)
    assert config.splits.evaluation_sets == {"held": str(tmp_path / "held.jsonl")}
    with pytest.raises(InputError, match="splits.evaluation_sets.held: .*no such file"):
        splits.external(config)
    (tmp_path / "held.jsonl").write_text('{"prompt": "a"}')
    before = splits.external(config)
    (tmp_path / "held.jsonl").write_text('{"prompt": "b"}')
    assert splits.external(config) != before


def test_notes_say_how_far_the_shares_are_off_and_what_leaks():
    rows = [event(f"prompt {number}", "I cannot help with that!", "up") for number in range(40)]
    rows += [event(f"turn {number}", f"{number}", "up", conversation_id="k") for number in range(60)]
    events = events_table(rows).lazy()
    table = responses.transform(events, ResponsesConfig()).responses
    labelled = unpaired.transform(table, UnpairedConfig()).collect()
    config = SplitsConfig(validation=0.2, test=0.3)
    found = splits.transform(table, events, labelled.lazy(), config).collect()
    none = pl.DataFrame(schema=polars_schema("pairs"))
    keys = leak_keys(labelled.lazy(), none.lazy(), found.lazy(), near=False).collect()
    noted = splits.notes(found, labelled, none, splits.leakage_of(keys, config), config)
    assert noted["groups"] == 41
    assert noted["largest_group_rows"] == 60
    assert sum(noted["unpaired"].values()) == 100
    off = max(abs(noted["unpaired"]["test"] / 100 - 0.3), abs(noted["unpaired"]["validation"] / 100 - 0.2))
    assert noted["off_share"] == pytest.approx(off)
    assert off > 0.05
    assert "are test where 30% was asked for" in noted["said"][0]
    assert (noted["groups_too_large_to_hold_out"], noted["rows_in_such_groups"]) == (1, 60)
    assert noted["leaks_from_train"] == {"exact completion validation": 1, "exact completion test": 1}


def test_what_is_kept_of_a_part_holds_no_text():
    """Strings that are kept keep the texts that lay beside them, which grew with the log."""
    events = events_table([rated(f"prompt {number}", conversation_id=f"c{number}") for number in range(20)])
    first = responses.transform(events.lazy(), ResponsesConfig())
    answers = first.responses.collect()
    labelled = unpaired.transform(first.responses, UnpairedConfig()).collect()
    paired = pairs.transform(first.responses, first.comparisons, PairsConfig(), ResponsesConfig()).pairs.collect()
    part = part_of(events, answers, labelled, paired, SplitsConfig(), paired.select("rejected_response_id"))
    frames = [*part.prompts, part.rows]
    assert part.prompts.prompts.height == part.prompts.meetings.height == 20
    assert not {pl.String, pl.Binary} & {dtype for frame in frames for dtype in frame.dtypes}


def test_parts_are_read_back_a_column_at_a_time_and_leave_no_file(tmp_path):
    config = SplitsConfig()
    gathered = Gathered(config, tmp_path)
    for number in range(3):
        events = events_table([rated(f"prompt {number} {place}", conversation_id="c") for place in range(2 + number)])
        first = responses.transform(events.lazy(), ResponsesConfig())
        labelled = unpaired.transform(first.responses, UnpairedConfig()).collect()
        none = pl.DataFrame(schema=polars_schema("pairs"))
        gathered.add(part_of(events, first.responses.collect(), labelled, none, config, None))
    parts = gathered.prompts
    assert parts.height == parts.columns("prompts", "id").unique().height == 9
    # Each prompt met one conversation.
    assert parts.columns("meetings", "place")["place"].sort().to_list() == list(range(9))
    assert parts.columns("meetings", "key").unique().height == 1
    assert list(tmp_path.iterdir())
    gathered.close()
    assert not list(tmp_path.iterdir())


def test_what_was_gathered_is_deleted_where_the_disk_takes_no_more(tmp_path):
    config = SplitsConfig()
    gathered = Gathered(config, tmp_path)
    events = events_table([rated("the prompt")])
    first = responses.transform(events.lazy(), ResponsesConfig())
    labelled = unpaired.transform(first.responses, UnpairedConfig()).collect()
    none = pl.DataFrame(schema=polars_schema("pairs"))
    gathered.add(part_of(events, first.responses.collect(), labelled, none, config, None))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Keys are still to be written when their file is closed.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        gathered.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_prompt_in_two_parts_is_refused():
    events = events_table([rated("the prompt")]).lazy()
    table = responses.transform(events, ResponsesConfig()).responses
    part = splits.prompt_facts(table, events, SplitsConfig())
    with pytest.raises((TableError, pl.exceptions.ComputeError)):
        splits.assign([part, part], table.select("prompt_id"), SplitsConfig())
    kept = pl.DataFrame({"prompt_id": [1, 1], "group_id": [1, 1], "split": ["train"] * 2})
    kept = kept.cast({"prompt_id": pl.UInt128, "group_id": pl.UInt128, "split": SPLIT})
    for parts in ([kept], [kept.head(1), kept.tail(1)]):
        with pytest.raises(TableError, match="1 of 2 prompts came in several parts"):
            list(splits_table(parts))
