"""The tidy metrics table as a reader needs it: headline numbers by model, comparisons, slices, and all of it."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from thumbline.evaluators import Metric

from .inputs import Missing, ReportInputs

UNTRAINED: Final = "untrained"
TRAINED: Final = "trained"


class Headline(NamedTuple):
    """A number that the report puts into a picture of its own.

    Attributes:
        name: Unique on the page.
        evaluator: Who computes it.
        metric: Its name in the metrics table.
        title: What it is, as a heading.
        chance: What a model that knows nothing gets; None where there is no such value.
        meaning: One sentence for a reader who does not know it.
        difference: Its name in the metrics table as a paired difference of two models, where there is one.
    """

    name: str
    evaluator: str
    metric: str
    title: str
    chance: float | None
    meaning: str
    difference: str | None = None


COMPARISON: Final = "comparison"
ACCURACY: Final = Headline(
    "accuracy",
    "pair_accuracy",
    "accuracy",
    "Preference accuracy",
    0.5,
    "Share of held-out pairs whose better answer gets the higher reward; a tie counts one half.",
    "accuracy_difference",
)
MARGIN: Final = Headline(
    "margin",
    "reward_margin",
    "mean",
    "Reward margin",
    0.0,
    "Mean reward of the better answer minus that of the worse one, over held-out pairs.",
    "margin_difference",
)
AUC: Final = Headline(
    "auc",
    "unpaired_auc",
    "auc",
    "Unpaired AUC",
    0.5,
    "Chance that a desirable answer gets a higher reward than an undesirable one, over held-out rows.",
    "auc_difference",
)
SEPARATION: Final = Headline(
    "separation",
    "unpaired_auc",
    "reward_separation",
    "Reward separation",
    0.0,
    "Mean reward of desirable answers minus that of undesirable ones, over held-out rows.",
    "separation_difference",
)
# What rules that need no training get on the same pairs, by the name of the metric that says it.
RULES: Final = {
    "longer_wins_accuracy": "longer answer wins",
    "reference_free_sum_accuracy": "summed log-prob",
    "reference_free_mean_accuracy": "log-prob a token",
}
RULES_EVALUATOR: Final = "length_bias"
HEADLINES: Final = (ACCURACY, MARGIN, AUC, SEPARATION)
# What is known from answers that the models wrote, or of the thumbs model: it has sections of its own.
ANSWERS: Final = frozenset({"win_rate", "judge_score", "answer_text", "predicted_thumbs_up", "thumbs_model"})


@dataclass(frozen=True)
class EvaluationFacts:
    """The section on held-out rows.

    Attributes:
        measures: Every row of the metrics table; Missing where there is none.
        models: Names of the models, the baseline first.
        subject: The model that the report is about; None where no model was scored.
        baseline: The model that it is compared with; None where there is none.
    """

    measures: tuple[Metric, ...] | Missing
    models: tuple[str, ...]
    subject: str | None
    baseline: str | None

    def rows(self) -> tuple[Metric, ...]:
        """Every measure; none where the table is missing."""
        return () if isinstance(self.measures, Missing) else self.measures

    def logged(self) -> tuple[Metric, ...]:
        """What rests on logged answers alone."""
        return tuple(row for row in self.rows() if row.evaluator not in ANSWERS)

    def find(
        self,
        evaluator: str,
        metric: str | None,
        model: str | None,
        compared_with: str | None = None,
        judge: str | None = None,
    ) -> Metric | None:
        """The measure of this name over all rows; None where there is none."""
        for row in self.rows():
            names = (row.evaluator, row.metric, row.model, row.compared_with, row.slice, row.judge)
            if names == (evaluator, metric, model, compared_with, None, judge):
                return row
        return None

    def main_numbers(self) -> tuple[Metric, ...]:
        """The headline numbers of every model, model beside model."""
        found = [self.headline(headline, model) for headline in HEADLINES for model in self.models]
        return tuple(row for row in found if row is not None)

    def other_numbers(self) -> tuple[tuple[str, tuple[Metric, ...]], ...]:
        """What is neither a comparison nor a slice, by evaluator."""
        whole = [row for row in self.logged() if row.slice is None and row.compared_with is None]
        names = dict.fromkeys(row.evaluator for row in whole)
        return tuple((name, tuple(row for row in whole if row.evaluator == name)) for name in names)

    def why_not_compared(self) -> str:
        """Why there is no comparison: the evaluators' reason, or that there is one model."""
        for row in self.rows():
            if row.evaluator == COMPARISON and row.value is None and row.reason:
                return f"No pairs are compared: {row.reason}."
        return "There is one model only, so nothing is compared."

    def headline(self, headline: Headline, model: str | None) -> Metric | None:
        """A headline number of a model."""
        return self.find(headline.evaluator, headline.metric, model)


def evaluation_facts(inputs: ReportInputs) -> EvaluationFacts:
    """The metrics table and who is compared with whom."""
    frame = inputs.table("metrics")
    columns = [] if frame is None else [name for name in Metric._fields if name in frame.columns]
    measures = () if frame is None else tuple(Metric(**row) for row in frame.select(columns).iter_rows(named=True))
    models = _models(inputs, measures)
    compared = {(row.model, row.compared_with) for row in measures if {row.model, row.compared_with} <= set(models)}
    pairs = sorted((model, other) for model, other in compared if other is not None)
    asked = [pair for pair in pairs if pair == (inputs.subject, inputs.baseline)]
    subject, baseline = asked[0] if asked else _subject(models, pairs, inputs.subject)
    return EvaluationFacts(
        measures=measures or Missing(_why_no_metrics(inputs)),
        models=tuple(sorted(models, key=lambda name: (name != baseline, name))),
        subject=subject,
        baseline=baseline,
    )


def _subject(
    models: tuple[str, ...], compared: list[tuple[str, str]], asked: str | None
) -> tuple[str | None, str | None]:
    """The model that the report is about, and the one it is compared with."""
    if asked in models:
        return asked, next((other for model, other in compared if model == asked), None)
    if TRAINED in models:
        return TRAINED, UNTRAINED if UNTRAINED in models else None
    if compared:
        return compared[0]
    return next(iter(models), None), None


def _models(inputs: ReportInputs, measures: tuple[Metric, ...]) -> tuple[str, ...]:
    """Names of the scored models."""
    names: set[str] = set()
    for table in ("scored_pairs", "scored_unpaired"):
        frame = inputs.table(table)
        if frame is not None:
            names.update(frame["model"].unique().to_list())
    if not names:
        whole = (row for row in measures if row.compared_with is None and row.slice is None)
        names = {row.model for row in whole if row.evaluator not in ANSWERS}
    return tuple(sorted(names))


def _why_no_metrics(inputs: ReportInputs) -> str:
    sizes = {name: inputs.tables[name].height for name in ("scored_pairs", "scored_unpaired") if name in inputs.tables}
    if sizes and not any(sizes.values()):
        return "Nothing was held out: neither a pair nor an unpaired row of a held-out split was scored."
    if "metrics" in inputs.tables:
        return "The table of metrics has no row."
    return "No metrics were computed: the run has not reached the metrics stage."
