"""The Markdown of an evaluation: verdict, conditions, numbers, and names that are shown as they are."""

import polars as pl
from typer.testing import CliRunner

from tests.evaluator_rows import scored_pairs
from thumbline.pipeline.cli.main import app

ROWS = [1.0, -0.5, 0.25, 2.0] * 10


def summary_of(tmp_path, *arguments, code):
    scored_pairs(ROWS, model="a|b<i>").write_parquet(tmp_path / "scored.parquet")
    place = tmp_path / "short.md"
    fixed = ["evaluate", str(tmp_path / "scored.parquet"), "--draws", "100", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*fixed, "--summary", str(place), *arguments])
    assert done.exit_code == code, done.output
    return place.read_text(encoding="utf-8").split("\n\n")


def test_it_holds_the_verdict_and_the_numbers(tmp_path):
    title, sentence, numbers = summary_of(tmp_path, code=0)
    assert title == "### thumbline"
    assert "75.0%" in numbers and sentence.endswith(".")
    heading, rule, *rows = numbers.strip().splitlines()
    assert heading == "| model | metric | value | interval | rows | note |"
    # Three of four pairs are ranked right; the name's own bar and brackets are no markup.
    accuracy = next(row for row in rows if "| accuracy |" in row)
    assert accuracy.startswith(r"| a\|b\<i\> | accuracy | 75.0% |") and rule.count("---") == 6


def test_conditions_stand_before_the_numbers_also_where_one_does_not_hold(tmp_path):
    _, _, conditions, _ = summary_of(tmp_path, "--fail-under", "accuracy=0.5", "--fail-under", "accuracy=0.9", code=1)
    rows = conditions.splitlines()
    assert rows[0] == "| holds | condition | numbers |"
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| yes", "| **no**"]


def test_ratings_of_judged_pairs_have_one_too(tmp_path):
    columns = {"prompt": list(map(str, range(20))), "model_a": ["x"] * 20, "model_b": ["y"] * 20}
    pl.DataFrame(columns | {"preference": [1] * 15 + [2] * 5}).write_csv(tmp_path / "judged.csv")
    place = tmp_path / "short.md"
    given = ["evaluate", str(tmp_path / "judged.csv"), "-o", str(tmp_path / "out"), "--summary", str(place)]
    done = CliRunner().invoke(app, [*given, "--draws", "100"])
    assert done.exit_code == 0, done.output
    assert "| judge | model | rating | interval | comparisons | note |" in place.read_text(encoding="utf-8")
