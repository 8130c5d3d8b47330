"""Scores to rates: by hand, against scikit-learn, and what is refused."""

import math

import numpy as np
import pytest

from thumbline.evaluators.rate_calibration import Calibration, fit_calibration, why_not_calibrated


def sample(rows=400, seed=0):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=rows)
    labels = (generator.random(rows) < 1 / (1 + np.exp(-2 * scores - 0.5))).astype(float)
    return scores, labels, generator.random(rows) + 0.1


def logit(rate):
    return math.log(rate / (1 - rate))


def test_platt_by_hand():
    # Two scores: the curve passes through the mean target of each. Of 20 ups and 12 downs targets are 21/22 and 1/14.
    scores = np.array([0.0] * 16 + [1.0] * 16)
    labels = np.array([1.0] * 6 + [0.0] * 10 + [1.0] * 14 + [0.0] * 2)
    found = fit_calibration(scores, labels)
    low, high = (6 * 21 / 22 + 10 / 14) / 16, (14 * 21 / 22 + 2 / 14) / 16
    assert found.intercept == pytest.approx(logit(low))
    assert found.slope == pytest.approx(logit(high) - logit(low))
    assert found.rate(np.array([0.0, 1.0])).tolist() == pytest.approx([low, high])
    assert (found.rows, found.lowest, found.highest) == (32, 0.0, 1.0)


def test_isotonic_by_hand():
    # 0.0: 1 of 5; 1.0: 3 of 5; 2.0: 2 of 5, pooled with the one before; 3.0: 4 of 5.
    ups = {0.0: 1, 1.0: 3, 2.0: 2, 3.0: 4}
    scores = np.repeat(list(ups), 5)
    labels = np.concatenate([np.arange(5) < up for up in ups.values()]).astype(float)
    found = fit_calibration(scores, labels, kind="isotonic")
    expected = [0.2, 0.2, 0.35, 0.5, 0.5, 0.65, 0.8, 0.8]
    asked = np.array([-9.0, 0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 9.0])
    assert found.rate(asked).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e-4])
def test_platt_is_scikit_learns(weighted, scale):
    calibration = pytest.importorskip("sklearn.calibration")
    scores, labels, weights = sample()
    weights = weights if weighted else None
    slope, intercept = calibration._sigmoid_calibration(scores * scale, labels, weights)
    found = fit_calibration(scores * scale, labels, weights)
    # Theirs stops where its gradient is below 1e-6.
    expected = 1 / (1 + np.exp(slope * scores * scale + intercept))
    np.testing.assert_allclose(found.rate(scores * scale), expected, atol=2e-4 if scale < 1 else 1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_isotonic_is_scikit_learns(weighted):
    isotonic = pytest.importorskip("sklearn.isotonic")
    scores, labels, weights = sample()
    scores = scores.round(1)  # ties
    weights = weights if weighted else None
    theirs = isotonic.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, labels, weights)
    asked = np.linspace(-6, 6, 241)
    found = fit_calibration(scores, labels, weights, "isotonic").rate(asked)
    np.testing.assert_allclose(found, theirs.predict(asked), atol=1e-12)


def test_platt_finds_the_curve_that_made_the_labels():
    scores, labels, _ = sample(rows=100_000)
    found = fit_calibration(scores, labels)
    assert (found.slope, found.intercept) == (pytest.approx(2.0, abs=0.05), pytest.approx(0.5, abs=0.05))


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_a_soft_label_is_so_many_rows_of_each_kind(kind):
    scores = np.arange(12.0)
    soft = np.linspace(0.1, 0.9, 12)
    hard = np.concatenate([np.ones(12), np.zeros(12)])
    split = fit_calibration(np.tile(scores, 2), hard, np.concatenate([soft, 1 - soft]), kind)
    np.testing.assert_allclose(fit_calibration(scores, soft, kind=kind).rate(scores), split.rate(scores), atol=1e-9)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_order_changes_nothing_and_json_keeps_every_digit(kind):
    scores, labels, weights = sample(60)
    found = fit_calibration(scores, labels, weights, kind)
    read = Calibration.from_json(found.to_json())
    assert read == found
    turned = fit_calibration(scores[::-1], labels[::-1], weights[::-1], kind)
    np.testing.assert_allclose(turned.rate(scores), found.rate(scores), atol=1e-12)
    assert np.all(np.diff(found.rate(np.sort(scores))) >= 0)


def test_separable_and_constant_scores_have_a_finite_curve():
    labels = np.array([0.0] * 10 + [1.0] * 10)
    apart = fit_calibration(np.where(labels > 0, 3.0, -3.0), labels).rate(np.array([-3.0, 3.0]))
    # As if one more vote of each kind had been seen.
    assert apart.tolist() == pytest.approx([1 / 12, 11 / 12], abs=1e-6)
    assert fit_calibration(np.full(20, 7.0), labels).rate(np.array([0.0, 7.0])).tolist() == pytest.approx([0.5, 0.5])


def test_too_few_votes_of_a_kind_are_refused_in_words():
    labels = np.array([1.0] * 30 + [0.0] * 4)
    assert why_not_calibrated(labels) == (
        "30 thumbs up and 4 down are labelled, and 5 of each are the least for a curve"
    )
    with pytest.raises(ValueError, match="no calibration: 30 thumbs up and 4 down"):
        fit_calibration(np.arange(34.0), labels)
    assert why_not_calibrated(np.array([1.0, 0.0] * 5)) is None
    assert why_not_calibrated(np.array([1.0, 0.0] * 5), np.array([1.0] * 9 + [0.0])) is not None


def test_wrong_values_are_refused_with_a_row():
    labels = np.array([1.0, 0.0] * 10)
    scores = np.arange(20.0)
    scores[3] = np.nan
    with pytest.raises(ValueError, match=r"1 of 20 rows have a score that is not finite.*first: row 3"):
        fit_calibration(scores, labels)
    with pytest.raises(ValueError, match="differ in shape"):
        fit_calibration(np.arange(3.0), labels)
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.from_json('{"kind": "platt"}')
