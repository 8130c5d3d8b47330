"""What a test of two shares takes: votes and users for a difference, where the votes of one user resemble each other.

Users are given one of two models at random, and the shares of thumbs up among their votes are compared with a standard
error clustered by user.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from .types import EvaluationError, FloatArray


class Clustering(NamedTuple):
    """How votes lie with users.

    Attributes:
        users: Users with at least one vote.
        votes: Their votes.
        rate: Share of thumbs up among the votes.
        votes_a_user: Mean votes of a user.
        variation: Standard deviation of votes of a user over their mean.
        repeating: Users with two votes or more, who alone say how alike the votes of one user are.
        icc: Intra-class correlation of the votes of one user; None where nobody voted twice or all votes are alike.
        design_effect: Variance of the share over that of as many votes of as many users, at least 1.
    """

    users: int
    votes: int
    rate: float
    votes_a_user: float
    variation: float
    repeating: int
    icc: float | None
    design_effect: float


def clustering(up: FloatArray, votes: FloatArray) -> Clustering:
    """How the votes of users lie.

    The design effect is that of the share as a ratio of two sums over users, so that it holds too where those who vote
    often vote otherwise than the rest. Source: Kish (1965), "Survey sampling", section 6.

    Args:
        up: (users,) thumbs up of each user.
        votes: (users,) votes of each user, at least 1.

    Raises:
        EvaluationError: There is no user, a user has no vote, or more thumbs up than votes.
    """
    if not votes.shape[0] or votes.min() < 1 or np.any((up < 0) | (up > votes)):
        raise EvaluationError("clustering: every user needs a vote or more, and no more thumbs up than votes")
    users, total = votes.shape[0], float(votes.sum())
    rate = float(up.sum()) / total
    return Clustering(
        users=users,
        votes=int(total),
        rate=rate,
        votes_a_user=total / users,
        variation=float(votes.std()) * users / total,
        repeating=int(np.count_nonzero(votes > 1)),
        icc=intraclass_correlation(up, votes),
        design_effect=_measured_effect(up, votes, rate),
    )


def intraclass_correlation(up: FloatArray, votes: FloatArray) -> float | None:
    """Correlation of two votes of one user, by the analysis of variance; below 0 where they differ more than by chance.

    Args:
        up: (users,) thumbs up of each user.
        votes: (users,) votes of each user, at least 1.

    Returns:
        None where it is not determined: one user, no user of two votes, or votes that are all alike.

    Source: Ridout, Demetrio and Firth (1999), "Estimating intraclass correlation for binary data", the ANOVA estimator.
    """
    users, total = votes.shape[0], float(votes.sum())
    if users < 2 or total <= users:
        return None
    shares, rate = up / votes, float(up.sum()) / total
    between = float((votes * (shares - rate) ** 2).sum()) / (users - 1)
    within = float((up * (1.0 - shares)).sum()) / (total - users)
    usual = (total - float((votes**2).sum()) / total) / (users - 1)
    below = between + (usual - 1.0) * within
    return (between - within) / below if below > 0 else None


def stated_effect(votes_a_user: float, variation: float, icc: float) -> float:
    """Design effect of votes that all correlate alike within a user: 1 + ((1 + variation^2) votes - 1) icc, at least 1.

    Source: Eldridge, Ashby and Kerry (2006), "Sample size for cluster randomized trials: effect of coefficient of
    variation of cluster size and analysis method", for an analysis that weighs each vote alike.
    """
    return max(1.0, 1.0 + ((1.0 + variation**2) * votes_a_user - 1.0) * icc)


def votes_an_arm(rate: float, difference: float, power: float, alpha: float = 0.05) -> float:
    """Independent votes that each of two arms needs, for a two-sided test with separate variances.

    Args:
        rate: Share of thumbs up of the first arm, in (0, 1).
        difference: What the second arm has more (or less), not 0; its share is in (0, 1) too.
        power: Chance to find the difference, in (alpha, 1).
        alpha: Level of the test, in (0, 1).

    Raises:
        EvaluationError: A number is outside its range.

    Source: Fleiss, Levin and Paik (2003), "Statistical methods for rates and proportions", section 4.2, with the
    unpooled variance, which is what a standard error clustered by user amounts to where each user has one vote.
    """
    _check(rate, difference, power, alpha)
    reach = float(special.ndtri(power) - special.ndtri(alpha / 2.0))
    return reach**2 * _variances(rate, difference) / difference**2


def power_at(rate: float, difference: float, votes: float, alpha: float = 0.05) -> float:
    """Chance that a test with so many independent votes an arm finds the difference, on either side."""
    distance = abs(difference) / math.sqrt(_variances(rate, difference) / votes)
    reach = -float(special.ndtri(alpha / 2.0))
    return float(special.ndtr(distance - reach) + special.ndtr(-reach - distance))


def _variances(rate: float, difference: float) -> float:
    other = rate + difference
    return float(rate * (1.0 - rate) + other * (1.0 - other))


def _check(rate: float, difference: float, power: float, alpha: float) -> None:
    rules = {
        f"a rate of {rate:g}": 0 < rate < 1,
        f"a difference of {difference:g} from {rate:g}": difference != 0 and 0 < rate + difference < 1,
        f"a level of {alpha:g}": 0 < alpha < 1,
        f"a power of {power:g}": alpha < power < 1,
    }
    bad = [what for what, good in rules.items() if not good]
    if bad:
        raise EvaluationError(f"test of two shares: {', '.join(bad)} cannot be; shares, level and power lie in (0, 1)")


def _measured_effect(up: FloatArray, votes: FloatArray, rate: float) -> float:
    users, alone = votes.shape[0], float(votes.sum()) * rate * (1.0 - rate)
    if users < 2 or alone == 0.0:
        return 1.0
    return max(1.0, float(((up - rate * votes) ** 2).sum() / alone * users / (users - 1)))
