"""What a comparison of methods found, in sentences and in cells of tables."""

from collections.abc import Sequence
from itertools import product
from typing import Final, NamedTuple

from ..report.formatting import (
    DASH,
    change,
    count,
    difference,
    interval,
    measure,
    number,
    p_value,
    percent,
    plural,
    seconds,
)
from ..sweep.comparing import Comparison
from .arms import Arm
from .facts import FOLK, Cost, needs_of
from .measures import MEASURES, Cell, Measure
from .outcome import Outcome, is_clear

PREFERENCES: Final = ("accuracy", "log_ratio_accuracy", "margin", "auc", "moved")
ANSWERS: Final = ("win_rate", "thumbs_up", "kl", "length")


class Entry(NamedTuple):
    """What a table shows in one place.

    Attributes:
        text: What is read first.
        more: What stands below it in smaller letters; empty for nothing.
        value: What the column is sorted by; None where it holds no number.
    """

    text: str
    more: str = ""
    value: float | None = None


def verdict(outcome: Outcome) -> str:
    """Which methods differ from the baseline by more than noise, in what decides."""
    name = decisive(outcome)
    if name is None:
        return "No method has a number of held-out rows to compare by."
    baseline = _title(outcome, outcome.plan.baseline)
    if outcome.error_of(outcome.plan.baseline) is not None:
        return f"{baseline}, the baseline, failed: nothing is compared with it."
    called = "AUC" if name == "auc" else MEASURES[name].title.lower()
    better, worse = (_clear(outcome, name, sign) for sign in (1, -1))
    told = [
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {word} than {baseline}"
        for names, word in ((better, "better"), (worse, "worse"))
        if names
    ]
    if not told:
        others = _others(outcome)
        if not others:
            return f"Every method but {baseline} failed: nothing is compared with it."
        who = f"{others[0]} does not differ" if len(others) == 1 else f"none of {count(len(others))} methods differs"
        return f"By {called} {who} from {baseline} by more than noise."
    return f"By {called}, by more than noise: {'; '.join(told)}."


def _others(outcome: Outcome) -> list[str]:
    """The methods that are done, but for the baseline."""
    names = [arm.name for arm in outcome.plan.arms if arm.name != outcome.plan.baseline]
    return [_title(outcome, name) for name in names if outcome.error_of(name) is None]


def decisive(outcome: Outcome) -> str | None:
    """The measure that the verdict is of: win rate where answers were judged, else accuracy by one reward, else AUC."""
    return next((name for name in ("win_rate", "log_ratio_accuracy", "auc") if name in outcome.measures), None)


def _clear(outcome: Outcome, name: str, sign: int) -> list[str]:
    found = []
    for arm in outcome.plan.arms:
        cell = outcome.cell(name, arm.name)
        compared = None if cell is None else cell.comparison
        if compared is not None and sign * compared.difference > 0 and is_clear(compared, outcome.confidence):
            found.append(_title(outcome, arm.name))
    return found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _title(outcome: Outcome, name: str) -> str:
    return outcome.plan.arm(name).spec.title


def notes(outcome: Outcome) -> list[str]:
    """What the reader must know of these numbers."""
    plan = outcome.plan
    baseline = _title(outcome, plan.baseline)
    asked = f"{count(plan.tokens)} as asked" if plan.tokens else f"what {baseline} takes by the run file"
    seeds = (
        f"; over {len(plan.seeds)} seeds intervals are averaged, and p-values are combined as twice their mean"
        if len(plan.seeds) > 1
        else ""
    )
    found = [
        f"All methods train on as many completion tokens, to the nearest whole step: {asked}. A pair has those of both "
        "answers, a thumb those of one, SFT those of liked answers alone.",
        f"Intervals and tests resample prompt groups of the {plan.config.metrics.split} split, the same for "
        f"all{seeds}. Differences are from {baseline}; p-values are corrected for the number of methods (Holm), for "
        "each measure by itself.",
        "Hyper-parameters are those of the run file or each method's defaults: a method that needs another learning "
        "rate is at a disadvantage here. `--for METHOD.KEY=VALUE` sets its own; choose it by `thumbline sweep`, on the "
        "validation split.",
    ]
    if any(arm.spec.samples_answers for arm in plan.arms):
        found.append(
            "Methods that sample their own answers take as many steps as if each answer were as long as it may be, so "
            "that they train on fewer tokens than the others: the table has what they sampled."
        )
    if len(plan.seeds) == 1:
        found.append("One seed: how far another one would move these numbers is not known; --seeds 0,1,2 shows it.")
    found += [f"Left out: {name}, since {why}." for name, why in plan.left_out.items()]
    found += [
        f"{_title(outcome, arm.name)} failed: {error}"
        for arm in plan.arms
        if (error := outcome.error_of(arm.name)) is not None
    ]
    return found + _of_answers(outcome) + _missing(outcome)


def _missing(outcome: Outcome) -> list[str]:
    """Which numbers there are not, and why: a line each."""
    seeds = outcome.plan.seeds
    found = []
    for name, arm in product(outcome.measures, outcome.plan.arms):
        cell = outcome.cell(name, arm.name)
        for seed, reason in zip(seeds, cell.reasons if cell is not None else (), strict=False):
            if reason is not None:
                which = f" with seed {seed}, so none over the seeds" if len(seeds) > 1 else ""
                found.append(f"{MEASURES[name].title}: none of {_title(outcome, arm.name)}{which}: {reason}.")
    return found


def _of_answers(outcome: Outcome) -> list[str]:
    if "kl" not in outcome.measures:
        return [
            "No answers were sampled, so there is no win rate, no rate of thumbs up and no KL of the models' own "
            "answers: set `generations: {samples: 2}`, and `judges`."
        ]
    if outcome.judge is None:
        return ["Nobody judged the sampled answers: `judges` of the run file says who does."]
    cells = [outcome.cell("win_rate", arm.name) for arm in outcome.plan.arms if arm.name != outcome.plan.baseline]
    if not any(cell and cell.comparison for cell in cells):
        return [
            f"{outcome.judge} compared each method's answers with the untrained model's, so by it methods are not "
            f"compared with each other."
        ]
    return []


def cost_rows(outcome: Outcome) -> list[dict[str, Entry]]:
    """One row a method: what it needs, what it took."""
    return [_cost_row(outcome, arm) for arm in outcome.plan.arms]


def _cost_row(outcome: Outcome, arm: Arm) -> dict[str, Entry]:
    needs, cost, own = needs_of(arm), outcome.costs[arm.name], outcome.of_arm(arm.name)
    steps = own[0].steps
    peak = cost.peak_memory_gib
    taken = Entry(DASH) if cost.train_seconds is None else Entry(seconds(cost.train_seconds), value=cost.train_seconds)
    if cost.all_seconds is not None:
        taken = taken._replace(more=f"{seconds(cost.all_seconds)} in all")
    return {
        "method": Entry(needs.title, "" if outcome.error_of(arm.name) is None else "failed"),
        "reference": Entry(needs.reference),
        "trains on": Entry(needs.rows, count(steps.rows)),
        "phases": Entry(needs.phases),
        "models in memory": Entry(needs.models),
        "peak memory, GiB": Entry(DASH if peak is None else number(peak, 2), value=peak),
        "training": taken,
        "FLOPs": _flops(cost),
        "completion tokens": Entry(
            count(steps.tokens), f"{plural(steps.steps, 'step')}, {number(steps.epochs, 2)} epochs"
        ),
    }


def _flops(cost: Cost) -> Entry:
    if cost.flops is None:
        return Entry(DASH, cost.why_no_flops or "")
    more = ""
    if cost.sampling_flops and cost.scoring_flops:
        sampled, scored = cost.sampling_flops / cost.flops, cost.scoring_flops / cost.flops
        more = f"{percent(sampled)} sampling, {percent(scored)} scoring"
    return Entry(f"{cost.flops:.2e}", more, cost.flops)


def folk_rows(outcome: Outcome) -> list[dict[str, Entry]]:
    """One row a method: the models that tutorials count, those here, and the memory that was measured."""
    peaks = {name: cost.peak_memory_gib for name, cost in outcome.costs.items()}
    known = [peak for peak in peaks.values() if peak is not None]
    rows = []
    for arm in outcome.plan.arms:
        told, needs, peak = FOLK.get(arm.name), needs_of(arm), peaks[arm.name]
        ratio = None if peak is None else peak / min(known)
        rows.append(
            {
                "method": Entry(needs.title),
                "tutorials: models": Entry(DASH if told is None else f"{told.models}x"),
                "tutorials: phases": Entry(DASH if told is None else told.phases),
                "tutorials: pairs": Entry(DASH if told is None else "yes" if told.pairs else "no"),
                "models here": Entry(needs.models),
                "measured peak, GiB": Entry(DASH if peak is None else number(peak, 2), value=peak),
                "times the least": Entry(DASH if ratio is None else f"{number(ratio, 2)}x", value=ratio),
            }
        )
    return rows


FOLK_NOTE: Final = (
    "Where the columns differ: the reference's log-probs are scored once and stored, so that no reference model is "
    "in memory while a policy trains, and every method begins with the run's model, without an SFT of its own. "
    "Methods that sample answers hold the reference and the thumbs model while they train, or one base for all with "
    "an adapter; the thumbs model's own training is not among the figures, since all share it. The measured peak is "
    "that of the whole process on a CPU, or of the allocator on a GPU: weights, gradients, the optimiser's state "
    "and activations, of which weights are a part."
)


def measure_rows(outcome: Outcome, names: Sequence[str]) -> list[dict[str, Entry]]:
    """One row a method: some measures, each with its interval, and below it the difference from the baseline."""
    shown = [MEASURES[name] for name in names if name in outcome.measures]
    if not shown:
        return []
    return [
        {"method": Entry(arm.spec.title)} | {one.title: entry(outcome, one, arm.name) for one in shown}
        for arm in outcome.plan.arms
    ]


def entry(outcome: Outcome, shown: Measure, arm: str) -> Entry:
    """One measure of one arm."""
    cell = outcome.cell(shown.name, arm)
    return cell_entry(shown, cell, outcome.confidence, "the baseline" if arm == outcome.plan.baseline else "")


def cell_entry(shown: Measure, cell: Cell | None, confidence: float, alone: str = "") -> Entry:
    """A measure with its interval and spread over the seeds, and below it the difference from the baseline.

    Args:
        shown: The measure.
        cell: Of an arm; None where it failed.
        confidence: Mass of the intervals.
        alone: What stands below where nothing is compared.
    """
    if cell is None or cell.average is None:
        return Entry(DASH)
    found = cell.average
    text = measure(found.mean, shown.unit)
    if found.low is not None:
        text += f" ({interval(found.low, found.high, shown.unit)})"
    if found.spread is not None:
        text += f", seeds ±{measure(found.spread, shown.unit)}"
    more = alone if cell.comparison is None else comparison_text(shown, cell.comparison, confidence)
    return Entry(text, more, found.mean)


def comparison_text(shown: Measure, compared: Comparison, confidence: float) -> str:
    """`+1.2 pp (-3.0 to +5.4 pp), p = 0.310`, and whether that is clear."""
    unit = shown.difference_unit
    told = change(compared.difference, unit)
    if compared.low is not None:
        told += f" ({difference(compared.low, compared.high, unit, 'pp')})"
    if compared.p_value is not None:
        told += f", {p_value(compared.p_value)}"
    return f"{told}, clear" if is_clear(compared, confidence) else told


def trial_rows(outcome: Outcome) -> list[dict[str, Entry]]:
    """One row a trial: what became of it."""
    return [
        {
            "trial": Entry(trial.result.trial.name),
            "status": Entry(trial.result.status),
            "steps": Entry(count(trial.steps.steps), value=float(trial.steps.steps)),
            "completion tokens": Entry(count(trial.steps.tokens), value=float(trial.steps.tokens)),
            "training, s": Entry(number(trial.train_seconds, 1), value=trial.train_seconds),
            "peak memory, GiB": Entry(number(trial.peak_memory_gib, 2), value=trial.peak_memory_gib),
            "error": Entry(trial.result.error or ""),
        }
        for trial in outcome.trials
    ]
