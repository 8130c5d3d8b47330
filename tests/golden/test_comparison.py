"""The rule of golden files: a change needs a raised version, and a raised version needs renewed files."""

import copy
import json
import math
import re

import polars as pl
import pytest

from tests.golden import __main__ as command
from tests.golden import contents, files
from tests.golden.comparison import close, problems, renewed

GOLDEN = {
    "responses": {
        "version": 3,
        "after": {"events": 4},
        "tables": {"responses.parquet": {"rows": 1230, "digest": "a"}},
        "documents": {"facts.json": {"n": 3, "share": 0.5, "names[0]": {"name": "one", "value": 2.0}}},
    }
}


def changed(**fields):
    entries = copy.deepcopy(GOLDEN)
    entries["responses"] |= fields
    return entries


def only(found):
    (problem,) = problems(GOLDEN, found)
    return problem


OTHER = {"responses.parquet": {"rows": 1234, "digest": "b"}}


def test_the_same_is_no_problem():
    assert problems(GOLDEN, changed()) == []


def test_a_change_without_a_raised_version_is_refused():
    assert only(changed(tables=OTHER)) == (
        "responses: responses.parquet changed (1,234 rows, was 1,230 rows) but VERSION is still 3: raise it, "
        "say it in the change log, and run `python -m tests.golden`",
        True,
    )


@pytest.mark.parametrize("tables", [{}, GOLDEN["responses"]["tables"] | {"new.parquet": {"rows": 1, "digest": "c"}}])
def test_a_table_that_is_new_or_gone_is_a_change(tables):
    assert re.search(r"parquet is (new|gone) but VERSION is still 3", only(changed(tables=tables)).message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"version": 4, "tables": OTHER},
            "VERSION is 4, was 3, responses.parquet changed (1,234 rows, was 1,230 rows)",
        ),
        ({"version": 4}, "VERSION is 4, was 3, nothing changed"),
        ({"after": {"events": 5}, "tables": OTHER}, "VERSION of events differs, responses.parquet changed"),
    ],
)
def test_a_raised_version_asks_to_renew(fields, message):
    problem = only(changed(**fields))
    assert message in problem.message and problem.message.endswith("run `python -m tests.golden`")
    assert not problem.refused


def test_a_version_never_falls():
    problem = only(changed(version=2, tables=OTHER))
    assert problem == ("responses: VERSION is 2, below the golden 3: versions only rise", True)


def test_an_entry_that_is_new_or_gone_asks_to_renew():
    assert [problem.refused for problem in (*problems({}, GOLDEN), *problems(GOLDEN, {}))] == [False, False]
    assert "no golden entry" in problems({}, GOLDEN)[0].message


def test_a_change_of_a_document_names_its_place():
    facts = {"n": 3, "share": 0.7, "names[0]": {"name": "two", "value": 2.0}}
    message = only(changed(documents={"facts.json": facts})).message
    assert "facts.json changed at share: 0.7, was 0.5 (and at 1 more places) but VERSION is still 3" in message


@pytest.mark.parametrize(
    ("golden", "found", "same"),
    [
        (0.5, 0.5004, True),
        (0.5, 0.501, False),
        (0.0, 1e-7, True),
        (3, 4, False),
        (1, True, False),
        (None, 0.0, False),
        ("accuracy of 71.5% to 100", "accuracy of 71.6% to 100", True),
        ("accuracy of 71.5%", "accuracy of 75.5%", False),
        ("accuracy of 71.5%", "margin of 71.5%", False),
        ("a gap of 4.76e-07 nats", "a gap of 1.8e-10 nats", True),
        ("a rate of 1e-3 a step", "a rate of 2e-3 a step", False),
        ("94141355d5", "94141356d5", False),
        ([1.0, "a"], [1.0002, "a"], True),
        ({"a": 1.0}, {"b": 1.0}, False),
    ],
)
def test_numbers_of_a_models_arithmetic_may_differ_in_their_last_digits(golden, found, same):
    assert close(golden, found) is same


def test_renewing_keeps_what_says_the_same():
    close_by = changed(documents={"facts.json": GOLDEN["responses"]["documents"]["facts.json"] | {"share": 0.5001}})
    assert renewed(GOLDEN, close_by) == GOLDEN
    assert renewed(GOLDEN, changed(version=4, tables=OTHER)) == changed(version=4, tables=OTHER)


def test_the_command_writes_all_or_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "FOLDER", tmp_path)
    made = {"first": changed(), "second": changed()}
    monkeypatch.setattr(command, "GROUPS", {name: lambda _, name=name: made[name] for name in made})
    assert command.main() == 0
    made |= {"first": changed(version=4, tables=OTHER), "second": changed(tables=OTHER)}
    assert command.main() == 1
    assert "nothing is written, since 1 changed without a raised version" in capsys.readouterr().out
    assert json.loads((tmp_path / "first.json").read_text()) == files.read("first") == GOLDEN
    made["second"] = changed(version=4, tables=OTHER)
    assert command.main() == 0
    assert files.read("second") == made["second"]


FRAME = pl.DataFrame({"id": ["a", "b"], "value": [0.1, -0.0], "parts": [[1.0], None]})


@pytest.mark.parametrize(
    ("frame", "same"),
    [
        (FRAME.with_columns(value=pl.Series([0.1 + 1e-12, 0.0])), True),
        (FRAME.with_columns(value=pl.Series([0.1 + 1e-7, 0.0])), False),
        (FRAME.with_columns(parts=pl.Series([[1.1], None])), False),
        (FRAME.reverse(), False),
        (FRAME.rename({"id": "name"}), False),
        (FRAME.with_columns(pl.col("id").cast(pl.Categorical)), False),
        (FRAME.select("value", "id", "parts"), False),
    ],
)
def test_a_digest_tells_columns_types_order_and_nine_digits(frame, same):
    assert (contents.table(frame) == contents.table(FRAME)) is same


def test_a_trained_table_has_its_floats_beside_the_digest():
    other = FRAME.with_columns(value=pl.Series([0.3, math.nan]))
    one, two = contents.trained_table(FRAME), contents.trained_table(other)
    assert one["digest"] == two["digest"]
    assert two["floats"] == {
        "value": {"n": 2, "missing": 1, "mean": 0.3, "least": 0.3, "greatest": 0.3, "type": "Float64"}
    }


def test_a_documents_leaves_are_named_by_their_place():
    value = {"made_at": "now", "rows": [{"a": {"b": 1}}, {"c": ["x"]}], "curve": [1.0, 2.0, 3.0, 6.0]}
    assert contents.document(value, re.compile("made_at")) == {
        "rows.length": 2,
        "rows[0]": {"a.b": 1},
        "rows[1].c.length": 1,
        "rows[1].c[0]": "x",
        "curve": {"n": 4, "missing": 0, "mean": 3.0, "least": 1.0, "greatest": 6.0},
    }


def test_a_texts_numbers_do_not_count():
    assert contents.text("2 pairs, 71.5%\n") == contents.text("11 pairs, 100.0%\n") != contents.text("2 rows, 71.5%\n")
