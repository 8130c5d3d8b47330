"""Users of the launch plan against statsmodels, and against tests that are simulated with users who vote alike."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from thumbline.evaluators.power import clustering, intraclass_correlation, power_at, votes_an_arm
from thumbline.pipeline.evidence.launch import launch_plan
from thumbline.pipeline.evidence.launch_basis import Stated

CASES = [(0.5, 0.05, 0.8), (0.7, 0.02, 0.9), (0.9, -0.03, 0.8), (0.02, 0.01, 0.9)]


@pytest.mark.parametrize(("rate", "difference", "power"), CASES)
def test_independent_votes_are_those_of_statsmodels(rate, difference, power):
    other = rate + difference
    spread = np.sqrt((rate * (1 - rate) + other * (1 - other)) / 2)
    expected = NormalIndPower().solve_power(abs(difference) / spread, power=power, alpha=0.05)
    assert votes_an_arm(rate, difference, power) == pytest.approx(expected, rel=1e-4)
    assert power_at(rate, difference, expected) == pytest.approx(power, abs=1e-6)


@pytest.mark.parametrize(("rate", "difference", "power"), CASES[:2])
def test_the_arcsine_effect_size_asks_for_nearly_as_many(rate, difference, power):
    effect = proportion_effectsize(rate + difference, rate)
    expected = NormalIndPower().solve_power(effect, power=power, alpha=0.05)
    assert votes_an_arm(rate, difference, power) == pytest.approx(expected, rel=0.01)


def test_the_correlation_is_that_of_statsmodels_analysis_of_variance():
    generator = np.random.default_rng(4)
    votes = generator.integers(1, 9, 60).astype(float)
    up = generator.binomial(votes.astype(int), generator.beta(2, 1, 60)).astype(float)
    rows = [(user, mark) for user in range(60) for mark in [1] * int(up[user]) + [0] * int(votes[user] - up[user])]
    users, marks = zip(*rows, strict=True)
    table = anova_lm(ols("mark ~ C(user)", pd.DataFrame({"mark": marks, "user": users})).fit())
    between, within = table["mean_sq"]
    usual = (votes.sum() - (votes**2).sum() / votes.sum()) / 59
    expected = (between - within) / (between + (usual - 1) * within)
    assert intraclass_correlation(up, votes) == pytest.approx(expected, rel=1e-9)


def simulated_power(generator, rate, difference, icc, users, most_votes, tests=4000):
    """Share of tests, with a standard error clustered by user, that find the difference at the level of 5%."""
    shares, variances = [], []
    for mean in (rate, rate + difference):
        scale = 1 / icc - 1
        votes = generator.integers(1, most_votes + 1, (tests, users))
        up = generator.binomial(votes, generator.beta(mean * scale, (1 - mean) * scale, (tests, users)))
        share = up.sum(1) / votes.sum(1)
        spread = ((up - share[:, None] * votes) ** 2).sum(1) * users / (users - 1)
        shares.append(share)
        variances.append(spread / votes.sum(1) ** 2)
    return float(np.mean(np.abs(shares[1] - shares[0]) / np.sqrt(sum(variances)) > 1.959964))


@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize(("rate", "difference", "icc"), [(0.7, 0.05, 0.2), (0.4, 0.1, 0.05), (0.85, -0.05, 0.4)])
def test_clustered_users_have_the_planned_power(rate, difference, icc, power):
    # One to seven votes a user, each as likely: mean 4, standard deviation 2.
    stated = Stated(base_rate=rate, votes_per_user=4.0, variation=0.5, icc=icc)
    need = launch_plan(None, None, stated, difference=difference, powers=[power]).needs[0]
    found = simulated_power(np.random.default_rng(7), rate, difference, icc, need.users_per_arm, 7)
    assert found == pytest.approx(power, abs=0.02)


def test_the_measured_design_effect_is_that_of_the_users():
    generator = np.random.default_rng(3)
    votes = generator.integers(1, 8, 40_000)
    up = generator.binomial(votes, generator.beta(0.7 * 4, 0.3 * 4, votes.size))
    found = clustering(up.astype(float), votes.astype(float))
    # A beta of sum 4 has correlation 1 / 5; mean 4 and variance 4 of votes: 1 + (4 + 1 - 1) / 5.
    assert found.icc == pytest.approx(0.2, abs=0.01)
    assert found.design_effect == pytest.approx(1.8, rel=0.02)
