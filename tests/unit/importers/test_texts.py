"""The index of texts: which of two texts of one id counts, and what stands before an answer."""

from collections.abc import Iterator
from itertools import permutations

import pytest

from thumbline.pipeline.errors import InputError
from thumbline.pipeline.importers.shared.texts import Mark, Text, TextIndex
from thumbline.pipeline.reading.records import RowError


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


@pytest.fixture
def index() -> Iterator[TextIndex]:
    found = TextIndex()
    yield found
    found.close()


def turn(key: str, answer: str, **fields: object) -> Text:
    return Text(key, [user("Q"), assistant(answer)])._replace(**fields)  # type: ignore[arg-type]


BROKEN = Text("a", [], problem=("wrong_type", "no text"))
PLAIN, SAME, OTHER = turn("a", "one"), turn("a", "one", model="m"), turn("a", "two")
LATER = turn("a", "three", rank=1)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((BROKEN,), "wrong_type"),
        ((BROKEN, PLAIN), "one"),
        ((PLAIN, SAME), "one"),
        ((PLAIN, OTHER), "two_texts"),
        ((PLAIN, SAME, OTHER), "two_texts"),
        ((PLAIN, PLAIN, OTHER, BROKEN), "two_texts"),
        ((PLAIN, OTHER, LATER), "three"),
        ((BROKEN, PLAIN, LATER), "three"),
        ((LATER, BROKEN._replace(rank=5)), "three"),
    ],
)
def test_which_of_several_texts_counts_whatever_their_order(texts: tuple[Text, ...], expected: str) -> None:
    for order in permutations(texts):
        index = TextIndex()
        index.put(order[:1])
        index.put(order[1:])
        try:
            assert index.answer(["a"]).said.completion == expected
        except RowError as error:
            assert error.reason == expected
        if expected == "one" and SAME in texts:
            assert index.answer(["a"]).text.model == "m"
        index.close()


def test_the_mark_of_the_highest_rank_is_kept(index: TextIndex) -> None:
    marks = [Mark("k", "b", 1), Mark("k", "a", 1), Mark("k", "z", 0)]
    for order in permutations(marks):
        index.put(order)
        assert index.mark("k") == "b"
    assert index.mark("other") is None


def test_a_full_disk_is_said_and_what_to_do(index: TextIndex) -> None:
    index._database.execute("PRAGMA max_page_count = 20")
    with pytest.raises(InputError, match=r"do not fit into a temporary file .*SQLITE_TMPDIR"):
        index.put(turn(str(number), "x" * 1_000) for number in range(1_000))


def test_parents_lead_to_what_was_said_before_and_silent_ones_say_nothing(index: TextIndex) -> None:
    index.put([Text("r", []), turn("x", "1", parent="r"), Text("s", [], parent="x"), turn("y", "2", parent="s")])
    assert index.answer(["y"]).prompt == [user("Q"), assistant("1"), user("Q")]
    assert index.answer(["unknown", "x"]).prompt == [user("Q")]


def test_positions_lead_to_what_was_said_before_in_the_same_conversation(index: TextIndex) -> None:
    placed = [
        turn(name, name, conversation="c", position=position)
        for name, position in (("c", 3), ("a", 1), ("b", 2), ("d", 3))
    ]
    index.put([*placed, turn("e", "e", conversation="other", position=0)])
    said = {name: [message["content"] for message in index.answer([name]).prompt] for name in "abcd"}
    assert said == {
        "a": ["Q"],
        "b": ["Q", "a", "Q"],
        "c": ["Q", "a", "Q", "b", "Q"],
        # Of two at one place, the one that came first stands first.
        "d": ["Q", "a", "Q", "b", "Q", "c", "Q"],
    }


def test_a_branch_may_begin_in_a_conversation_without_parents(index: TextIndex) -> None:
    index.put([turn("a", "1", conversation="c", position=1), turn("b", "2", conversation="c", position=2)])
    index.put([turn("new", "3", parent="b")])
    assert [message["content"] for message in index.answer(["new"]).prompt] == ["Q", "1", "Q", "2", "Q"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (Text("a", [user("Q")]), "not_an_answer"),
        (Text("a", []), "not_an_answer"),
        (Text("a", [user("Q"), assistant(" ")]), "empty_completion"),
        (turn("a", "x", parent="gone"), "broken_history"),
        (turn("a", "x", parent="a"), "broken_history"),
    ],
)
def test_what_is_no_answer(index: TextIndex, text: Text, reason: str) -> None:
    index.put([text])
    with pytest.raises(RowError) as caught:
        index.answer(["a"])
    assert caught.value.reason == reason
