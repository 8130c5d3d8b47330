"""Every picture of the page, drawn from the facts and the scored rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from thumbline.evaluators import Metric

from .answer_pictures import price_picture, steps_picture, wins_picture
from .evaluation_facts import ACCURACY, HEADLINES, RULES, RULES_EVALUATOR, EvaluationFacts, Headline
from .evaluation_parts import checkpoint_curves, is_small, reliability, slice_tables, strata
from .examples import rewards
from .facts import ReportFacts
from .figures.canvas import ACCENT, BAND, CHOSEN, REJECTED, Picture
from .figures.checkpoints import checkpoint_picture
from .figures.data import funnel_picture, yield_picture
from .figures.evaluation import Dot, Sample, dot_picture, histogram_picture
from .figures.rates import rates_picture
from .figures.reliability import reliability_picture
from .figures.training import curve_pictures, parity_picture
from .formatting import model_name, words
from .inputs import Missing, ReportInputs

# Slices in one picture; a table below it has all of them.
_MOST_SLICES = 24


@dataclass(frozen=True)
class Pictures:
    """The pictures of the page; None or empty where there is nothing to draw."""

    verdict: Picture | None
    funnel: Picture | None
    pair_yield: Picture | None
    parity: Picture | None
    curves: tuple[Picture, ...]
    headlines: tuple[Picture, ...]
    distributions: tuple[Picture, ...]
    reliability: Picture | None
    lengths: tuple[Picture, ...]
    slices: tuple[Picture, ...]
    wins: Picture | None = None
    price: Picture | None = None
    thumbs: Picture | None = None
    steps: Picture | None = None


def draw(inputs: ReportInputs, facts: ReportFacts) -> Pictures:
    """All pictures; the same inputs give the same bytes."""
    evaluation, data, training = facts.evaluation, facts.data, facts.training
    main = [headline for headline in HEADLINES if headline.name == facts.verdict.measure]
    won = wins_picture("verdict" if facts.verdict.decided_by == "answers" else "wins", inputs, evaluation)
    bins = () if isinstance(facts.thumbs, Missing) else facts.thumbs.reliability
    return Pictures(
        verdict=_headline(evaluation, main[0], "verdict") if main else won if facts.verdict.statements else None,
        funnel=None if isinstance(data.steps, Missing) else funnel_picture(data.steps),
        pair_yield=None if isinstance(data.pair_yield, Missing) else yield_picture(data.pair_yield),
        parity=None if isinstance(training.parity, Missing) else parity_picture(training.parity),
        curves=() if isinstance(training.curves, Missing) else curve_pictures(training.curves, training.taken_step),
        headlines=(
            *(
                checkpoint_picture(f"checkpoints-{place}", curve)
                for place, curve in enumerate(checkpoint_curves(evaluation))
            ),
            *_some(_headline(evaluation, headline, headline.name) for headline in HEADLINES if headline not in main),
        ),
        distributions=_distributions(inputs, evaluation),
        reliability=_reliability(evaluation),
        lengths=_some([_rules(evaluation), _strata(evaluation)]),
        slices=_slices(evaluation),
        wins=won if main else None,
        price=price_picture(inputs, evaluation),
        thumbs=rates_picture(bins) if bins else None,
        steps=steps_picture(inputs),
    )


def _some(pictures: Iterable[Picture | None]) -> tuple[Picture, ...]:
    return tuple(picture for picture in pictures if picture is not None)


def _headline(evaluation: EvaluationFacts, headline: Headline, name: str) -> Picture | None:
    found = [(model, evaluation.headline(headline, model)) for model in evaluation.models]
    dots = [
        Dot(model, row.value, row.ci_low, row.ci_high, model == evaluation.subject)
        for model, row in found
        if row is not None and row.value is not None
    ]
    if not dots:
        return None
    unit = next(row.unit for _, row in found if row is not None)
    return dot_picture(name, dots, unit=unit, chance=headline.chance, caption=f"{headline.title}. {headline.meaning}")


def _reliability(evaluation: EvaluationFacts) -> Picture | None:
    """Curves of the model and of what it is compared with; a single bin, such as one of ties, is no curve."""
    names = [evaluation.subject, evaluation.baseline]
    curves = [(str(name), reliability(evaluation, name)) for name in names if name is not None]
    main, *others = curves or [("", ())]
    drawn = [main, *(curve for curve in others if len(curve[1]) > 1)] if main[1] else []
    return reliability_picture(drawn) if drawn else None


def _strata(evaluation: EvaluationFacts) -> Picture | None:
    rows = strata(evaluation, evaluation.subject)
    dots = [_part(row, is_small(row)) for row in rows if row.value is not None]
    if not dots:
        return None
    name = rows[0].slice.partition("=")[0] if rows[0].slice else ""
    caption = f"Accuracy of {model_name(evaluation.subject)} by length: {words(name)}. A small part has a hollow dot."
    return dot_picture("strata", dots, unit=rows[0].unit, chance=ACCURACY.chance, caption=caption)


def _part(row: Metric, small: bool) -> Dot:
    """A dot of a slice, named by its value."""
    return Dot(str(row.slice).partition("=")[2], row.value or 0.0, row.ci_low, row.ci_high, not small, small)


def _slices(evaluation: EvaluationFacts) -> tuple[Picture, ...]:
    """A picture a column, of the first headline number that has slices; a column of one value shows nothing."""
    drawn: list[Picture] = []
    for table in slice_tables(evaluation)[:1]:
        rows = [row for row in table.rows if row.model == evaluation.subject and row.value is not None]
        for column in dict.fromkeys(str(row.slice).partition("=")[0] for row in rows):
            of_column = [row for row in rows if str(row.slice).startswith(f"{column}=")]
            if len(of_column) > 1:
                drawn.append(_column(table.headline, column, of_column, len(drawn)))
    return tuple(drawn)


def _column(headline: Headline, column: str, rows: Sequence[Metric], place: int) -> Picture:
    shown = sorted(rows, key=lambda row: -row.n_groups)[:_MOST_SLICES]
    dots = [_part(row, is_small(row)) for row in rows if row in shown]
    caption = f"{headline.title} by {words(column)}. A small slice has a hollow dot."
    if len(rows) > len(dots):
        caption += f" The {len(rows) - len(dots)} smallest are in the table only."
    return dot_picture(f"slice-{place}", dots, unit=rows[0].unit, chance=headline.chance, caption=caption)


def _rules(evaluation: EvaluationFacts) -> Picture | None:
    """The model's accuracy beside rules that need no training; log-probs are those of the model it started from."""
    subject = evaluation.headline(ACCURACY, evaluation.subject)
    start = evaluation.baseline or evaluation.subject
    rules = [(label, evaluation.find(RULES_EVALUATOR, metric, start)) for metric, label in RULES.items()]
    dots = [
        Dot(label, row.value, row.ci_low, row.ci_high, row is subject)
        for label, row in [(str(evaluation.subject), subject), *rules]
        if row is not None and row.value is not None
    ]
    if len(dots) < 2 or subject is None:
        return None
    caption = (
        "Accuracy beside simple rules on the same pairs. Log-probs are those of "
        f"{model_name(start)}, without a reference."
    )
    return dot_picture("rules", dots, unit=subject.unit, chance=ACCURACY.chance, caption=caption)


def _distributions(inputs: ReportInputs, evaluation: EvaluationFacts) -> tuple[Picture, ...]:
    drawn: list[Picture | None] = []
    pairs, unpaired = rewards(inputs, "pairs"), rewards(inputs, "unpaired")
    if not isinstance(pairs, Missing):
        drawn += [_sides(pairs, evaluation), _margins(pairs, evaluation)]
    if not isinstance(unpaired, Missing):
        drawn.append(_labels(unpaired, evaluation))
    return _some(drawn)


def _of(rows: pl.DataFrame, model: str | None) -> pl.DataFrame:
    return rows.filter(pl.col("model").eq_missing(pl.lit(model, dtype=pl.String)))


def _sides(pairs: pl.DataFrame, evaluation: EvaluationFacts) -> Picture | None:
    rows = _of(pairs, evaluation.subject)
    samples = [
        Sample("chosen", rows["chosen_reward"].to_numpy(), CHOSEN),
        Sample("rejected", rows["rejected_reward"].to_numpy(), REJECTED),
    ]
    caption = (
        f"Rewards of the two sides of held-out pairs under {model_name(evaluation.subject)}. Dashed lines are means."
    )
    return _histogram("rewards-pairs", samples, "reward", caption)


def _margins(pairs: pl.DataFrame, evaluation: EvaluationFacts) -> Picture | None:
    samples = [Sample(str(evaluation.subject), _of(pairs, evaluation.subject)["margin"].to_numpy(), ACCENT)]
    baseline = _of(pairs, evaluation.baseline)["margin"].to_numpy()
    constant = baseline.size > 0 and float(baseline.max()) == float(baseline.min())
    caption = "Margins of held-out pairs: left of zero the model prefers the worse answer. Dashed lines are means."
    if constant:
        caption += f" Every margin of {model_name(evaluation.baseline)} is {baseline[0]:g}, so it is not drawn."
    elif baseline.size:
        samples.append(Sample(str(evaluation.baseline), baseline, BAND))
    return _histogram("margins", samples, "reward margin", caption)


def _labels(unpaired: pl.DataFrame, evaluation: EvaluationFacts) -> Picture | None:
    rows = _of(unpaired, evaluation.subject)
    samples = [
        Sample("desirable", rows.filter("label")["reward"].to_numpy(), CHOSEN),
        Sample("undesirable", rows.filter(~pl.col("label"))["reward"].to_numpy(), REJECTED),
    ]
    caption = f"Rewards of held-out rows by label under {model_name(evaluation.subject)}. Dashed lines are means."
    return _histogram("rewards-unpaired", samples, "reward", caption)


def _histogram(name: str, samples: Sequence[Sample], label: str, caption: str) -> Picture | None:
    filled = [sample for sample in samples if sample.values.size]
    return histogram_picture(name, filled, label=label, caption=caption) if filled else None
