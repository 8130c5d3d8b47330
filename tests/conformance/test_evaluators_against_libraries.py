"""The evaluators against libraries and against slow, plain computations of the same numbers."""

from math import sqrt

import numpy as np
import polars as pl
import pytest
from scipy import special, stats
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, log_loss, roc_auc_score

from tests.evaluator_rows import clustered_margins, metric, metrics_of, scored_pairs, scored_unpaired
from thumbline.evaluators import EvaluationSettings


def clustered_pairs(seed: int, groups: int = 40, model: str = "trained") -> pl.DataFrame:
    """Pairs whose groups have 1 to 6 pairs and half of the variance in common; the groups depend on no seed."""
    number = clustered_margins(np.random.default_rng(1), groups, rows=(1, 6), shared=0.5)[1]
    generator = np.random.default_rng(seed)
    margins = generator.normal(size=groups)[number] + generator.normal(size=number.size) + 0.4
    return scored_pairs(margins.tolist(), [f"g{place:03}" for place in number], model=model)


def margins_of(rows: pl.DataFrame) -> np.ndarray:
    return (rows["policy_chosen_logps"] - rows["policy_rejected_logps"]).to_numpy()


@pytest.mark.parametrize("decimals", [0, 1, 12])  # whole numbers tie often, twelve decimals never
@pytest.mark.parametrize("seed", range(5))
def test_auc_is_that_of_scikit_learn(seed, decimals):
    generator = np.random.default_rng(seed)
    ups, downs = generator.normal(0.7, 1.5, 60).round(decimals), generator.normal(0, 1.5, 90).round(decimals)
    found = metric(metrics_of("unpaired_auc", unpaired=scored_unpaired(ups.tolist(), downs.tolist())), "auc")
    # The rewards as computed from log-probs: a margin of 0.7 added to -10 and taken off again is not 0.7 exactly.
    rewards = np.concatenate([ups, downs]) - 10.0 + 10.0
    assert found["value"] == pytest.approx(roc_auc_score([1] * 60 + [0] * 90, rewards), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_brier_and_log_loss_are_those_of_scikit_learn(seed):
    rows = clustered_pairs(seed)
    found = metrics_of("calibration", rows)
    # scikit-learn scores P(first answer is better); every second pair is shown with rejected first.
    turned = np.arange(rows.height) % 2 == 1
    probability = special.expit(np.where(turned, -margins_of(rows), margins_of(rows)))
    assert metric(found, "brier")["value"] == pytest.approx(brier_score_loss(~turned, probability), rel=1e-12)
    assert metric(found, "log_loss")["value"] == pytest.approx(log_loss(~turned, probability), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_ece_and_the_curve_are_those_of_scikit_learn(seed):
    rows = clustered_pairs(seed, groups=200)
    margins = margins_of(rows)
    probability = special.expit(margins)
    confidence, right = np.maximum(probability, 1 - probability), margins > 0
    # Twenty bins of [0, 1] are ten of [0.5, 1], where confidence lies.
    accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=20, strategy="uniform")
    sizes = np.histogram(confidence, bins=np.linspace(0, 1, 21))[0]
    sizes = sizes[sizes > 0]
    found = metrics_of("calibration", rows)
    expected = float((sizes * np.abs(accuracy - mean_confidence)).sum() / sizes.sum())
    assert metric(found, "ece")["value"] == pytest.approx(expected, abs=1e-12)
    for name, values in (("accuracy", accuracy), ("confidence", mean_confidence)):
        curve = found.filter(pl.col("metric") == f"reliability_{name}")
        assert curve["value"].to_list() == pytest.approx(values.tolist(), abs=1e-12)
        assert curve["n"].to_list() == sizes.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_the_temperature_is_that_of_logistic_regression(seed):
    rows = clustered_pairs(seed)
    margins = margins_of(rows)
    # Each pair seen from both sides: without an intercept the slope is 1/T.
    both = np.concatenate([margins, -margins])[:, None]
    labels = np.repeat([1, 0], margins.size)
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000).fit(both, labels)
    found = metric(metrics_of("calibration", rows), "temperature")
    assert found["value"] == pytest.approx(1 / fitted.coef_[0, 0], rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_balanced_accuracy_is_that_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    ups, downs = generator.normal(0.7, 1.5, 60), generator.normal(0, 1.5, 90)
    found = metrics_of("unpaired_auc", unpaired=scored_unpaired(ups.tolist(), downs.tolist()))
    rewards, labels = np.concatenate([ups, downs]), np.repeat([1, 0], [60, 90])
    assert metric(found, "balanced_accuracy_zero")["value"] == pytest.approx(
        balanced_accuracy_score(labels, rewards > 0), abs=1e-12
    )
    best = max(balanced_accuracy_score(labels, rewards > threshold) for threshold in [-99.0, *rewards])
    assert metric(found, "balanced_accuracy_best")["value"] == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_bootstrap_is_that_of_scipy_where_a_row_is_a_group(seed):
    generator = np.random.default_rng(seed)
    after, before = (
        scored_pairs(generator.normal(0.3, 1, 300).tolist(), model=name) for name in ("trained", "untrained")
    )
    settings = EvaluationSettings(beta=1.0, bootstrap_draws=5_000)
    found = metrics_of("comparison", pl.concat([after, before]), settings=settings)
    difference = margins_of(after) - margins_of(before)
    expected = stats.bootstrap((difference,), np.mean, n_resamples=5_000, method="percentile", rng=seed)
    row = metric(found, "margin_difference")
    # An end of 5,000 draws has a standard error of sqrt(0.025 * 0.975 / 5000) / 0.0584 = 0.038 of their deviation; the
    # difference of two is within 4 sqrt(2) of that, 0.21. Of 300 groups the ends are 0.5% further out: 0.01.
    within = 0.22 * expected.standard_error
    assert row["ci_low"] == pytest.approx(expected.confidence_interval.low, abs=within)
    assert row["ci_high"] == pytest.approx(expected.confidence_interval.high, abs=within)
    assert row["standard_error"] == pytest.approx(float(stats.sem(difference)), rel=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_test_by_group_is_scipys_permutation_test(seed):
    trained, untrained = clustered_pairs(seed, groups=10), clustered_pairs(seed + 100, groups=10, model="untrained")
    sums: dict[str, float] = {}
    for group, a, b in zip(trained["group_id"], margins_of(trained), margins_of(untrained), strict=True):
        sums[group] = sums.get(group, 0.0) + float(a > 0) - float(b > 0)
    expected = stats.permutation_test(
        (np.array(list(sums.values())),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    found = metric(metrics_of("comparison", pl.concat([trained, untrained])), "sign_flip_p")
    # scipy doubles the smaller tail, which for a symmetric distribution is both tails, cut at 1.
    assert found["value"] == pytest.approx(min(1.0, expected.pvalue), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_scipys_exact_binomial_test(seed):
    trained, untrained = clustered_pairs(seed), clustered_pairs(seed + 100, model="untrained")
    right, before = margins_of(trained) > 0, margins_of(untrained) > 0
    better, worse = int((right & ~before).sum()), int((~right & before).sum())
    found = metric(metrics_of("comparison", pl.concat([trained, untrained])), "mcnemar_p")
    assert found["value"] == pytest.approx(stats.binomtest(better, better + worse, 0.5).pvalue, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_clustered_standard_error_is_that_of_plain_loops(seed):
    trained, untrained = clustered_pairs(seed), clustered_pairs(seed + 100, model="untrained")
    after, before = margins_of(trained), margins_of(untrained)
    differences = [float(a > 0) - float(b > 0) for a, b in zip(after, before, strict=True)]
    mean = sum(differences) / len(differences)
    sums: dict[str, float] = {}
    for group, difference in zip(trained["group_id"], differences, strict=True):
        sums[group] = sums.get(group, 0.0) + difference - mean
    error = sqrt(len(sums) / (len(sums) - 1) * sum(value**2 for value in sums.values())) / len(differences)
    found = metric(metrics_of("comparison", pl.concat([trained, untrained])), "minimum_detectable_effect")
    quantiles = stats.t.ppf(0.975, len(sums) - 1) + stats.t.ppf(0.8, len(sums) - 1)
    assert found["value"] == pytest.approx(quantiles * error, rel=1e-10)
    told = metric(metrics_of("comparison", pl.concat([trained, untrained])), "accuracy_difference")
    assert told["standard_error"] == pytest.approx(error, rel=1e-8)


def test_the_standard_error_of_auc_is_that_of_plain_loops():
    generator = np.random.default_rng(4)
    ups, downs = generator.integers(-2, 5, 30).tolist(), generator.integers(-4, 3, 20).tolist()
    groups = [f"g{place}" for place in generator.integers(0, 12, 50)]
    wins = {(i, j): 1.0 if u > d else 0.5 if u == d else 0.0 for i, u in enumerate(ups) for j, d in enumerate(downs)}
    auc = sum(wins.values()) / len(wins)
    sums = dict.fromkeys(groups, 0.0)
    for place in range(30):
        sums[groups[place]] += (sum(wins[place, other] for other in range(20)) / 20 - auc) / 30
    for place in range(20):
        sums[groups[30 + place]] += (sum(wins[other, place] for other in range(30)) / 30 - auc) / 20
    fewest = min(len(set(groups[:30])), len(set(groups[30:])))
    error = sqrt(fewest / (fewest - 1) * sum(value**2 for value in sums.values()))
    found = metric(metrics_of("unpaired_auc", unpaired=scored_unpaired(ups, downs, groups)), "auc")
    reach = stats.t.ppf(0.975, fewest - 1) * error
    expected = (auc, auc - reach, min(1.0, auc + reach))
    assert (found["value"], found["ci_low"], found["ci_high"]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_difference_of_auc_is_delongs(seed):
    generator = np.random.default_rng(seed)
    size = 60
    rewards = {
        name: generator.normal(size=(2, size)) + np.array([[shift], [0.0]]) for name, shift in (("a", 1.0), ("b", 0.5))
    }
    tables = [scored_unpaired(ups.tolist(), downs.tolist(), model=name) for name, (ups, downs) in rewards.items()]
    above = {name: (ups[:, None] > downs[None, :]).astype(float) for name, (ups, downs) in rewards.items()}
    # DeLong et al. (1988): the variances of the two classes' placements, each over its size.
    of_ups, of_downs = (above["b"].mean(axis=axis) - above["a"].mean(axis=axis) for axis in (1, 0))
    expected = sqrt(of_ups.var(ddof=1) / size + of_downs.var(ddof=1) / size)
    found = metric(metrics_of("unpaired_comparison", unpaired=pl.concat(tables)), "auc_difference", "b")
    assert found["value"] == pytest.approx(above["b"].mean() - above["a"].mean(), abs=1e-12)
    assert found["standard_error"] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("evaluator", "name"), [("pair_accuracy", "accuracy"), ("reward_margin", "mean")])
def test_the_group_bootstrap_is_that_of_resampled_rows(evaluator, name):
    rows = clustered_pairs(7)
    of_group = rows.with_columns(margin=margins_of(rows)).group_by("group_id", maintain_order=True).agg("margin")
    members = [list(values) for values in of_group["margin"]]
    generator = np.random.default_rng(99)
    drawn = []
    for _ in range(4_000):
        margins = [margin for place in generator.integers(len(members), size=len(members)) for margin in members[place]]
        values = [float(margin > 0) for margin in margins] if name == "accuracy" else margins
        drawn.append(sum(values) / len(values))
    settings = EvaluationSettings(beta=1.0, bootstrap_draws=4_000)
    found = metric(metrics_of(evaluator, rows, settings=settings), name)
    # An end of the interval is a 2.5% quantile of 4,000 draws: its standard error is
    # sqrt(0.025 * 0.975 / 4000) / density = 0.0025 / 0.0584 = 0.042 of the draws' standard deviation.
    # The difference of two such ends is within 4 * sqrt(2) * 0.042 = 0.24 of it.
    within = 0.24 * float(np.std(drawn))
    assert found["ci_low"] == pytest.approx(float(np.quantile(drawn, 0.025)), abs=within)
    assert found["ci_high"] == pytest.approx(float(np.quantile(drawn, 0.975)), abs=within)
