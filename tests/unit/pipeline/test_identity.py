"""Ids: what counts as the same text, and that the quick ways to say so say the same as the plain ones."""

import re
import unicodedata
from hashlib import sha256

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbline.pipeline import identity
from thumbline.pipeline.identity import as_digits, as_number
from thumbline.pipeline.tables import MESSAGES

TEXTS = [
    "",
    " ",
    "a",
    "a  b",
    "\t a\n\nb ",
    "é",
    "e\u0301",
    "日本語 テスト",
    "か\u3099",
    "🙂\ufe0f ok",
    "Ω \u2126",
    "\x1c",
]
# White space as Unicode has it; Python adds the four separators of ASCII.
SPACE = "".join(sign for sign in map(chr, range(0x110000)) if sign.isspace() and sign not in "\x1c\x1d\x1e\x1f")
SIGNS = "a b\t\n\u00a0\u2003é\u0301e가\u11a8か\u3099日🙂\ufe0fΩ\u2126\x1c"


def plainly_normalised(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    return re.sub(r"(?:(?![\x1c-\x1f])\s)+", " ", composed).strip(" ")


def plainly_normalised_answer(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip(SPACE)


def normalised_answers(texts: list[str | None]) -> list[str | None]:
    frame = pl.DataFrame({"x": texts}, schema={"x": pl.String})
    return frame.select(identity.normalised_answer(pl.col("x")))["x"].to_list()


def response_ids(*answers: str) -> list[str]:
    frame = pl.DataFrame({"x": answers})
    return frame.select(identity.response_id(pl.lit("p"), pl.col("x"))).to_series().to_list()


def normalised(texts: list[str]) -> list[str]:
    return pl.DataFrame({"x": texts}, schema={"x": pl.String}).select(identity.normalised(pl.col("x")))["x"].to_list()


@given(st.lists(st.text(st.sampled_from(SIGNS)), max_size=5))
def test_normalised_text_is_what_its_definition_says(texts: list[str]) -> None:
    assert normalised(texts + TEXTS) == [plainly_normalised(text) for text in texts + TEXTS]


@given(st.lists(st.text(st.sampled_from(SIGNS + "\r\r")), max_size=5))
def test_a_normalised_answer_is_what_its_definition_says(texts: list[str]) -> None:
    assert normalised_answers(texts + TEXTS) == [plainly_normalised_answer(text) for text in texts + TEXTS]


def test_answers_that_differ_in_white_space_inside_are_two() -> None:
    code = "while True:\n    step()\nstop()"
    others = [code.replace("\nstop", "\n    stop"), code.replace("    ", "\t"), code.replace("\n", " "), code + " # x"]
    assert len(set(response_ids(code, *others, code.replace("()", " ()"), code.replace("True", "True ")))) == 7


def test_answers_that_differ_in_composition_line_ends_and_outer_space_are_one() -> None:
    code = "if é:\n\tgo()\n\nstop()"
    same = [f"\n  {code}\u00a0\r\n", code.replace("\n", "\r\n"), code.replace("\n", "\r"), code.replace("é", "e\u0301")]
    assert len(set(response_ids(code, *same))) == 1
    assert normalised_answers([None, " a "]) == [None, "a"]


def test_what_is_taken_as_usual_is_composed_and_no_foreign_space() -> None:
    escaped = re.sub(r"\\x\{([0-9A-F]+)\}", lambda found: rf"\U{int(found[1], 16):08X}", identity._UNUSUAL)
    unusual = re.compile(escaped)
    joins = {
        int(parts[1], 16)
        for code in range(0x110000)
        if len(parts := unicodedata.decomposition(chr(code)).split()) == 2 and not parts[0].startswith("<")
    }
    jamo = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or unusual.match(chr(code)):
            continue
        assert unicodedata.normalize("NFC", chr(code)) == chr(code), hex(code)
        assert unicodedata.combining(chr(code)) == 0, hex(code)
        assert code not in joins | jamo, hex(code)
        assert code < 0x80 or not chr(code).isspace(), hex(code)


def test_what_is_taken_as_folded_is_usual_and_folding_leaves_it() -> None:
    patterns = [
        re.compile(re.sub(r"\\x\{([0-9A-F]+)\}", lambda found: rf"\U{int(found[1], 16):08X}", pattern))
        for pattern in (identity._UNUSUAL, identity._UNFOLDED)
    ]
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or patterns[1].match(chr(code)):
            continue
        assert not patterns[0].match(chr(code)), hex(code)
        assert unicodedata.normalize("NFKC", chr(code)) == chr(code), hex(code)


@pytest.mark.parametrize(
    ("text", "loose"),
    [
        ("A. b", "a b"),
        ("a .b ", "a b"),
        (" a - - b!", "a b"),
        ("\uff21\u2026 \u00bd x\u00b2", "a 1 2 x2"),
        ("\u4e2d. \u6587 !", "\u4e2d \u6587"),
        ("e\u0301. \ufb01", "\u00e9 fi"),
        (". \u2026", ". \u2026"),
    ],
)
def test_loosely_only_letters_and_digits_count(text: str, loose: str) -> None:
    assert pl.select(identity.loosely_normalised(pl.lit(text))).item() == loose


def test_nulls_stay_null() -> None:
    frame = pl.DataFrame({"x": [None, "é  é", "e\u0301"]})
    assert frame.select(identity.normalised(pl.col("x")))["x"].to_list() == [None, "é é", "é"]


@pytest.mark.parametrize("loose", [False, True])
def test_a_prompt_has_the_same_key_alone_and_among_others(loose: bool) -> None:
    prompts = [
        [{"role": "user", "content": " A  b"}],
        [],
        [{"role": "system", "content": "s"}, {"role": "user", "content": "A b"}],
        [{"role": "user", "content": "e\u0301"}],
    ]

    def keys(some: list) -> list[str]:
        frame = pl.DataFrame({"p": some}, schema={"p": MESSAGES})
        return frame.select(identity.prompt_key(pl.col("p"), loose=loose))["p"].to_list()

    together = keys(prompts)
    assert together == [key for prompt in prompts for key in keys([prompt])]
    assert together[1] == ""
    assert together[0] == ("4:user3:a b" if loose else "4:user3:A b")


TOOLS = '[{"type":"function","function":{"name":"look"}}]'
CALL = '{"tool_calls":[{"function":{"name":"look","arguments":"{}"}}]}'


def named(prompt: list[dict[str, str]], completion: str, *, tools: str | None = None, extra: str | None = None) -> list:
    """The ids of a prompt and of an answer to it."""
    frame = pl.DataFrame(
        {"prompt": [prompt], "completion": [completion], "tools": [tools], "extra": [extra]},
        schema={"prompt": MESSAGES, "completion": pl.String, "tools": pl.String, "extra": pl.String},
    ).with_columns(prompt_id=identity.prompt_id(pl.col("prompt"), pl.col("tools")))
    made = identity.response_id(pl.col("prompt_id"), pl.col("completion"), pl.col("extra"))
    return list(frame.select("prompt_id", response_id=made).row(0))


def test_rows_without_tools_and_extras_have_the_ids_that_they_had_before_there_were_any() -> None:
    # Written out by the formula that was: digests of lengths and texts of roles and contents, no more.
    key = "6:system2:Be4:user2:Hi"
    prompt = sha256(key.encode()).hexdigest()[:32]
    response = sha256(f"32:{prompt}6:Hello.".encode()).hexdigest()[:32]
    messages = [{"role": "system", "content": "Be"}, {"role": "user", "content": " Hi "}]
    assert named(messages, "Hello.") == [prompt, response]
    assert prompt == "660805ea084682db2400fb42f82aa4e9"
    assert response == "2830ac013279ffef7eadbf72b0974d77"


def test_tools_calls_and_thoughts_are_part_of_who_prompts_and_answers_are() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}]
    called = [turns[0], turns[1] | {"extra": CALL}]
    ids = [
        named(turns, "Yes."),
        named(turns, "Yes.", tools=TOOLS),
        named(called, "Yes."),
        named(called, "Yes.", tools=TOOLS),
        named(turns, "Yes.", extra=CALL),
        named(turns, "Yes.", extra=TOOLS),
    ]
    assert len({prompt for prompt, _ in ids}) == 4
    assert len({response for _, response in ids}) == 6
    # What stands in a text is not what goes along with it.
    assert named(turns, "Yes.", extra="x") != named(turns, "Yes.+1:x")


def test_prompts_of_one_text_have_one_loose_key_and_contexts_of_their_own() -> None:
    turn = {"role": "user", "content": "Hi"}
    rows = [([turn], None), ([turn | {"extra": '{"name":"ann"}'}], None), ([turn], TOOLS), ([], None), ([turn], None)]
    frame = pl.DataFrame(rows, schema={"prompt": MESSAGES, "tools": pl.String}, orient="row")
    keys = frame.select(identity.prompt_key(pl.col("prompt"), loose=True)).to_series().to_list()
    contexts = frame.select(identity.prompt_context(pl.col("prompt"), pl.col("tools"))).to_series().to_list()
    assert keys == ["4:user2:hi"] * 3 + ["", "4:user2:hi"]
    assert (contexts[0], contexts[3], contexts[4]) == ("", "", "")
    assert len(set(contexts[:3])) == 3
    bare = frame.filter(pl.Series([True, False, False, True, True]))
    context = identity.prompt_context(pl.col("prompt"), pl.col("tools"))
    assert bare.select(context).to_series().to_list() == [""] * 3


def plainly_loose(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).lower()
    kept = "".join(sign if unicodedata.category(sign)[0] in "LN" else " " for sign in folded)
    return re.sub(" +", " ", kept).strip(" ") or plainly_normalised(text)


@given(st.lists(st.text(st.sampled_from(SIGNS + "AZ09-.!`{@[/:\x7f\u00df\uff21\u00b2")), max_size=5))
def test_loosely_normalised_text_is_what_its_definition_says(texts: list[str]) -> None:
    frame = pl.DataFrame({"x": texts + TEXTS}, schema={"x": pl.String})
    found = frame.select(identity.loosely_normalised(pl.col("x")))["x"].to_list()
    assert found == [plainly_loose(text) for text in texts + TEXTS]


LOOSE_SIGNS = SIGNS + "AB09-.!\x7f\uff21\u212a"


@given(st.lists(st.tuples(*[st.text(st.sampled_from(LOOSE_SIGNS), max_size=6)] * 2), max_size=8))
def test_texts_are_loosely_the_same_where_their_loose_forms_are_one(pairs: list[tuple[str, str]]) -> None:
    # Once more with little between them: two texts that are drawn are hardly ever one.
    pairs = [*pairs, *((left, f"-{left} .") for left, _ in pairs), *((left, left.upper()) for left, _ in pairs)]
    frame = pl.DataFrame([*pairs, ("a", None), (None, None)], schema=["x", "y"], orient="row").cast(pl.String)
    found = frame.select(identity.same_loosely(pl.col("x"), pl.col("y"))).to_series().to_list()
    assert found == [*(plainly_loose(left) == plainly_loose(right) for left, right in pairs), None, None]


@given(st.lists(st.tuples(*[st.text(st.sampled_from(SIGNS), max_size=6)] * 2), max_size=8))
def test_answers_are_the_same_but_for_space_where_nothing_else_differs(pairs: list[tuple[str, str]]) -> None:
    pairs = [*pairs, *((left, left.replace("b", "b ")) for left, _ in pairs), ("a b", "ab"), ("ab", "ab")]
    answers = [tuple(map(plainly_normalised_answer, pair)) for pair in pairs]
    frame = pl.DataFrame([*answers, ("a", None)], schema=["x", "y"], orient="row").cast(pl.String)
    found = frame.select(identity.same_but_for_space(pl.col("x"), pl.col("y"))).to_series().to_list()
    bare = [[re.sub(r"(?:(?![\x1c-\x1f])\s)+", "", answer) for answer in pair] for pair in answers]
    expected = [left != right and ours == theirs for (left, right), (ours, theirs) in zip(answers, bare, strict=True)]
    assert found == [*expected, None]


def test_a_missing_prompt_has_no_key_and_keeps_its_row() -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    for given_lists in ([None, turns[:1]], [None, turns], [None], [[], None, turns[:1]]):
        frame = pl.DataFrame({"x": given_lists}, schema={"x": MESSAGES})
        found = frame.select(identity.prompt_key(pl.col("x")))["x"].to_list()
        keys = {0: "", 1: "4:user1:x", 2: "4:user1:x9:assistant1:y"}
        assert found == [None if one is None else keys[len(one)] for one in given_lists]


def test_a_digest_and_its_number_are_one_another():
    digests = pl.Series("id", ["0" * 32, "f" * 32, "0123456789abcdef" * 2, "0" * 31 + "1", "1" + "0" * 31])
    numbers = digests.to_frame().select(as_number(pl.col("id"))).to_series()
    assert as_digits(numbers).equals(digests) and as_digits(numbers).name == "id"
    assert as_digits(numbers.head(0)).dtype == pl.String
    # Numbers are in the order of their digits.
    assert as_digits(numbers.sort()).to_list() == sorted(digests)
