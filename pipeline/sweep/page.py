"""The page of a sweep, and what is written beside it: the trials as a table, and everything as JSON."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from ..report.evaluation_facts import HEADLINES
from ..report.formatting import MINUS
from ..storage.files import write_text
from .choosing import SettingResult
from .grid import described
from .measures import MEASURES, WIN_RATE
from .outcome import Outcome, as_json, trial_table
from .shared import PageHead, write_found
from .words import against_default, final_text, notes, setting_rows, trial_rows, verdict

if TYPE_CHECKING:
    # Imported where they are used: they bring what draws pictures.
    from ..report.figures.canvas import Picture
    from ..report.figures.evaluation import Dot

PAGE: Final = "sweep.html"
TABLE: Final = "sweep.parquet"
FACTS: Final = "sweep.json"
# A picture of more rows than this is no picture; the table has them all.
_DRAWN: Final = 20
_NUMBER: Final = re.compile(rf"[-{MINUS}+]?[\d,]+(\.\d+)?(e[-{MINUS}]?\d+)?")


class Cell(NamedTuple):
    """What a table shows in one place.

    Attributes:
        text: What is read.
        value: What the column is sorted by; None where it holds no number.
    """

    text: str
    value: float | None


@dataclass(frozen=True)
class SweepFacts(PageHead):
    """All that the page says.

    Attributes:
        default: The best against what the run file says; None where there is nothing to say.
        tested: The best on rows that nothing was chosen by.
        settings: A row a setting.
        trials: A row a trial.
    """

    default: str | None
    tested: str | None
    settings: tuple[dict[str, Cell], ...]
    trials: tuple[dict[str, Cell], ...]


def write_outcome(outcome: Outcome, command: str) -> None:
    """Write page, table and facts into the sweep's folder."""
    folder = outcome.plan.output
    write_found(folder, TABLE, trial_table(outcome), FACTS, as_json(outcome))
    write_text(folder / PAGE, render_sweep(outcome, command))


def render_sweep(outcome: Outcome, command: str) -> str:
    """The page as one HTML document."""
    from ..report.page import render_template

    return render_template(
        "sweep.html.j2", facts=_facts(outcome, command), picture=_picture(outcome), price=_price_picture(outcome)
    )


def _facts(outcome: Outcome, command: str) -> SweepFacts:
    clear = [one.is_more_than_noise(outcome.confidence) for one in outcome.comparisons]
    return SweepFacts(
        title=f"Sweep of {outcome.plan.config.name}",
        run_name=outcome.plan.config.name,
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        tone="better" if (clear and all(clear)) or _is_sure(outcome) else "same",
        badge=_badge(outcome, ahead=bool(clear) and all(clear)),
        verdict=verdict(outcome),
        default=against_default(outcome),
        tested=final_text(outcome),
        notes=tuple(notes(outcome)),
        settings=_cells(setting_rows(outcome, list(dict.fromkeys((outcome.plan.measure.name, *MEASURES))))),
        trials=_cells(trial_rows(outcome)),
    )


def _is_sure(outcome: Outcome) -> bool:
    """Whether the best was chosen as the cheapest that is surely better."""
    return outcome.plan.frontier and outcome.cheapest == outcome.best.name


def _badge(outcome: Outcome, *, ahead: bool) -> str:
    if outcome.plan.frontier:
        return "Surely better, and the cheapest" if _is_sure(outcome) else "None surely better"
    return "Clearly ahead" if ahead else "Not clearly ahead"


def _cells(rows: Sequence[dict[str, str]]) -> tuple[dict[str, Cell], ...]:
    """Rows with the numbers that their texts begin with."""
    return tuple({name: Cell(text, _leading_number(text)) for name, text in row.items()} for row in rows)


def _leading_number(text: str) -> float | None:
    found = _NUMBER.match(text)
    return None if found is None else float(found.group().replace(MINUS, "-").replace(",", ""))


def _picture(outcome: Outcome) -> "Picture":
    from ..report.figures.evaluation import dot_picture

    measure = outcome.plan.measure
    chance = next((headline.chance for headline in HEADLINES if headline.name == measure.name), None)
    chance = 0.5 if measure is WIN_RATE else chance
    dots = [dot for result in outcome.results if (dot := _dot(outcome, result)) is not None]
    more = f" The best {_DRAWN} of {len(dots)}." if len(dots) > _DRAWN else ""
    caption = f"{measure.title} of each setting on the validation split, with its interval.{more}"
    return dot_picture("settings", dots[:_DRAWN], unit=measure.unit, chance=chance, caption=caption)


def _price_picture(outcome: Outcome) -> "Picture | None":
    """What settings win over what they pay; None where no answers were judged."""
    from ..report.answer_pictures import PAID, point
    from ..report.figures.frontier import Scale, frontier_picture

    drawn = [
        point(found.point._replace(model=described(found.setting.values)), on_frontier=on_line, chosen=chosen)
        for found in outcome.results
        if found.point is not None and found.point.paid is not None
        for on_line, chosen in [(found.setting.name in outcome.frontier, found.setting.name == outcome.cheapest)]
    ]
    if not drawn:
        return None
    caption = (
        f"What settings win by {outcome.judge} over what their answers cost, both against the untrained model. "
        "On the line no other wins more for less. "
    )
    caption += "The large dot is the cheapest that is surely better." if outcome.cheapest else "None is surely better."
    return frontier_picture(
        "price", drawn, cost=PAID, gain=Scale(f"win rate by {outcome.judge}", "share", 0.5), caption=caption
    )


def _dot(outcome: Outcome, result: SettingResult) -> "Dot | None":
    from ..report.figures.evaluation import Dot

    found = result.averages[outcome.plan.measure.name]
    if found is None:
        return None
    main = result.setting.name == outcome.best.name
    return Dot(described(result.setting.values), found.mean, found.low, found.high, main)
