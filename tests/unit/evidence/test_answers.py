"""One row a response from its events, against a plain way to say the same."""

import pickle

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from thumbline.pipeline.evidence.answers import answer_texts, answers
from thumbline.pipeline.evidence.votes import divided
from thumbline.pipeline.tables import MESSAGES, TEXTS, TIME, VOTE, polars_schema

NAMES = st.sampled_from([None, "b", "a", "c"])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p2", "p3"]),
        st.sampled_from(["r1", "r2"]),
        st.sampled_from(["up", "down", "copied", "regenerated", "chosen", "rejected", "tied", "both_bad", "unrated"]),
        st.sampled_from([None, 1, 2, 3]),
        NAMES,
        NAMES,
        NAMES,
    ),
    max_size=12,
)


def table(rows):
    """Events whose ids are those of their place, so that the first spelling is the first row's."""
    return pl.DataFrame(
        [
            {
                "prompt_id": prompt,
                "response_id": f"{prompt}{response}",
                "event_id": f"{place:02d}",
                "prompt": [{"role": "user", "content": f"{prompt} as event {place} has it", "extra": '{"name":"x"}'}],
                "tools": f"[{prompt!r}]",
                "completion": f"{response} as event {place} has it",
                "completion_extra": f"{{{prompt + response!r}}}",
                "vote": vote,
                "created_at": time,
                "model": model,
                "conversation_id": conversation,
                "user_id": user,
            }
            for place, (prompt, response, vote, time, model, conversation, user) in enumerate(rows)
        ],
        schema={
            **dict.fromkeys(("prompt_id", "response_id", "event_id"), pl.String),
            "prompt": MESSAGES,
            "tools": pl.String,
            "completion": pl.String,
            "completion_extra": pl.String,
            "vote": VOTE,
            "created_at": pl.Int64,
            **dict.fromkeys(("model", "conversation_id", "user_id"), pl.String),
        },
    ).with_columns(pl.col("created_at").cast(TIME))


def plainly(rows):
    """Each response with the first spellings, its names and its counts."""
    found = {}
    for place, (prompt, response, vote, time, *names) in enumerate(rows):
        entry = found.setdefault(
            (prompt, f"{prompt}{response}"), {"place": place, "votes": [], "times": [], "names": []}
        )
        entry["votes"].append(vote)
        entry["times"] += [time] if time else []
        entry["names"].append(names)
    firsts = {}
    for place, (prompt, *_) in enumerate(rows):
        firsts.setdefault(prompt, place)
    made = []
    for (prompt, response), entry in sorted(found.items()):
        distinct = [sorted({names[kind] for names in entry["names"]} - {None}) for kind in range(3)]
        votes = entry["votes"]
        made.append(
            {
                "prompt_id": prompt,
                "response_id": response,
                "prompt": [
                    {"role": "user", "content": f"{prompt} as event {firsts[prompt]} has it", "extra": '{"name":"x"}'}
                ],
                "tools": f"[{prompt!r}]",
                "completion": f"{response.removeprefix(prompt)} as event {entry['place']} has it",
                "completion_extra": f"{{{response!r}}}",
                "model": distinct[0][0] if distinct[0] else None,
                "models": distinct[0],
                "conversation_ids": distinct[1],
                "user_ids": distinct[2],
                "times": (min(entry["times"], default=None), max(entry["times"], default=None)),
                "n_events": len(votes),
                "n_copied": votes.count("copied"),
                "n_regenerated": votes.count("regenerated"),
                "n_compared": sum(vote in ("chosen", "rejected", "tied", "both_bad") for vote in votes),
                "n_tied": votes.count("tied"),
                "n_both_bad": votes.count("both_bad"),
            }
        )
    return made


@given(EVENTS, st.randoms(use_true_random=False))
def test_answers_are_what_a_plain_loop_finds(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    events = table(rows)[order]
    found = answers(events)
    assert not {*TEXTS} & {*found.columns}
    texts = answer_texts(events)
    assert texts.columns == list(polars_schema("texts"))
    found = found.hstack(texts.select(TEXTS))
    assert texts["response_id"].to_list() == found["response_id"].to_list()
    times = [found[name].cast(pl.Int64).to_list() for name in ("oldest_event_at", "newest_event_at")]
    flat = found.drop("oldest_event_at", "newest_event_at").to_dicts()
    expected = plainly(rows)
    assert [entry.pop("times") for entry in expected] == list(zip(*times, strict=True))
    assert [{name: row[name] for name in entry} for row, entry in zip(flat, expected, strict=True)] == expected


def test_answers_can_be_pickled():
    events = table([("p1", "r1", "up", 1, "a", "b", "c"), ("p1", "r2", "down", 2, None, "b", None)])
    found = answers(pl.concat([events.head(1), events.tail(1)], rechunk=False))
    assert pickle.loads(pickle.dumps(found)).equals(found)


def test_a_quotient_does_not_depend_on_the_rows_beside_it():
    numbers = [7, 510_608_172, 3_000_000_000, None]
    column = pl.DataFrame({"x": numbers})
    whole = column.select(divided(pl.col("x"), 1e9))["x"].to_list()
    assert whole == [None if number is None else number / 1e9 for number in numbers]
    alone = [column[place].select(divided(pl.col("x"), 1e9))["x"].item() for place in range(len(numbers))]
    assert alone == whole
