"""The committed sample log: re-made byte for byte, counted again from its bytes, and read by the importer."""

import json
from collections import Counter, defaultdict

import pytest
from data.criterion import is_one_paragraph
from data.make_sample_log import RATERS, SAMPLE, SEED, make_log, read_rows
from data.sample_dirt import DAMAGE

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.stages import events

FIELDS = {"event_id", "timestamp", "conversation_id", "user_id", "model", "prompt", "response", "feedback"}
VOTES = {"thumbs_up", "thumbs_down"}
CARD = SAMPLE.parent / "README.md"


@pytest.fixture(scope="module")
def completions():
    return read_rows(SAMPLE / "completions.jsonl")


@pytest.fixture(scope="module")
def counts():
    return json.loads((SAMPLE / "counts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def good_rows():
    """The log's usable rows in the order of the file, by a reading of their own."""
    rows = []
    for line in (SAMPLE / "thumbs.jsonl").read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        texts = [row.get("prompt"), row.get("response")]
        if row.keys() == FIELDS and all(isinstance(text, str) and text for text in texts) and row["feedback"] != "meh":
            rows.append(row)
    return rows


@pytest.fixture(scope="module")
def unique_rows(good_rows):
    return list({row["event_id"]: row for row in good_rows}.values())


@pytest.fixture(scope="module")
def standing_votes(unique_rows):
    """The last word of each user on each answer, retractions among them: (conversation, answer) to user to word."""
    last = defaultdict(dict)
    for row in sorted(unique_rows, key=lambda row: row["timestamp"]):
        if row["feedback"] is not None:
            last[row["conversation_id"], row["response"]][row["user_id"]] = row["feedback"]
    return last


def test_prompts_are_different_and_each_has_its_completions(completions):
    prompts = [row["prompt"] for row in read_rows(SAMPLE / "prompts.jsonl")]
    assert len(set(prompts)) == len(prompts) == 370
    assert [row["prompt"] for row in completions] == [prompt for prompt in prompts for _ in range(6)]
    assert all(row["completion"].strip() for row in completions)


def test_log_is_remade_byte_for_byte(completions, counts):
    made = make_log(completions)
    assert made.data == (SAMPLE / "thumbs.jsonl").read_bytes()
    assert made.counts == counts


def test_another_seed_makes_another_log(completions):
    some = completions[:60]
    assert make_log(some, SEED).data == make_log(some, SEED).data
    assert make_log(some, SEED).data != make_log(some, SEED + 1).data


def test_lines_add_up(good_rows, unique_rows, counts):
    lines = (SAMPLE / "thumbs.jsonl").read_bytes().splitlines()
    assert len(lines) == counts["lines"]
    assert len(unique_rows) == counts["events"]
    assert len(good_rows) - len(unique_rows) == counts["duplicate_lines"]
    assert len(lines) - len(good_rows) == sum(counts["broken_lines"].values())
    assert counts["broken_lines"] == {kind: count for kind, count, _ in DAMAGE}


def test_a_duplicate_repeats_its_first_delivery(good_rows):
    rows = defaultdict(list)
    for row in good_rows:
        rows[row["event_id"]].append(row)
    assert all(row == delivered[0] for delivered in rows.values() for row in delivered)


def test_file_is_not_in_time_order(good_rows, counts):
    """Each late line stands after an event of a later time, far duplicates do too."""
    latest, behind = "", set()
    for row in good_rows:
        if row["timestamp"] < latest:
            behind.add(row["event_id"])
        latest = max(latest, row["timestamp"])
    assert counts["late_lines"] < len(behind) <= counts["late_lines"] + counts["duplicate_lines"]


def test_feedback_is_as_counted(unique_rows, counts):
    found = Counter("null" if row["feedback"] is None else row["feedback"] for row in unique_rows)
    assert dict(found) == counts["feedback"]


def test_answers_are_as_counted(unique_rows, standing_votes, counts):
    answers = {(row["conversation_id"], row["response"]) for row in unique_rows}
    standing = [set(by_user.values()) & VOTES for by_user in standing_votes.values()]
    assert len({row["conversation_id"] for row in unique_rows}) == counts["conversations"]
    assert len(answers) == counts["answers"]
    assert len(answers) - len(standing_votes) == counts["answers_unrated"]
    assert sum(map(is_one_paragraph, (response for _, response in answers))) == counts["answers_in_one_paragraph"]
    assert sum(bool(votes) for votes in standing) == counts["answers_with_a_standing_vote"]
    assert sum(votes == VOTES for votes in standing) == counts["answers_with_both_votes"]


def test_changed_and_retracted_votes_are_as_counted(unique_rows, standing_votes, counts):
    words = Counter(word for by_user in standing_votes.values() for word in by_user.values())
    assert words["retracted"] == counts["votes_retracted"]
    assert words["thumbs_up"] + words["thumbs_down"] == counts["votes_standing"]
    overridden = sum(row["feedback"] in VOTES for row in unique_rows) - counts["votes_standing"]
    assert overridden == counts["votes_changed"] + counts["votes_retracted"]


def test_raters_err_as_often_as_stated(standing_votes, counts):
    """Counted from the log, and within four standard errors of what the table states."""
    found = defaultdict(lambda: {"votes": 0, "against_the_criterion": 0})
    expected, variance = Counter(), Counter()
    table = {rater.user_id: rater for rater in RATERS}
    for (_, response), by_user in standing_votes.items():
        met = is_one_paragraph(response)
        for user, word in by_user.items():
            if word not in VOTES:
                continue
            found[user]["votes"] += 1
            found[user]["against_the_criterion"] += (word == "thumbs_up") != met
            error = 1.0 - table[user].up_if_met if met else table[user].up_if_not
            expected[user] += error
            variance[user] += error * (1.0 - error)
    assert found == counts["raters"]
    for user, seen in found.items():
        assert abs(seen["against_the_criterion"] - expected[user]) <= 4 * variance[user] ** 0.5


def test_criterion_is_as_the_card_states_and_length_does_not_give_it_away(completions):
    """Of two answers to one prompt that differ on the criterion, the longer one meets it about half of the time."""
    answers = defaultdict(list)
    for row in completions:
        answers[row["prompt"]].append(row)
    pairs = [
        (good, bad)
        for rows in answers.values()
        for good in rows
        for bad in rows
        if is_one_paragraph(good["completion"]) and not is_one_paragraph(bad["completion"])
    ]
    characters = _longer_wins([(len(good["completion"]), len(bad["completion"])) for good, bad in pairs])
    tokens = _longer_wins([(good["token_count"], bad["token_count"]) for good, bad in pairs])
    mixed = len({good["prompt"] for good, _ in pairs})
    card = " ".join(CARD.read_text(encoding="utf-8").split())
    assert f"{mixed} of the {len(answers)} prompts have answers of both kinds" in card
    assert f"among the {len(pairs):,} pairs" in card
    assert f"meets it in {characters:.1%} by characters and in {tokens:.1%} by tokens (ties half)" in card
    ended = Counter(is_one_paragraph(row["completion"]) for row in completions if row["finish_reason"] == "stop")
    met = Counter(is_one_paragraph(row["completion"]) for row in completions)
    assert f"{ended[True]} of the {met[True]:,} answers that meet the criterion ended before the cut" in card
    assert f"and {ended[False]} of the {met[False]:,} others" in card
    # Near chance either way: length alone gets at most 57% of such pairs right.
    assert 0.43 <= characters <= 0.57 and 0.43 <= tokens <= 0.57


def _longer_wins(lengths):
    return sum((good > bad) + 0.5 * (good == bad) for good, bad in lengths) / len(lengths)


def test_importer_reads_every_good_row_and_rejects_every_broken_one(counts):
    read = events.ingest(EventsConfig(inputs=(str(SAMPLE / "thumbs.jsonl"),), format="thumbs_jsonl"))
    broken = counts["broken_lines"]
    assert read.events.height == counts["events"]
    assert read.counts.merged == counts["duplicate_lines"]
    assert read.notes["reject_reasons"] == {
        "broken_json": broken["cut_json"],
        "empty_completion": broken["empty_response"],
        "invalid_utf8": broken["not_utf8"],
        "missing_field": broken["no_prompt_field"] + broken["no_response_field"],
        "unknown_label": broken["unknown_label"],
        "wrong_type": broken["wrong_type"],
    }
    feedback = counts["feedback"]
    assert read.notes["votes"] == {
        "up": feedback["thumbs_up"],
        "down": feedback["thumbs_down"],
        "retracted": feedback["retracted"],
        "unrated": feedback["null"],
    }


def test_data_card_states_what_the_log_holds(counts):
    card = CARD.read_text(encoding="utf-8")
    for rater in RATERS:
        seen = counts["raters"][rater.user_id]
        row = f"| {rater.up_if_met:.2f} | {rater.up_if_not:.2f} | {rater.activity:g} |"
        assert f"| {rater.user_id} | {rater.manner} {row} {seen['votes']} | {seen['against_the_criterion']} |" in card
    broken = counts["broken_lines"]
    for stated in (
        f"| lines | {counts['lines']:,} |",
        f"| different events | {counts['events']:,} |",
        f"up to 300 lines away | {counts['duplicate_lines']} |",
        f"| events delivered late, up to 100 lines | {counts['late_lines']} |",
        f"| {counts['answers_unrated']} of {counts['answers']:,} |",
        f"later | {counts['votes_changed']} |",
        f"| votes retracted later | {counts['votes_retracted']} |",
        f"from different users | {counts['answers_with_both_votes']} |",
        f"cut JSON | {broken['cut_json']} |",
        f"no `prompt` | {broken['no_response_field']}, {broken['no_prompt_field']} |",
        f"empty response | {broken['empty_response']} |",
        f'"meh" | {broken["unknown_label"]} |',
        f"is a number | {broken['wrong_type']} |",
        f"not UTF-8 | {broken['not_utf8']} |",
        f"{counts['answers_in_one_paragraph']:,} of the {counts['answers']:,} answers meet it",
    ):
        assert stated in card
