"""What a sweep found, in sentences: which is best, whether by more than noise, and what to beware of."""

from collections.abc import Sequence
from typing import Final

from thumbline.evaluators import FrontierPoint

from ..report.formatting import change, count, difference, interval, measure, number, percent, plural, sentence
from ..stages.metrics import reward_of_run
from .choosing import SettingResult
from .comparing import Comparison
from .frontier import judge_of
from .grid import described, short_keys, value_word
from .measures import MEASURES, WIN_RATE, Average, Measure, Value, is_comparable, ties_of
from .outcome import Outcome
from .plan import Plan

_ROWS: Final = {"win_rate": "sampled answer"} | {
    "accuracy": "pair",
    "margin": "pair",
    "auc": "unpaired row",
    "loss": "row",
}


def rule(plan: Plan) -> str:
    """By what settings are chosen."""
    chosen = plan.measure
    ties = ties_of(chosen, [trial.config for trial in plan.trials])
    seeds = plural(len(plan.seeds), "seed")
    over = f", mean of {seeds} (± is their standard deviation)" if len(plan.seeds) > 1 else ""
    then = ", then ".join([*(_called(tie) for tie in ties), "the order of the grid"])
    if plan.frontier:
        return (
            f"Chosen is the cheapest setting whose answers to prompts of the validation split are surely better by "
            f"{judge_of(plan.config)}: interval above one half, and the exact test, corrected for "
            f"{plural(len(plan.settings), 'setting')}, agrees{over}; where none is, the highest win rate. Cost is nats "
            f"a token under the untrained model."
        )
    most = "highest" if chosen.sign > 0 else "lowest"
    return f"Chosen by the {most} {_called(chosen)} on the validation split{over}; equal ones by {then}."


def _called(chosen: Measure) -> str:
    return "AUC" if chosen.name == "auc" else chosen.title.lower()


def verdict(outcome: Outcome) -> str:
    """The best setting and its number, and whether it is more than noise that puts it first."""
    plan, found = outcome.plan, outcome.results[0].averages[outcome.plan.measure.name]
    assert found is not None, "the best setting has a number"
    rows = f"{plural(found.n, _ROWS[plan.measure.name])} in {plural(found.n_groups, 'prompt group')}"
    told = f"a {_called(plan.measure)} of {average_text(found, plan.measure)} on {rows} of the validation split"
    best = f"Best of {plural(len(plan.settings), 'setting')}: {described(outcome.best.values)}, with {told}."
    second = next((result for result in outcome.results[1:] if outcome.comparison(result.setting.name)), None)
    return best if second is None else f"{best} {_ahead(outcome, second, 'the runner-up')}"


def against_default(outcome: Outcome) -> str | None:
    """The best against what the run file says; None where the grid has not got that, or it is best or second."""
    others = [result for result in outcome.results[2:] if result.setting.is_default]
    found = next((result for result in others if outcome.comparison(result.setting.name)), None)
    return None if found is None else _ahead(outcome, found, "the run file's own setting")


def _ahead(outcome: Outcome, other: SettingResult, role: str) -> str:
    compared = outcome.comparison(other.setting.name)
    assert compared is not None, "only settings that are compared are asked for"
    name = f"{role}, {described(other.setting.values)}"
    if compared.difference == 0.0:
        return f"It is level with {name}: {_what_decides(outcome, other)} decides."
    return f"It is ahead of {name}, by {comparison_text(outcome, compared)}."


def _what_decides(outcome: Outcome, other: SettingResult) -> str:
    """What puts the best before a setting that is level with it."""
    configs = [trial.config for trial in outcome.plan.trials]
    for tie in ties_of(outcome.plan.measure, configs):
        ours, theirs = (result.averages[tie.name] for result in (outcome.results[0], other))
        if ours is not None and theirs is not None and ours.mean != theirs.mean:
            return f"{_called(tie)} ({measure(ours.mean, tie.unit)} against {measure(theirs.mean, tie.unit)})"
    return "the order of the grid"


def comparison_text(outcome: Outcome, compared: Comparison) -> str:
    """A difference with what it rests on: `+1.2 pp (-3.0 to +5.4 percentage points), which is not more than noise`."""
    unit = outcome.plan.measure.unit
    told = change(compared.difference, unit)
    if compared.low is not None:
        told += f" ({difference(compared.low, compared.high, unit)})"
    clear = "is more than noise" if compared.is_more_than_noise(outcome.confidence) else "is not more than noise"
    tested = "" if compared.p_value is None else f" (p = {number(compared.p_value)}"
    if tested:
        corrected = (
            f", corrected for {count(compared.comparisons)} pairs of settings" if compared.comparisons > 1 else ""
        )
        tested += f" by prompt group{corrected})"
    seeds = (
        ""
        if compared.seeds_low is None
        else f"; over the seeds {difference(compared.seeds_low, compared.seeds_high, unit)}"
    )
    return f"{told}, which {clear}{tested}{seeds}"


def notes(outcome: Outcome) -> list[str]:
    """What the reader must know of these numbers."""
    plan = outcome.plan
    configs = [trial.config for trial in plan.trials]
    found = [rule(plan)]
    if len(plan.settings) > 1:
        found.append(_chosen_among_many(outcome))
    if len(plan.seeds) == 1:
        found.append("One seed: how far another one would move these numbers is not known; --seeds 0,1,2 shows it.")
    if not is_comparable("margin", configs):
        found.append("Margins have each setting's own scale (beta, method): their sizes are not to be compared.")
    if not is_comparable("loss", configs):
        found.append("Losses are each setting's own (method, beta, ...): their sizes are not to be compared.")
    if len({reward_of_run(config).kind for config in configs}) > 1:
        found.append("The settings' methods have rewards of different kinds; each is judged by its own.")
    found += _priced(outcome)
    failed = [result for result in outcome.results if result.status == "failed"]
    if failed:
        found.append(f"{sentence(plural(len(failed), 'setting'))} failed and cannot be chosen: see the trials.")
    if plan.keep == "best":
        found.append("The models of the other trials were deleted (--keep best); their numbers and logs are there.")
    return found


def _priced(outcome: Outcome) -> list[str]:
    """The cheapest setting whose answers are surely better, where answers were judged."""
    if not outcome.points:
        return []
    name = outcome.cheapest
    found = next((result for result in outcome.results if result.setting.name == name), None)
    if found is None or found.point is None:
        return [f"No setting's answers are surely better than the untrained model's by {outcome.judge}."]
    return [
        f"The cheapest setting whose answers are surely better by {outcome.judge}: {described(found.setting.values)}, "
        f"with {price_text(found.point)}."
    ]


def price_text(point: FrontierPoint) -> str:
    """`a win rate of 63.8% (58.0% to 69.6%) for +4.1% nats a token (+2.0% to +6.2%)`."""
    won = Value(point.won, point.won_low, point.won_high, 0, 0)
    paid = "an unknown price" if point.paid is None else f"{percent(point.paid, signed=True)} nats a token"
    ends = "" if point.paid_low is None else f" ({interval(point.paid_low, point.paid_high, 'share', signed=True)})"
    return f"a win rate of {value_text(won, WIN_RATE)} for {paid}{ends}"


def _chosen_among_many(outcome: Outcome) -> str:
    too_good = (
        f"The best of {count(len(outcome.plan.settings))} was chosen on the rows that its number is of, so that number "
        f"is too good: "
    )
    if outcome.tested is None or outcome.tested.split != "test":
        return f"{too_good}one to report takes rows that nothing was chosen by (splits.test, metrics.split)."
    return f"{too_good}report the one of the test split, which was looked at for this setting alone."


def final_text(outcome: Outcome) -> str | None:
    """The best setting's number where nothing was chosen; None where no such rows are held out."""
    tested = outcome.tested
    if tested is None:
        return None
    chosen = outcome.plan.measure
    found = tested.values[chosen.name]
    return f"On the {tested.split} split: {_called(chosen)} {value_text(found, chosen)}. {tested.verdict}"


def value_text(value: Value, chosen: Measure) -> str:
    """`71.2% (64.0% to 78.1%)`, or a dash."""
    told = measure(value.value, chosen.unit)
    return told if value.low is None else f"{told} ({interval(value.low, value.high, chosen.unit)})"


def average_text(found: Average | None, chosen: Measure) -> str:
    """The same over seeds, with the standard deviation over them."""
    if found is None:
        return measure(None)
    told = value_text(Value(found.mean, found.low, found.high, found.n, found.n_groups), chosen)
    return told if found.spread is None else f"{told}, seeds ±{measure(found.spread, chosen.unit)}"


def setting_rows(outcome: Outcome, names: Sequence[str]) -> list[dict[str, str]]:
    """One row a setting, the best first: its values, measures by name, and how far it is behind the best."""
    return [_setting_row(outcome, names, place, result) for place, result in enumerate(outcome.results, start=1)]


def _setting_row(outcome: Outcome, names: Sequence[str], place: int, result: SettingResult) -> dict[str, str]:
    compared = outcome.comparison(result.setting.name)
    short = short_keys([axis.key for axis in outcome.plan.axes])
    row = {"rank": str(place) if result.status == "done" else "failed"}
    row |= {short[key]: value_word(value) for key, value in result.setting.values.items()}
    shown = [MEASURES[name] for name in names if name in measured(outcome)]
    row |= {one.title: average_text(result.averages[one.name], one) for one in shown}
    if outcome.points:
        row["nats a token"] = _price_cell(result.point)
    own = "the run file's own" if result.setting.is_default else ""
    return row | {"behind the best": "" if compared is None else _behind(outcome, compared), "note": own}


def measured(outcome: Outcome) -> tuple[str, ...]:
    """The measures that the page has columns for: win rates where answers were judged."""
    return tuple(name for name in MEASURES if name != WIN_RATE.name or outcome.points)


def _price_cell(point: FrontierPoint | None) -> str:
    if point is None or point.paid is None:
        return measure(None)
    ends = "" if point.paid_low is None else f" ({interval(point.paid_low, point.paid_high, 'share', signed=True)})"
    return f"{percent(point.paid, signed=True)}{ends}{', broken' if point.broken else ''}"


def _behind(outcome: Outcome, compared: Comparison) -> str:
    if compared.difference == 0.0:
        return "level"
    clear = "more than noise" if compared.is_more_than_noise(outcome.confidence) else "may be noise"
    return f"{change(-compared.difference, outcome.plan.measure.unit)}, {clear}"


def trial_rows(outcome: Outcome) -> list[dict[str, str]]:
    """One row a trial: what it is, its measures, and why it failed where it did."""
    rows = []
    for result in outcome.results:
        for found in result.trials:
            row = {"trial": found.trial.name, "status": found.status}
            for name in measured(outcome):
                chosen = MEASURES[name]
                row[chosen.title] = value_text(found.values[name], chosen) if name in found.values else measure(None)
            rows.append(row | {"seconds": number(found.seconds, 1), "error": found.error or ""})
    return rows
