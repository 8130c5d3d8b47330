"""Whether a predicted thumbs-up rate's interval holds the truth as often as it says, on answers whose truth is known.

Each simulated set (`tests/simulations.py`) has 400 votes of 200 prompt groups to fit the calibration on, and 120
prompts with three new answers of two models; one model's scores lie higher than the votes' did. The true rates are a
logistic curve of the score, or one with two plateaus that no logistic curve fits.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import special

from tests.answer_rows import answer_tables
from tests.simulations import DATA_SETS, is_stated
from tests.soaking import mostly_soaked
from thumbline.evaluators import EvaluationSettings
from thumbline.evaluators.answers import answers_of
from thumbline.evaluators.judge_score import drafts as score_drafts
from thumbline.evaluators.predicted_rate import drafts as rate_drafts
from thumbline.evaluators.types import Draft, Estimand, Metric
from thumbline.evaluators.uncertainty import intervals

pytestmark = pytest.mark.slow

DRAWS = 150
VOTES, PROMPTS, SAMPLES = 200, 120, 3
MOVED = {"untrained": 0.0, "trained": 0.6}  # how much higher each model's scores lie than the votes'
# A prompt's answers have half of their scores' variance in common.
SHARED = 0.5


def _logistic(scores: np.ndarray) -> np.ndarray:
    return special.expit(0.8 * scores - 0.4)


def _plateaus(scores: np.ndarray) -> np.ndarray:
    return 0.15 + 0.4 * special.expit(4 * (scores + 0.7)) + 0.35 * special.expit(6 * (scores - 1.2))


TRUTHS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"logistic": _logistic, "plateaus": _plateaus}


def _scores(generator: np.random.Generator, groups: int, each: int) -> np.ndarray:
    common = generator.normal(size=(groups, 1)) * np.sqrt(SHARED)
    return common + generator.normal(size=(groups, each)) * np.sqrt(1 - SHARED)


def _true_rate(truth: Callable[[np.ndarray], np.ndarray], moved: float) -> float:
    nodes, weights = np.polynomial.hermite_e.hermegauss(99)
    return float(truth(nodes + moved) @ weights / weights.sum())


def _votes(generator: np.random.Generator, truth: Callable[[np.ndarray], np.ndarray]) -> pl.DataFrame:
    scores = _scores(generator, VOTES, 2)
    # A prompt's two answers are judged by one mood: both draws of a thumb share a number half of the time.
    luck = np.where(generator.random((VOTES, 1)) < 0.5, generator.random((VOTES, 1)), generator.random((VOTES, 2)))
    up = (luck < truth(scores)).ravel()
    place = np.arange(up.size)
    return pl.DataFrame(
        {
            "response_id": pl.Series(place).cast(pl.String).str.zfill(4),
            "group_id": pl.Series(place // 2).cast(pl.String).str.zfill(4),
            "score": scores.ravel(),
            "label": up,
            "probability_desirable": up.astype(np.float64),
        }
    ).with_columns(
        split=pl.lit("validation"),
        weight=pl.lit(1.0),
        probability=pl.lit(0.5),
        token_count=pl.lit(5),
        prompt_id="group_id",
    )


def _coverage(truth: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    generator = np.random.default_rng(20260202)
    rates = {model: _true_rate(truth, moved) for model, moved in MOVED.items()}
    risen = rates["trained"] - rates["untrained"]
    held: dict[str, list[bool]] = {"rate": [], "rate_difference": [], "plain": [], "plain calibrated": []}
    for seed in range(DATA_SETS):
        settings = EvaluationSettings(bootstrap_draws=DRAWS, seed=seed, most_outside=1.0)
        prompts = _scores(generator, PROMPTS, 2 * SAMPLES)
        scores = {"untrained": prompts[:, :SAMPLES], "trained": prompts[:, SAMPLES:] + MOVED["trained"]}
        votes = _votes(generator, truth)
        tables = answer_tables({name: of.tolist() for name, of in scores.items()}, thumbs_scores=votes)
        drafts = rate_drafts(answers_of(tables, settings, "judge"), settings)
        found = _metrics(drafts, settings)
        held["rate"].append(_holds(found["rate", "trained"], rates["trained"]))
        held["rate_difference"].append(_holds(found["rate_difference", "trained"], risen))
        # The calibrated rates with their prompts' spread alone, as if the calibration were known.
        alone = _metrics([replace(one, also=None) for one in drafts if isinstance(one, Estimand)], settings)
        held["plain calibrated"].append(_holds(alone["rate", "trained"], rates["trained"]))
        # The score itself taken for a rate, as a judge's probability is.
        raw = answer_tables({name: special.expit(of).tolist() for name, of in scores.items()})
        plain = _metrics(score_drafts(answers_of(raw, settings), settings), settings)
        held["plain"].append(_holds(plain["mean_score", "trained"], rates["trained"]))
    return {name: float(np.mean(values)) for name, values in held.items()}


def _metrics(drafts: list[Draft], settings: EvaluationSettings) -> dict[tuple[str, str], Metric]:
    done = [draft for draft in drafts if isinstance(draft, Metric)]
    done += intervals([draft for draft in drafts if isinstance(draft, Estimand)], settings)
    return {(one.metric, one.model): one for one in done}


def _holds(metric: Metric, truth: float) -> bool:
    assert metric.ci_low is not None
    assert metric.ci_high is not None
    return metric.ci_low <= truth <= metric.ci_high


@pytest.fixture(scope="module", params=mostly_soaked(TRUTHS, ["plateaus"]))
def coverage(request: pytest.FixtureRequest) -> dict[str, float]:
    return _coverage(TRUTHS[request.param])


@pytest.mark.parametrize("name", ["rate", "rate_difference"])
def test_a_predicted_rate_is_held_as_often_as_its_interval_says(coverage, name):
    assert is_stated(coverage[name])


@pytest.mark.parametrize("name", ["plain", "plain calibrated"])
def test_an_interval_over_judges_scores_alone_would_claim_too_much(coverage, name):
    assert coverage[name] < 0.90
