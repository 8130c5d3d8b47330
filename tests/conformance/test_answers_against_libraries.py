"""Metrics of sampled answers against scikit-learn, scipy and, where its package is installed, alpaca_eval."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import special, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.answer_rows import answer_metrics, answer_tables
from tests.evaluator_rows import metric
from thumbline.evaluators import EvaluationSettings
from thumbline.evaluators.groups import numbered
from thumbline.evaluators.length_control import length_controlled

PAIRS = 805  # as many as AlpacaEval has instructions


def judged(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Preferences, which are shares for odd seeds, of pairs whose longer answer is liked better, and the lengths."""
    generator = np.random.default_rng(seed)
    differences = generator.normal(120, 600, PAIRS).round()
    liking = 0.3 * generator.normal() + 0.9 * np.tanh(differences / differences.std())
    chance = special.expit(liking + generator.normal(0, 0.7, PAIRS))
    if seed % 2:
        return np.clip(chance + generator.normal(0, 0.15, PAIRS), 0, 1), differences
    return (generator.random(PAIRS) < chance).astype(np.float64), differences


def ours(preferences: np.ndarray, differences: np.ndarray) -> float:
    groups = numbered(np.arange(PAIRS), PAIRS, 0)
    found = length_controlled(preferences, differences, np.ones(PAIRS), groups, EvaluationSettings()).value
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_length_controlled_rate_is_that_of_scikit_learns_model(seed):
    preferences, differences = judged(seed)
    design = np.column_stack([np.tanh(differences / differences.std(ddof=1)), np.ones(PAIRS)])
    # A share is a row of each label, weighed by it.
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    labels, weights = np.repeat([1, 0], PAIRS), np.concatenate([preferences, 1 - preferences])
    model.fit(np.vstack([design, design]), labels, sample_weight=weights)
    assert ours(preferences, differences) == pytest.approx(special.expit(model.coef_[0][1]), abs=1e-6)


@pytest.mark.parametrize(
    ("choices", "within"), [({"n_splits": 0, "C": 100}, 1e-4), ({"n_splits": 5}, 0.005)], ids=["C=100", "as published"]
)
@pytest.mark.parametrize("seed", range(5))
def test_the_length_controlled_rate_is_that_of_alpaca_eval(seed, choices, within):
    theirs = pytest.importorskip("alpaca_eval.metrics.glm_winrate")
    pandas = pytest.importorskip("pandas")
    preferences, differences = judged(seed)
    rows = pandas.DataFrame(
        {"preference": preferences, "std_delta_len": differences / differences.std(ddof=1), "not_gamed_baseline": True}
    )
    # Their formula without the difficulty of each instruction, which their own file has.
    formula = "np.tanh(std_delta_len) + not_gamed_baseline.astype(float) - 1"
    train, test = theirs.make_dmatrix_for_model(rows, rows.assign(std_delta_len=0).drop(columns="preference"), formula)
    model = theirs.fit_LogisticRegressionCV(train, "preference", is_ytrue_proba=True, **choices)
    # Their penalty, or the one that they choose by cross-validation, draws theirs in a little.
    assert ours(preferences, differences) == pytest.approx(model.predict_proba(test)[:, 1].mean(), abs=within)


def scores(seed: int, decimals: int) -> dict[str, list[list[float]]]:
    generator = np.random.default_rng(seed)
    return {
        "trained": generator.normal(0.2, 1, (40, 4)).round(decimals).tolist(),
        "untrained": generator.normal(0.0, 1, (40, 4)).round(decimals).tolist(),
    }


@pytest.mark.parametrize("decimals", [0, 12])  # whole numbers tie often, twelve decimals never
def test_a_prompts_win_rate_is_its_auc_and_its_mann_whitney_u(decimals):
    given = scores(3, decimals)
    found = metric(answer_metrics(answer_tables(given)), "win_rate")["value"]
    pairs = list(zip(given["trained"], given["untrained"], strict=True))
    assert found == pytest.approx(np.mean([roc_auc_score([1] * 4 + [0] * 4, a + b) for a, b in pairs]), abs=1e-12)
    assert found == pytest.approx(np.mean([stats.mannwhitneyu(a, b).statistic / 16 for a, b in pairs]), abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 1])
def test_the_test_by_prompt_is_scipys_permutation_test(decimals):
    given = {name: values[:12] for name, values in scores(5, decimals).items()}
    found = metric(answer_metrics(answer_tables(given)), "score_difference_p")["value"]
    means = [np.mean(np.array(given[name]), axis=1) for name in ("trained", "untrained")]
    difference: Callable[..., float] = lambda a, b: np.sum(a - b)  # noqa: E731
    expected = stats.permutation_test(means, difference, permutation_type="samples", n_resamples=np.inf)
    assert found == pytest.approx(expected.pvalue, abs=1e-9)
