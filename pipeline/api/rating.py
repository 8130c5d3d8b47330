"""Judged pairs to win rates and ratings, from Python."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from . import view
from .arguments import check_numbers, check_texts, check_whole
from .given import Table, as_frame

if TYPE_CHECKING:
    # Imported where they are used: `import thumbline` should not wait for what is not called.
    from ..evaluation.judged import JudgedOutcome
    from ..report.ratings import RatingsFacts

_ORIGIN: Final = "thumbline.ratings(...)"


class Ratings:
    """Ratings of models from judged pairs.

    Attributes:
        verdict: What the page says in its first sentence.
        metrics: Every number with its interval: one row a judge, metric and model.
        notes: What was read, and what was not.
    """

    def __init__(self, outcome: "JudgedOutcome", facts: "RatingsFacts") -> None:
        """Keep what was computed."""
        self._outcome, self._facts = outcome, facts
        self.verdict, self.metrics, self.notes = facts.sentence, outcome.metrics, facts.notes

    @property
    def table(self) -> pl.DataFrame:
        """A row a judge and model: rating with its interval, comparisons, and why there is no rating."""
        return (
            self.metrics.filter(pl.col("metric") == "rating")
            .select("judge", "model", rating="value", low="ci_low", high="ci_high", comparisons="n", reason="reason")
            .sort(["judge", "rating", "model"], descending=[False, True, False], nulls_last=True)
        )

    def save(self, folder: str | Path) -> Path:
        """Write what `thumbline evaluate` writes of judged pairs; returns the page.

        Raises:
            InputError: The folder cannot be made.
        """
        from ..evaluation.judged import write_judged

        write_judged(self._outcome, Path(folder), _ORIGIN)
        return Path(folder) / "report.html"

    def __repr__(self) -> str:
        """The verdict."""
        return f"<thumbline.Ratings: {self.verdict}>"

    def _repr_html_(self) -> str:
        """The verdict and the ratings."""
        from ..report.formatting import interval, measure

        rows = [
            (row["model"], measure(row["rating"], "points"), interval(row["low"], row["high"], "points"), row["judge"])
            for row in self.table.iter_rows(named=True)
        ]
        return view.page(
            view.paragraph(self.verdict, strong=True), view.table(("model", "rating", "interval", "judge"), rows)
        )


def ratings(
    judged: str | Path | Table,
    *,
    baseline: str | None = None,
    draws: int | None = None,
    confidence: float | None = None,
    seed: int | None = None,
) -> Ratings:
    """Win rates and Bradley-Terry ratings of models from judged pairs.

        result = thumbline.ratings("annotations.json")  # AlpacaEval, arena votes, MT-bench, LLMFAO, PandaLM
        result = thumbline.ratings(frame)               # model_a, model_b, preference; prompt, judge, length_a, ...
        print(result.verdict, result.table)

    Args:
        judged: A file, or a frame of any library.
        baseline: Model that others are compared with; None: the one with the most comparisons.
        draws: Resamples of prompt groups an interval; None: 1000.
        confidence: Mass of an interval; None: 0.95.
        seed: Draws the resamples; None: 0.

    Raises:
        ConfigError: A choice is out of range, or the baseline is none of the models.
        InputError: The columns are none of judged pairs, or no row gives a verdict.
    """
    from ..evaluation.judged import evaluate_pairs, facts_of
    from ..evaluation.judged_rows import of_frame, read_judged
    from ..evaluation.outcome import Choices

    check_numbers(confidence=confidence)
    check_whole(draws=draws, seed=seed)
    check_texts(baseline=baseline)
    pairs = read_judged(str(judged)) if isinstance(judged, str | Path) else of_frame(as_frame(judged))
    outcome = evaluate_pairs(pairs, Choices(draws=draws, confidence=confidence, seed=seed, baseline=baseline))
    return Ratings(outcome, facts_of(outcome, _ORIGIN))
