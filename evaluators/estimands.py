"""Estimands that most evaluators are made of: means, and what is the same for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .groups import BoolArray, Groups
from .types import Estimand, EvaluationSettings, FloatArray, Metric

ONE_GROUP = "one prompt group: no interval can be given"
ONE_GROUP_OF_A_KIND = "all rows of one kind are of one prompt group: no interval can be given"


def share(totals: FloatArray) -> FloatArray:
    """First column over second: a mean of rows from sums and counts."""
    return np.asarray(totals[..., 0] / totals[..., 1])


def mean_of_two_shares(totals: FloatArray) -> FloatArray:
    """The mean of the first column over the second and the third over the fourth."""
    return np.asarray(0.5 * (totals[..., 0] / totals[..., 1] + totals[..., 2] / totals[..., 3]))


def ratio_of_means(totals: FloatArray) -> FloatArray:
    """The first column over the second, over the third over the fourth."""
    return np.asarray(totals[..., 0] / totals[..., 1] / (totals[..., 2] / totals[..., 3]))


def difference_of_means(totals: FloatArray) -> FloatArray:
    """The first column over the second less the third over the fourth."""
    return np.asarray(totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3])


@dataclass(frozen=True)
class Source:
    """Who computes a number, and of which model: what every metric of it has in common.

    Attributes:
        evaluator: Name of the evaluator.
        version: Its version.
        model: The model.
        groups: Prompt groups of the rows.
        compared_with: The other model of a comparison.
        judge: Who judged the answers that it is about.
    """

    evaluator: str
    version: int
    model: str
    groups: Groups
    compared_with: str | None = None
    judge: str | None = None

    def mean(
        self,
        metric: str,
        values: FloatArray,
        unit: str,
        rows: BoolArray | None = None,
        n: int | None = None,
        **more: Any,
    ) -> Estimand:
        """The mean of row values, or of those of some rows.

        Args:
            metric: Its name.
            values: (rows,) values.
            unit: Their unit; a `share` is given an exact interval at 0 and 1.
            rows: (rows,) which count; None for all.
            n: What the rows are made of, in number: the answers of prompts, say; None for the rows themselves.
            more: Other fields of the estimand.
        """
        n_groups = self.groups.present(rows)
        return Estimand(
            evaluator=self.evaluator,
            version=self.version,
            metric=metric,
            model=self.model,
            unit=unit,
            columns=[self.groups.unit_sums(values, rows), self.groups.unit_counts(rows)],
            formula=share,
            n=n if n is not None else values.shape[0] if rows is None else int(np.count_nonzero(rows)),
            n_groups=n_groups,
            fewest=n_groups,
            compared_with=self.compared_with,
            judge=self.judge,
            **more,
        )

    def two_means(
        self, metric: str, values: tuple[FloatArray, FloatArray], rows: tuple[BoolArray, BoolArray], **fields: Any
    ) -> Estimand:
        """A number made of the means of two kinds of rows.

        Args:
            metric: Its name.
            values: (rows,) values of the first kind and of the second.
            rows: (rows,) which are of the first kind, which of the second.
            fields: Other fields of the estimand; `unit` and `formula` are needed.
        """
        first, second = rows
        return Estimand(
            evaluator=self.evaluator,
            version=self.version,
            metric=metric,
            model=self.model,
            columns=[
                column
                for value, kind in zip(values, rows, strict=True)
                for column in (self.groups.unit_sums(value, kind), self.groups.unit_counts(kind))
            ],
            n=int(np.count_nonzero(first | second)),
            n_groups=self.groups.present(first | second),
            fewest=min(self.groups.present(first), self.groups.present(second)),
            compared_with=self.compared_with,
            judge=self.judge,
            **fields,
        )

    def metric(self, name: str, value: float | None, unit: str, reason: str | None = None, **more: Any) -> Metric:
        """A finished metric of all rows, or of those that `more` says.

        Args:
            name: Its name.
            value: Its value; None where there is none.
            unit: Its unit.
            reason: Why there is no value or no interval, or what to beware of.
            more: Other fields of the metric, in place of those of all rows.
        """
        fields: dict[str, Any] = {
            "evaluator": self.evaluator,
            "version": self.version,
            "metric": name,
            "model": self.model,
            "compared_with": self.compared_with,
            "slice": None,
            "value": value,
            "ci_low": None,
            "ci_high": None,
            "n": self.groups.number.shape[0],
            "n_groups": self.groups.present(),
            "unit": unit,
            "reason": reason,
            "judge": self.judge,
        }
        return Metric(**(fields | more))


def small_slice(groups: int, settings: EvaluationSettings) -> str | None:
    """The mark of a slice of few prompt groups; None for a larger one."""
    few = groups < settings.small_slice_groups
    return f"small slice: fewer than {settings.small_slice_groups} prompt groups" if few else None
