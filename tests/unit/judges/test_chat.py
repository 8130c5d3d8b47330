"""A chat model judges over HTTP: both orders, faults, what is kept, what it costs, and that the key stays unseen."""

import json
import threading
import time

import pytest
import yaml

from tests.unit.judges.answers import answer, answers_table
from tests.unit.judges.chat_server import Answered, said, serving
from thumbline.pipeline.config import JudgeConfig, build_config, load_config
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import ConfigError, EngineError, PipelineError
from thumbline.pipeline.judges import AnswerPair, Preference, Surroundings, chat_client, check_judges, replies
from thumbline.pipeline.judges.asking import ask
from thumbline.pipeline.judges.chat import ChatOptions, open_chat
from thumbline.pipeline.judges.registry import judge_options, what_decides

KEY = "sk-abcdef0123456789"
TABLE = answers_table(
    {
        "p": {"untrained": ["short", "same"], "trained": ["a much longer answer", "same"]},
        "q": {"untrained": ["rather long", "x"], "trained": ["brief", "yy"]},
    }
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(chat_client, "_FIRST_WAIT", 0.01)


def longer(body, _):
    """Prefers the longer answer, as it stands in the question; equal lengths tie."""
    parts = body["messages"][0]["content"].split("\n===")
    first, second = (len(part.split("\n", 1)[1]) for part in parts[2:4])
    return said(f"Well.\nVerdict: {'A' if first > second else 'B' if second > first else 'tie'}")


def judge(server, tmp_path, **options):
    settings = {"address": server.address, "model": "m", "tries": 3, "timeout_s": 5.0} | options
    return open_chat(ChatOptions(**settings), Surroundings("chat", replies=str(tmp_path / "replies")))


def pairs(count):
    return [AnswerPair(answer("p", f"first {n}"), answer("p", f"the second {n}")) for n in range(count)]


def compared(server, tmp_path, count=1, **options):
    found = judge(server, tmp_path, **options)
    try:
        return found.compare(pairs(count), lambda _: None), found.facts()
    finally:
        found.close()


def test_the_stage_asks_in_both_orders_and_counts(tmp_path):
    with serving(longer) as server:
        config = JudgeConfig(
            judge="chat", options={"address": server.address, "model": "m", "price_in": 1.0, "price_out": 2.0}
        )
        around = Surroundings("chat", replies=str(tmp_path / "replies"))
        made = ask(TABLE, [config], lambda _: around, SilentReporter())
        again = ask(TABLE.reverse(), [config], lambda _: around, SilentReporter())
        # Four pairs in two orders, of which one pair's answers are equal.
        assert len(server.bodies) == 6
    assert made.judged_pairs.equals(again.judged_pairs)
    texts = dict(TABLE.select("generation_id", "completion").iter_rows())
    for row in made.judged_pairs.iter_rows(named=True):
        own, other = (len(texts[row[column]]) for column in ("generation_id", "baseline_generation_id"))
        assert row["preference"] == (1.0 if own > other else 0.0 if own < other else 0.5)
    notes = made.notes["judges"]["chat"]
    assert (notes["asked"], notes["equal_answers"], notes["ties"]) == (6, 2, 0)
    assert (notes["first_better"], notes["second_better"]) == (3, 3)
    # Six replies of ten tokens read at 1 and two written at 2, a million.
    assert notes["cost"] == pytest.approx(6 * (10 * 1.0 + 2 * 2.0) / 1e6)
    kept = again.notes["judges"]["chat"]
    assert (kept["asked"], kept["from_kept"], kept["cost"], kept["spent"]) == (0, 6, notes["cost"], 0.0)
    assert "6 requests to 127.0.0.1" in made.notes["said"][0]


def test_what_is_asked_is_what_the_options_say(tmp_path):
    with serving(longer) as server:
        compared(server, tmp_path, body={"temperature": None, "top_p": 0.5}, max_tokens=7, seed=3)
        (body,) = server.bodies
    assert set(body) == {"model", "messages", "max_tokens", "seed", "top_p"}
    assert (body["model"], body["max_tokens"], body["seed"], body["top_p"]) == ("m", 7, 3, 0.5)


@pytest.mark.parametrize(
    ("answered", "wanted"),
    [
        (said("Verdict: A"), Preference(1.0)),
        (said("Verdict: tie"), Preference(0.5)),
        (said("I cannot tell."), Preference(None, "unreadable")),
        (said("So", finish="length"), Preference(None, "cut_off")),
        (said(None, refusal="No."), Preference(None, "refused")),
        (said("", finish="content_filter"), Preference(None, "refused")),
        (said(None), Preference(None, "unreadable")),
        (Answered({"error": {"message": "too long"}}, 400), Preference(None, "rejected")),
    ],
)
def test_what_a_reply_means(tmp_path, answered, wanted):
    with serving(lambda *_: answered) as server:
        made, _ = compared(server, tmp_path)
        assert made == [wanted]
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Answered({"error": {"message": "slow down"}}, 429),
        Answered({"error": {"message": "slow down"}}, 429, {"retry-after": "0"}),
        Answered({"error": {"message": "slow down"}}, 429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Answered({"error": {"message": "slow down"}}, 429, {"retry-after": "soon"}),
        Answered(b"<html>Bad Gateway</html>", 502),
        Answered(b"not JSON"),
        Answered({"choices": []}),
        Answered({"choices": [{"message": {"content": ["parts"]}}]}),
        Answered([1]),
        said("Verdict: A")._replace(seconds=2.0),
    ],
)
def test_what_may_pass_is_tried_again(tmp_path, fault):
    with serving(lambda _, number: fault if number == 1 else said("Verdict: B")) as server:
        made, facts = compared(server, tmp_path, timeout_s=0.5)
        assert made == [Preference(0.0)]
        assert len(server.bodies) == 2
    assert facts["asked"] == 1


def test_the_server_says_how_long_to_wait(tmp_path):
    busy = Answered({}, 429, {"retry-after": "0.4"})
    with serving(lambda _, number: busy if number == 1 else said("Verdict: B")) as server:
        started = time.monotonic()
        compared(server, tmp_path)
        assert time.monotonic() - started >= 0.4


def test_a_server_that_is_gone_stops_the_stage_and_what_was_answered_is_kept(tmp_path):
    with serving(lambda body, n: longer(body, n) if n <= 5 else Answered({}, 503)) as server:
        with pytest.raises(EngineError, match=r"left 8 requests in a row without an answer, each tried 3 times \(503"):
            compared(server, tmp_path, 14, concurrency=1)
        server.answer = longer
        asked = len(server.bodies)
        made, facts = compared(server, tmp_path, 14)
        assert len(made) == 14 and all(one == Preference(0.0) for one in made)
        assert facts["from_kept"] == 5
        assert len(server.bodies) - asked == 9


def test_a_few_without_an_answer_are_none_and_more_stop_the_stage(tmp_path):
    def answered(lost):
        def one(body, number):
            text = body["messages"][0]["content"]
            return Answered({}, 500) if any(f"first {n}\n" in text for n in lost) else said("Verdict: A")

        return one

    with serving(answered([3])) as server:
        made, facts = compared(server, tmp_path / "a", 20)
        assert made.count(Preference(None, "no_answer")) == 1
        assert "chat: no_answer, for example: 500 {}." in facts["said"]
        server.answer = answered([3, 13])
        with pytest.raises(EngineError, match="2 of 20 requests got no answer"):
            compared(server, tmp_path / "b", 20)


@pytest.mark.parametrize(("status", "message"), [(401, "bad key"), (404, "no such model"), (429, "insufficient_quota")])
def test_who_is_turned_away_is_told_at_once_and_the_key_is_in_no_word(tmp_path, monkeypatch, status, message):
    monkeypatch.setenv("A_KEY", KEY)
    with serving(lambda *_: Answered({"error": {"message": f"{message} {KEY}"}}, status)) as server:
        with pytest.raises(EngineError, match=f"{status} {message} …") as error:
            compared(server, tmp_path, key_from="A_KEY")
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
        assert len(server.bodies) == 1
    chain = error.value
    while chain is not None:
        assert KEY not in str(chain)
        chain = chain.__cause__


def test_the_key_is_in_no_kept_reply(tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    with serving(lambda *_: said(f"{KEY}\nVerdict: A")) as server:
        _, facts = compared(server, tmp_path, key_from="A_KEY")
    assert KEY not in json.dumps(facts)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) == 1
    assert KEY not in kept[0].read_text()


def test_no_key_is_sent_where_none_is_named_and_redirects_are_not_followed(tmp_path):
    elsewhere = Answered({}, 307, {"location": "http://127.0.0.1:9/v1"})
    with serving(lambda *_: elsewhere) as server:
        with pytest.raises(EngineError, match="answers 307"):
            compared(server, tmp_path)
        assert "authorization" not in server.headers[0]


def test_no_more_than_asked_are_under_way_at_a_time(tmp_path):
    under_way, most, lock = [0], [0], threading.Lock()

    def answered(*_):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.03)
        with lock:
            under_way[0] -= 1
        return said("Verdict: A")

    with serving(answered) as server:
        compared(server, tmp_path, 12, concurrency=3)
    assert most[0] == 3


def test_a_budget_stops_before_more_is_spent_and_what_was_paid_for_is_kept(tmp_path):
    priced = {"price_in": 1e5, "price_out": 0.0, "concurrency": 1}
    with serving(lambda *_: said("Verdict: A")) as server:
        # Each reply reads ten tokens: a cost of one.
        with pytest.raises(PipelineError, match="has cost 3.0000 of most_cost 3 after 3 requests.*raise most_cost"):
            compared(server, tmp_path, 6, most_cost=3, **priced)
        assert len(server.bodies) in (3, 4)
        made, facts = compared(server, tmp_path, 6, **priced)
        assert len(made) == 6
        assert facts["asked"] + facts["from_kept"] == 6
        assert len(server.bodies) == 6


def test_replies_are_put_together_and_a_damaged_one_is_asked_again(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(replies, "_PACKED_FROM", 8)
    with serving(longer) as server:
        compared(server, tmp_path, 7)
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 7
        compared(server, tmp_path, 8)
        (pack,) = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert pack.suffix == ".jsonl"
        lines = pack.read_text().splitlines()
        assert len(lines) == 8
        lines[4] = lines[4].replace("Verdict: B", "Verdict: A")
        pack.write_text("\n".join([*lines[:-1], lines[-1][:40]]))
        made, facts = compared(server, tmp_path, 8)
        assert (facts["asked"], facts["from_kept"]) == (2, 6)
        assert made == [Preference(0.0)] * 8
    assert "2 of 8 replies" in caplog.text


def test_another_question_is_another_reply(tmp_path):
    with serving(longer) as server:
        for options in ({}, {"criterion": "Be brief."}, {"temperature": 1.0}, {"max_tokens": 9}, {"seed": 1}):
            compared(server, tmp_path, **options)
        assert len(server.bodies) == 5
        compared(server, tmp_path, concurrency=2, tries=4, timeout_s=9.0)
        assert len(server.bodies) == 5


def test_what_does_not_decide_what_it_says_is_no_part_of_the_stages_settings():
    def decided(**options):
        return what_decides(JudgeConfig(judge="chat", options={"address": "http://h/v1", "model": "m"} | options))

    assert decided(concurrency=2, key_from="A_KEY", price_in=1.0, timeout_s=3.0) == decided()
    assert decided(seed=2) != decided()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "ftp://h/v1"}, "address: Value error, write it as http"),
        ({"address": "http://h/v1?version=3"}, "it holds more than scheme, host and path"),
        ({"template": "{prompt} {first}"}, "it lacks {second}"),
        ({"most_cost": 1.0}, "most_cost needs price_in and price_out"),
        ({"key_from": "my-key"}, "key_from: String should match pattern"),
    ],
)
def test_options_that_do_not_hold_are_refused_without_their_values(options, said):
    with pytest.raises(ConfigError) as error:
        judge_options(JudgeConfig(judge="chat", options={"address": "http://h/v1", "model": "m"} | options))
    assert said in str(error.value)
    assert KEY not in str(error.value)


def test_a_key_that_is_not_there_is_said_before_any_work(monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    config = JudgeConfig(judge="chat", options={"address": "http://h/v1", "model": "m", "key_from": "A_KEY"})
    with pytest.raises(ConfigError, match="key_from names A_KEY, which is not set in the environment"):
        check_judges([config])


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY},
        {"key_from": KEY},
        {"body": {"extra": {"access_token": KEY}}},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"body": {"headers": {"X-Api-Key-Value": KEY}}},
        {"body": {"proxyAuth": [{"value": KEY, "auth": KEY}]}},
        {"body": {"extra": {"who": f"basic {KEY}"}}},
        {"address": f"https://user:{KEY}@host/v1"},
        {"address": f"https://host/v1?api_key={KEY}"},
    ],
)
def test_a_secret_in_a_run_file_is_refused_before_anything_is_written(tmp_path, options):
    document = {"name": "r", "model": "demo", "events": {"inputs": ["x"]}}
    judges = [{"judge": "chat", "options": {"address": "http://h/v1", "model": "m"} | options}]
    with pytest.raises(ConfigError, match="seems to hold a secret.*key_from") as error:
        build_config(document | {"judges": judges}, origin="here")
    assert KEY not in str(error.value)
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(document | {"judges": judges}))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert KEY not in str(error.value)


def test_tokens_and_names_of_variables_are_no_secrets():
    JudgeConfig(
        judge="chat", options={"max_tokens": 3, "key_from": "A_KEY", "body": {"stop_token_ids": [1], "author": "me"}}
    )
