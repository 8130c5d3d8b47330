"""Very many prompt groups are merged into sets before they are resampled: what that keeps, and what it may not move."""

import os
import subprocess
import sys
from math import fsum

import numpy as np
import polars as pl
import pytest

from tests.evaluator_rows import scored_pairs
from thumbline.evaluators import EvaluationSettings, evaluate
from thumbline.evaluators.groups import MOST_SETS, Groups, numbered
from thumbline.evaluators.uncertainty import clustered_error, exactly_summed, group_totals

GROUPS = 25_000
DRAWS = 2_000


def group_sums(groups: int) -> np.ndarray:
    """(groups, 2) sums and counts: 1 to 4 rows a group, and a skewed value that the rows of a group share in part."""
    generator = np.random.default_rng(5)
    rows = generator.integers(1, 5, groups)
    return np.column_stack([rows * generator.exponential(size=groups) + generator.normal(size=groups), rows])


def merged(groups: int) -> Groups:
    """One row a group."""
    return numbered(np.arange(groups), groups, seed=0)


def test_every_group_is_in_one_set_and_sets_are_of_even_size():
    sizes = merged(GROUPS).unit_counts()
    assert sizes.shape == (MOST_SETS,)
    assert set(sizes) == {2.0, 3.0}  # 25,000 groups in 10,000 sets
    assert sizes.sum() == GROUPS


def test_fewer_groups_are_resampled_as_they_are():
    found = merged(MOST_SETS)
    assert np.array_equal(found.unit, np.arange(MOST_SETS))


def test_rows_of_one_group_stay_in_one_set():
    number = np.repeat(np.arange(GROUPS), 2)
    found = numbered(number, GROUPS, seed=0)
    assert np.array_equal(found.unit[::2], found.unit[1::2])
    assert found.present() == GROUPS


def test_merging_keeps_the_totals():
    values = group_sums(GROUPS)[:, 0]
    assert merged(GROUPS).unit_sums(values).sum() == pytest.approx(values.sum(), rel=1e-12)


def test_which_groups_are_merged_follows_the_seed():
    first, again, other = (numbered(np.arange(GROUPS), GROUPS, seed).unit for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("groups", [MOST_SETS, GROUPS])
def test_the_resampled_mean_spreads_as_its_clustered_error_says(groups):
    columns = group_sums(groups)
    units = np.column_stack([merged(groups).unit_sums(column) for column in columns.T])
    totals = group_totals(units, DRAWS, np.random.default_rng(1))
    mean = columns[:, 0].sum() / columns[:, 1].sum()
    residuals = (columns[:, 0] - mean * columns[:, 1]) / columns[:, 1].sum()
    expected = clustered_error(residuals, merged(groups))
    spread = np.std(totals[:, 0] / totals[:, 1], ddof=1)
    # The spread of 2,000 draws is itself known to 1 / sqrt(2 * 2,000) = 1.6%; four of that, and the sets' 0.7%.
    assert spread == pytest.approx(expected, rel=0.07)


@pytest.mark.parametrize("scale", [1e-280, 1e-9, 1.0, 1e12])
def test_totals_of_resamples_are_exact_in_any_order_of_adding(scale):
    # So that the number of threads of a matrix product moves no digit.
    generator = np.random.default_rng(6)
    columns = scale * generator.normal(size=(MOST_SETS, 3)) * [1.0, 1e6, 1e-6]
    counts = generator.poisson(1.0, size=(20, MOST_SETS)).astype(np.float64)
    rounded = exactly_summed(columns)
    forward, backward = counts @ rounded, counts[:, ::-1] @ rounded[::-1]
    one_by_one = np.array([[fsum(row * column) for column in rounded.T] for row in counts])
    assert np.array_equal(forward, backward)
    assert np.array_equal(forward, one_by_one)
    assert not np.array_equal(counts @ columns, counts[:, ::-1] @ columns[::-1])
    assert rounded == pytest.approx(columns, abs=1e-11 * np.abs(columns).max(axis=0).max())


def test_columns_of_nothing_stay_nothing():
    assert np.array_equal(exactly_summed(np.zeros((5, 2))), np.zeros((5, 2)))
    assert exactly_summed(np.zeros((0, 2))).shape == (0, 2)


def test_the_order_of_rows_changes_nothing_with_very_many_groups():
    margins = np.random.default_rng(2).normal(0.2, 1.0, MOST_SETS + 1_000)
    rows = scored_pairs(margins.tolist())
    settings = EvaluationSettings(beta=1.0, bootstrap_draws=100)
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=3)
    assert evaluate(rows, None, settings).equals(evaluate(mixed, None, settings))


def test_the_interval_of_very_many_groups_agrees_with_the_normal_one():
    margins = np.random.default_rng(4).normal(0.2, 1.0, GROUPS)
    settings = EvaluationSettings(beta=1.0, bootstrap_draws=5_000)
    found = evaluate(scored_pairs(margins.tolist()), None, settings, ["pair_accuracy"])
    row = found.row(by_predicate=pl.col("metric") == "accuracy", named=True)
    share = (margins > 0).mean()
    reach = 1.959964 * np.sqrt(share * (1 - share) / GROUPS)
    assert row["n_groups"] == GROUPS
    # Half the distance of two quantiles of 5,000 draws is known to 1.3%; four of that, and the sets' 0.7%.
    assert (row["ci_high"] - row["ci_low"]) / 2 == pytest.approx(reach, rel=0.06)
    assert row["standard_error"] == pytest.approx(reach / 1.959964, rel=0.03)


_EVALUATE = """
import sys
from thumbline.evaluators import EvaluationSettings, evaluate
from tests.benchmarks.bench_evaluators import scored_rows

settings = EvaluationSettings(bootstrap_draws=200, slice_columns=("turns", "votes"))
sys.stdout.write(repr(evaluate(*scored_rows(20_000, 9_000), settings).rows()))
"""


@pytest.mark.slow
def test_processes_with_other_numbers_of_threads_find_the_same_to_the_last_bit():
    found = set()
    for threads in ("1", "2"):
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), threads)
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", _EVALUATE], env={**os.environ, **limits, **paths}, capture_output=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1
    assert len(found.pop()) > 10_000
