"""Public layouts of preference data: what each record gives, and that nothing is guessed."""

import json

import polars as pl
import pytest

from tests.unit.importers.fixtures_argilla import FIELDS, record, response
from tests.unit.importers.fixtures_open_webui import exported
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.evaluation.layouts import LAYOUTS
from thumbline.pipeline.evaluation.rows import ReadOptions, read_pairs
from thumbline.pipeline.evaluation.stored import read_subject

TURNS = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: When?\n\nAssistant:"
QUESTION = [{"role": "user", "content": "When?"}]


def said(role, content):
    return {"role": role, "content": content, "extra": None}


@pytest.fixture
def read(tmp_path):
    def make(rows, name="rows.jsonl", **options):
        path = tmp_path / name
        if path.suffix == ".parquet":
            pl.DataFrame(rows).write_parquet(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_pairs(str(path), ReadOptions(**options))

    return make


def texts(pairs):
    """(last message of the prompt, chosen, rejected) of each pair, sorted."""
    return sorted(
        (row["prompt"][-1]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in pairs.frame.iter_rows(named=True)
    )


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.csv"])
def test_rewardbench_is_sliced_by_its_subset(read, name, tmp_path):
    rows = [
        {"id": 7, "prompt": "When?", "chosen": "May.", "rejected": "No.", "subset": "chat", "chosen_model": "m"},
        {"id": 8, "prompt": "Why?", "chosen": "Sun.", "rejected": "No.", "subset": "reasoning", "chosen_model": "m"},
    ]
    if name.endswith("csv"):
        pl.DataFrame(rows).write_csv(tmp_path / name)
        pairs = read_pairs(str(tmp_path / name), ReadOptions())
    else:
        pairs = read(rows, name)
    assert pairs.layout == "rewardbench" and pairs.slices == ("subset",)
    assert texts(pairs) == [("When?", "May.", "No."), ("Why?", "Sun.", "No.")]
    assert sorted(pairs.frame["subset"].to_list()) == ["chat", "reasoning"]


def test_lists_of_answers_are_every_pair_of_them(read):
    row = {"prompt": "When?", "chosen": ["May."], "rejected": ["No.", "Go.", "Never."], "subset": "focus"}
    pairs = read([row])
    assert [rejected for _, _, rejected in texts(pairs)] == ["Go.", "Never.", "No."]
    assert pairs.frame["group_id"].n_unique() == 1


def test_transcripts_share_all_turns_but_the_last(read):
    pairs = read([{"chosen": f"{TURNS} In May.", "rejected": f"{TURNS} Go away."}])
    assert pairs.layout == "hh_rlhf"
    row = pairs.frame.row(0, named=True)
    assert row["prompt"] == [said("user", "Hi"), said("assistant", "Hello."), said("user", "When?")]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("In May.", "Go away.")


def test_transcripts_that_part_earlier_or_end_with_the_user_are_set_aside_by_reason(read):
    good = {"chosen": f"{TURNS} In May.", "rejected": f"{TURNS} Go away."}
    parted = {"chosen": f"{TURNS} In May.", "rejected": f"{TURNS.replace('When', 'Where')} Go away."}
    open_end = {"chosen": f"{TURNS} In May.\n\nHuman: Thanks", "rejected": f"{TURNS} Go away."}
    empty = {"chosen": f"{TURNS} In May.", "rejected": f"{TURNS}  "}
    pairs = read([good, parted, open_end, empty])
    assert pairs.frame.height == 1 and pairs.records == 4
    assert pairs.rejected == {"different_prompts": 1, "not_an_answer": 1, "empty_completion": 1}
    assert "different_prompts 1" in pairs.told()


def test_ultrafeedback_cuts_the_prompt_and_takes_no_tie(read):
    sides = {side: [*QUESTION, said("assistant", text)] for side, text in (("chosen", "May."), ("rejected", "No."))}
    scored = [(7.0, 5.0), (5.0, 5.0), (4.0, 5.0)]
    rows = [{"prompt": "When?", **sides, "score_chosen": a, "score_rejected": b} for a, b in scored]
    pairs = read(rows, layout="auto")
    assert pairs.layout == "trl" and texts(pairs) == [("When?", "May.", "No.")]
    assert pairs.rejected == {"tied": 1, "contradiction": 1}


def test_ratings_make_a_pair_of_each_two_answers_that_differ(read):
    ratings = {"A": 4, "B": 2, "C": 2}
    rows = [
        {"prompt": "When?", "response": text, "helpfulness": value, "verbosity": 5 - value}
        for text, value in ratings.items()
    ]
    rows += [{"prompt": "Alone?", "response": "Yes.", "helpfulness": 3, "verbosity": 1}]
    rows += [{"prompt": "Tied?", "response": text, "helpfulness": 3, "verbosity": 1} for text in ("Yes.", "No.")]
    pairs = read(rows)
    assert pairs.layout == "ratings"
    assert texts(pairs) == [("When?", "A", "B"), ("When?", "A", "C")]
    assert pairs.rejected == {"one_response": 1, "tied": 1}
    other = read(rows, rating="verbosity")
    assert texts(other) == [("When?", "B", "A"), ("When?", "C", "A")]


def test_a_column_of_ratings_that_is_stated_is_read_and_a_wrong_one_is_refused(read):
    rows = [{"prompt": "When?", "response": text, "stars": stars} for text, stars in (("May.", 5), ("No.", 1))]
    assert texts(read(rows, rating="stars")) == [("When?", "May.", "No.")]
    with pytest.raises(ConfigError, match="--rating: .*rows.jsonl: unknown column 'starz'. Did you mean 'stars'"):
        read(rows, rating="starz")
    pairs = [{"prompt": "When?", "chosen": "May.", "rejected": "No."}]
    with pytest.raises(ConfigError, match="--rating: .*unknown column 'stars'"):
        read(pairs, rating="stars")
    with pytest.raises(ConfigError, match="--rating: names what rates an answer in layout ratings, and .* is read as"):
        read(pairs, rating="stars", layout="rewardbench")


def test_earlier_turns_in_a_helpsteer_prompt_become_messages(read):
    prompt = "Hi<extra_id_1>Assistant\nHello.<extra_id_1>User\nWhen?<extra_id_1>Assistant\n"
    rows = [{"prompt": prompt, "response": text, "helpfulness": value} for text, value in (("A", 4), ("B", 1))]
    assert read(rows).frame["prompt"].to_list()[0] == [
        said("user", "Hi"),
        said("assistant", "Hello."),
        said("user", "When?"),
    ]


def test_pairs_with_the_prompt_inside_are_split_where_the_sides_part(read):
    sides = {side: [*QUESTION, said("assistant", text)] for side, text in (("chosen", "May."), ("rejected", "No."))}
    assert texts(read([sides])) == [("When?", "May.", "No.")]
    assert texts(read([{"chosen": "When? May.", "rejected": "When? No."}])) == [("When?", " May.", " No.")]


def test_a_log_formats_comparisons_are_pairs_with_the_columns_of_their_records(read):
    row = {"context": QUESTION, "response1": "No.", "response2": "May.", "language": "english"}
    rows = [row | {"overall_preference": value, "domain": f"d{place}"} for place, value in enumerate((2, 0, -1))]
    pairs = read(rows, slices=("domain",))
    assert pairs.layout == "helpsteer" and pairs.rejected == {"tied": 1}
    found = {row["domain"]: row["chosen"][0]["content"] for row in pairs.frame.iter_rows(named=True)}
    assert found == {"d0": "May.", "d2": "No."}


def test_thumbs_alone_are_no_pairs(read):
    rows = [{"prompt": "When?", "completion": "May.", "label": True}]
    with pytest.raises(InputError, match=r"no pair can be read as trl \(no_comparison 1\)"):
        read(rows)


def test_a_value_that_cannot_be_sliced_by_sets_its_row_aside(read):
    row = {"prompt": "When?", "chosen": "May.", "rejected": "No."}
    pairs = read([row | {"tags": ["a"]}, row | {"chosen": "June.", "tags": None}], slices=("tags",))
    assert (pairs.frame.height, pairs.rejected) == (1, {"wrong_type": 1})


def test_equal_pairs_count_once_and_prompts_that_differ_trivially_are_one_group(read):
    row = {"prompt": "When?", "chosen": "May.", "rejected": "No."}
    pairs = read([row, row | {"chosen": " May. "}, row | {"prompt": "WHEN ?", "chosen": "June."}])
    assert (pairs.frame.height, pairs.merged, pairs.frame["group_id"].n_unique()) == (2, 1, 1)


def test_columns_to_slice_by_keep_numbers_as_numbers(read):
    row = {"prompt": "When?", "chosen": "May.", "rejected": "No."}
    rows = [row | {"turns": n, "score": n / 2, "kind": f"k{n}", "odd": n if n else "none"} for n in range(3)]
    rows = [row | {"chosen": f"May {place}."} for place, row in enumerate(rows)]
    frame = read(rows, slices=("turns", "score", "kind", "odd")).frame
    assert [frame.schema[name] for name in ("turns", "score", "kind", "odd")] == [
        pl.Int64,
        pl.Float64,
        pl.String,
        pl.String,
    ]


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ([{"question": "q", "answer": "a"}], {}, InputError, "columns question, answer fit no layout of pairs"),
        ([{"prompt": "q", "chosen": "a", "rejected": " "}], {}, InputError, "no pair can be read as trl"),
        ([{"prompt": "q", "chosen": "a", "rejected": "b"}], {"layout": "rewardbnch"}, ConfigError, "'rewardbench'"),
        ([{"prompt": "q", "chosen": "a", "rejected": "b"}], {"slices": ("topic",)}, ConfigError, "unknown column"),
        ([{"prompt": "q", "chosen": "a", "rejected": "b"}], {"slices": ("prompt",)}, ConfigError, "cannot be sliced"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_there_is(read, rows, options, error, message):
    with pytest.raises(error, match=message):
        read(rows, **options)


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match="none.jsonl: no such file"):
        read_pairs("none.jsonl", ReadOptions())


def test_no_text_reaches_a_reason(read):
    secret = "my private words"
    rows = [{"prompt": secret, "chosen": [secret], "rejected": {"text": secret}, "subset": secret}]
    with pytest.raises(InputError) as caught:
        read(rows)
    assert secret not in str(caught.value)


def test_every_layout_says_what_it_is():
    assert all(layout.description.endswith(".") for layout in LAYOUTS.values())


def test_a_folder_of_a_data_set_is_read_by_its_split(tmp_path):
    row = {"prompt": "When?", "chosen": "May.", "rejected": "No.", "subset": "chat"}
    folder = tmp_path / "set"
    folder.mkdir()
    pl.DataFrame([row]).write_parquet(folder / "train.parquet")
    pl.DataFrame([row, row | {"prompt": "Why?"}]).write_parquet(folder / "test.parquet")
    sizes = {split: read_pairs(f"hub:{folder}", ReadOptions(split=split)).frame.height for split in ("train", "test")}
    assert sizes == {"train": 1, "test": 2}
    with pytest.raises(InputError, match="no data set loads"):
        read_pairs(f"hub:{folder}", ReadOptions(split="filtered"))


def test_two_answers_in_a_row_and_chats_with_ratings_are_pairs_too(read):
    judged = [
        {"instruction": "When?", "output_1": "May.", "output_2": "No.", "preference": 1, "annotator": "j"},
        {"instruction": "Why?", "output_1": "Sun.", "output_2": "Moon.", "preference": 2, "annotator": "j"},
        {"instruction": "Who?", "output_1": "Ann.", "output_2": "Bob.", "preference": 1.5, "annotator": "j"},
    ]
    pairs = read(judged)
    assert pairs.layout == "two_answers"
    assert texts(pairs) == [("When?", "May.", "No."), ("Why?", "Moon.", "Sun.")]
    pairs = read([exported(("b1", 1))])
    assert pairs.layout == "open_webui"
    assert texts(pairs) == [("How far?", "384,400 km.", "Far.")]


def test_a_ranking_of_argilla_is_pairs(read):
    ranking = [{"value": "response", "rank": 2}, {"value": "response-2", "rank": 1}]
    pairs = read([record(response(order=ranking))])
    assert pairs.layout == "argilla"
    assert texts(pairs) == [("How far is the moon?", FIELDS["response-2"], FIELDS["response"])]


@pytest.mark.parametrize("layout", ["auto", "trl"])
def test_rows_in_a_wrapper_under_names_in_capitals_are_read(tmp_path, layout):
    rows = [
        {"Prompt": "When?", "Chosen": "May.", "Rejected": "No."},
        {"Prompt": "Why?", "Chosen": "Sun.", "Rejected": "-"},
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"total": 2, "rows": rows}, indent=1))
    assert texts(read_pairs(str(path), ReadOptions(layout=layout))) == [("When?", "May.", "No."), ("Why?", "Sun.", "-")]


def test_a_file_that_is_not_read_is_named(tmp_path):
    (tmp_path / "rows.json").write_bytes(b"SQLite format 3\x00" + bytes(200))
    with pytest.raises(InputError, match="rows.json: the file is a SQLite database"):
        read_pairs(str(tmp_path / "rows.json"), ReadOptions())
    with pytest.raises(InputError, match="rows.json: the file is a SQLite database"):
        read_subject(str(tmp_path / "rows.json"))


OTHERS = {
    "question": {"question": "When?", "chosen": "May.", "rejected": "No."},
    "ShareGPT": {
        "conversations": [{"from": "human", "value": "When?"}],
        "chosen": {"from": "gpt", "value": "May."},
        "rejected": {"from": "gpt", "value": "No."},
    },
    "ms-swift": {"messages": [*QUESTION, {"role": "assistant", "content": "May."}], "rejected_response": "No."},
    "OpenAI": {
        "input": {"messages": QUESTION},
        "preferred_output": [{"role": "assistant", "content": "May."}],
        "non_preferred_output": [{"role": "assistant", "content": "No."}],
    },
}


@pytest.mark.parametrize("layout", OTHERS)
def test_layouts_of_other_trainers_are_read(read, layout):
    assert texts(read([OTHERS[layout]])) == [("When?", "May.", "No.")]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "When?", "chosen": "May.", "rejected": "No.", "subset": "chat"},
        {"prompt": "When?", "chosen": "May.", "rejected": "No."},
    ],
)
def test_a_system_text_is_part_of_the_prompt_and_its_column_can_be_stated(read, row):
    usual = read([row | {"system": "Be brief."}])
    stated = read([row | {"persona": "Be brief."}], options={"system": "persona"})
    asked = [said("system", "Be brief."), said("user", "When?")]
    assert [pairs.frame["prompt"].to_list() for pairs in (usual, stated)] == [[asked], [asked]]


def test_rated_answers_have_their_system_text_and_stated_columns_too(read):
    rows = [
        {"asked": "When?", "persona": "Be brief.", "response": text, "score": score}
        for text, score in (("May.", 2), ("No.", 1))
    ]
    pairs = read([{"prompt": "x", **row} for row in rows], options={"prompt": "asked", "system": "persona"})
    assert pairs.frame["prompt"].to_list() == [[said("system", "Be brief."), said("user", "When?")]]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "When?", "chosen": "May.", "rejected": "No.", "subset": "chat", "note": "x", "lang": "en"},
        {"prompt": "When?", "chosen": "May.", "rejected": "No.", "note": "x", "lang": "en"},
    ],
)
def test_columns_of_text_that_nothing_read_are_told_but_for_those_to_slice_by(read, row):
    pairs = read([row, row | {"prompt": "Why?"}], slices=("lang",))
    assert pairs.told().endswith("set aside: none. Columns of text that were not read: note (2 rows).")


def test_an_option_that_the_layout_does_not_have_is_refused(read):
    with pytest.raises(ConfigError, match="unknown option of rewardbench 'voter'"):
        read([{"prompt": "When?", "chosen": "May.", "rejected": "No.", "subset": "chat"}], options={"voter": "x"})
