"""Bradley-Terry ratings against statsmodels' logit of the same comparisons, and its errors clustered by group."""

import numpy as np
import pytest

from thumbline.evaluators import EvaluationSettings
from thumbline.evaluators.bradley_terry import Comparisons, rate
from thumbline.evaluators.groups import numbered

sm = pytest.importorskip("statsmodels.api")


@pytest.mark.parametrize("seed", range(3))
def test_ratings_and_their_errors_are_those_of_a_logit_without_a_constant(seed):
    generator = np.random.default_rng(seed)
    models, rows, groups = 6, 900, 150
    strength = generator.normal(size=models)
    first = generator.integers(models, size=rows)
    second = (first + generator.integers(1, models, size=rows)) % models
    chance = 1 / (1 + np.exp(strength[second] - strength[first]))
    preference = np.where(generator.random(rows) < 0.2, 0.5, generator.random(rows) < chance)
    number = np.concatenate([np.arange(groups), generator.integers(groups, size=rows - groups)])
    found = rate(
        Comparisons(first, second, preference, models, numbered(number, groups, 0)),
        0,
        EvaluationSettings(bootstrap_draws=100),
    )
    design = np.zeros((rows, models))
    design[np.arange(rows), first] += 1
    design[np.arange(rows), second] -= 1
    logit = sm.GLM(preference, design[:, 1:], family=sm.families.Binomial())
    fitted = logit.fit(cov_type="cluster", cov_kwds={"groups": number, "use_correction": False})
    assert np.allclose(found.log_odds[1:], fitted.params, atol=1e-6)
    assert np.allclose(found.errors[1:], fitted.bse * (groups / (groups - 1)) ** 0.5, rtol=1e-6)
