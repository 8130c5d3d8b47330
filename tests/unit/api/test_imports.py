"""`import thumbline` costs next to nothing, and work on data imports no library of models."""

import subprocess
import sys

import pytest

import thumbline
from tests.evaluator_rows import scored_pairs

HEAVY = ("torch", "transformers", "datasets", "matplotlib")
# What a run needs only where it fails, evaluates, asks a chat model or reads from an address.
SELDOM = ("pandera", "pandas", "scipy.optimize", "httpx", "fsspec")
SAMPLE = "data/sample/thumbs.jsonl"


def seconds_and_modules(code: str) -> tuple[float, set[str]]:
    """CPU seconds of `code` in a new process, and which of the heavy libraries it imported."""
    told = f"print(time.process_time() - start, *(name for name in {HEAVY + SELDOM} if name in sys.modules))"
    script = "\n".join(["import sys, time", "start = time.process_time()", code, told])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, *names = done.stdout.split()
    return float(seconds), set(names)


@pytest.mark.parametrize(
    "code, most",
    [
        ("import thumbline", 0.3),
        ("import thumbline.pipeline.cli.main", 1.0),
        ("import thumbline; thumbline.prepare; thumbline.evaluate; thumbline.load", 2.0),
    ],
)
def test_importing_is_quick(code, most):
    """In units of what polars takes to import, on the same machine in the same minute."""
    measured = [(seconds_and_modules(code), seconds_and_modules("import polars")[0]) for _ in range(3)]
    assert min(seconds / yardstick for (seconds, _), yardstick in measured) < most
    assert measured[0][0][1] == set()


def test_the_line_imports_nothing_that_few_runs_need():
    assert seconds_and_modules("from thumbline.pipeline import line")[1] == set()


def test_preparing_a_log_imports_no_models_and_no_pictures():
    code = f"import thumbline; data = thumbline.prepare('{SAMPLE}'); data.pairs, data._repr_html_()"
    assert seconds_and_modules(code)[1] == set()


def test_evaluating_rows_imports_no_models_and_no_pictures(tmp_path):
    scored_pairs([1.0, -0.5, 0.25]).write_parquet(tmp_path / "rows.parquet")
    code = f"import thumbline; thumbline.evaluate('{tmp_path / 'rows.parquet'}', draws=100)._repr_html_()"
    assert seconds_and_modules(code)[1].isdisjoint(HEAVY)


def test_names_are_listed_and_unknown_ones_refused():
    assert set(thumbline.__all__) <= set(dir(thumbline))
    assert thumbline.losses.dpo_loss and thumbline.evaluators.evaluate and thumbline.PipelineError
    with pytest.raises(AttributeError, match="module 'thumbline' has no attribute 'prepares'"):
        _ = thumbline.prepares
