"""Rejected rows hold no user id in clear."""

import json
import re

import polars as pl
import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest.event_ids import pseudonym
from thumbline.pipeline.ingest.rejected_users import stated_columns, without_users
from thumbline.pipeline.reading.records import Reject
from thumbline.pipeline.stages.events import ingest

KEY = "a key of mine"
BOB = pseudonym("bob@example.org", KEY)


def shown(raw, cells=(), **options):
    return without_users(Reject(1, "unknown_label", "'meh'", raw, cells), KEY, stated_columns(options))


@pytest.mark.parametrize(
    ("raw", "hidden"),
    [
        ('{"user_id": "bob@example.org", "vote": "meh"}', f'{{"user_id": "{BOB}", "vote": "meh"}}'),
        ('{"x": {"User-Name" : "bob@example.org"}}', f'{{"x": {{"User-Name" : "{BOB}"}}}}'),
        ('{"userId": 12, "n": 12}', f'{{"userId": "{pseudonym("12", KEY)}", "n": 12}}'),
        (
            '{"user": {"id": "bob@example.org", "tags": ["a"]}, "role": "user"}',
            f'{{"user": {{"id": "{BOB}", "tags": ["{pseudonym("a", KEY)}"]}}, "role": "user"}}',
        ),
        # Cut, and broken.
        ('{"user_id": "bob@example.org', f'{{"user_id": "{BOB}"'),
        ('{"user": {"id": "bob@example.org", "na', f'{{"user": {{"id": "{BOB}", "{pseudonym("na", KEY)}"'),
        ('oops "user_id": "bob@example.org"', f'oops "user_id": "{BOB}"'),
        # An escaped spelling is the same user.
        ('{"uid": "bob\\u0040example.org"}', f'{{"uid": "{BOB}"}}'),
        ('{"uid": "bob\\ud800"}', f'{{"uid": "{pseudonym("bob" + chr(92) + "ud800", KEY)}"}}'),
        # No user, and what only looks like a name.
        ('{"user_id": null, "a": "user_id"}', '{"user_id": null, "a": "user_id"}'),
        ('{"prompt": "is \\"user\\": \\"x\\" JSON?"}', '{"prompt": "is \\"user\\": \\"x\\" JSON?"}'),
    ],
)
def test_fields_that_name_users_hold_their_pseudonyms(raw, hidden):
    assert shown(raw) == hidden


def test_a_stated_column_is_one_of_users():
    assert shown('{"Who Voted": "ann"}', user="Who Voted") == f'{{"Who Voted": "{pseudonym("ann", KEY)}"}}'
    assert shown('{"Who Voted": "ann"}') == '{"Who Voted": "ann"}'


def test_what_a_user_wrote_is_no_id():
    raw = json.dumps({"user": "How do I plant " + "beans " * 50})
    assert shown(raw) == raw


LOGS = {
    "a.jsonl": '{"prompt": "p", "response": "c", "feedback": "meh", "user_id": "bob@example.org"}\n'
    '{"prompt": "p", "response": "c", "feedback": "up", "user_id": "bob@example.org"}\n'
    '{"prompt": "p", "response": "c", "user_id": "bob@example.org", "feedback"\n',
    "a.csv": "prompt,response,feedback,user_id\np,c,meh,bob@example.org\np,c,up,bob@example.org\n"
    'p,c,bob@example.org\np,"c" d,up,bob@example.org\n',
}


@pytest.mark.parametrize("name", LOGS)
def test_no_id_of_a_user_is_in_either_table(tmp_path, name):
    (tmp_path / name).write_text(LOGS[name])
    result = ingest(EventsConfig(inputs=(str(tmp_path / name),), user_key=KEY, workers=1))
    assert result.rejects.height >= 2
    assert result.events["user_id"].to_list() == [BOB]
    raws = result.rejects["raw"].to_list()
    assert all(BOB in raw for raw in raws), raws
    written = json.dumps(
        result.rejects.to_dicts() + result.events.select(pl.exclude("created_at")).to_dicts(), default=str
    )
    assert not re.search("bob|example", written)


def test_only_the_cell_of_the_user_changes_where_cells_can_be_told_apart():
    hashed = pseudonym("12", KEY)
    cells = (("id", "12"), ("empty", ""), ("worker", "12"), ("winner", "left"), ("n", "12"))
    assert shown("12,,12,left,12", cells) == f"12,,{hashed},left,12"
    # A long text may hold anything, also what looks like a cell.
    long = "a,12," + "b" * 300
    assert shown(f'12,"{long}",12', (("id", "12"), ("text", long[:201]), ("worker", "12"))).endswith(f",{hashed}")


def test_a_row_is_no_longer_than_any_other():
    assert len(shown('{"user": ["' + '", "'.join("abc" for _ in range(280)) + '"]}')) == 2_000
