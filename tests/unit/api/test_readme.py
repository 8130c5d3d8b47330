"""What the README shows of the Python API runs as it stands."""

import textwrap
from pathlib import Path

import polars as pl

import thumbline
from tests.evaluator_rows import scored_pairs

README = Path(__file__).parents[3] / "README.md"


def example() -> str:
    section = README.read_text().split("\n## From Python\n")[1].split("\n## ")[0]
    lines = section.strip("\n").splitlines()
    block = [line for line in lines if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(block))


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rated = [
        {"question": f"Q{n}?", "answer": f"A{stars}.", "stars": stars, "user": "ann"}
        for n in range(4)
        for stars in (1, 5)
    ]
    frame = pl.DataFrame(rated)
    thumbline.prepare([{"prompt": "Hi?", "completion": "Hello.", "vote": "up"}], output="runs/quickstart")
    names = {"frame": frame, "scored": scored_pairs([1.0, -1.0, 2.0]).with_columns(language=pl.lit("en"))}
    code = example()
    assert code.count("\n") < 25
    exec(compile(code, str(README), "exec"), names)
    assert len(names["data"].pairs) == 4
    assert (tmp_path / "evaluation" / "report.html").is_file()
    assert names["run"].counts.height == 5
