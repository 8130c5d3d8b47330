"""The page of a comparison of methods, in HTML and in Markdown."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ..storage.files import write_text
from ..sweep.shared import PageHead
from .facts import FOLK
from .markdown import escaped, prose, table
from .measures import MEASURES
from .outcome import Outcome, is_clear, write_files
from .words import (
    ANSWERS,
    FOLK_NOTE,
    PREFERENCES,
    Entry,
    cost_rows,
    decisive,
    folk_rows,
    measure_rows,
    notes,
    trial_rows,
    verdict,
)

if TYPE_CHECKING:
    # Imported where they are used: they bring what draws pictures.
    from ..report.figures.canvas import Picture

PAGE: Final = "methods.html"
MARKDOWN: Final = "methods.md"
_COST_LEAD: Final = (
    "Means over the seeds; the peak is the highest. In all: with scoring, sampling and judging of the trained model."
)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        lead: What is to be seen.
        rows: A table; none where there is nothing to show.
        pictures: Below it.
        terms: Words of the table, and what they mean.
    """

    name: str
    title: str
    lead: str
    rows: tuple[dict[str, Entry], ...]
    pictures: "tuple[Picture, ...]" = ()
    terms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PageFacts(PageHead):
    """All that a page says.

    Attributes:
        sections: Its parts.
        picture: Beside the verdict; None for none.
    """

    sections: tuple[Section, ...]
    picture: "Picture | None" = None


def write_outcome(outcome: Outcome, command: str) -> None:
    """Write page, Markdown, table and facts into the comparison's folder."""
    write_files(outcome)
    write_page(outcome, facts_of(outcome, command))


def write_page(outcome: Outcome, facts: PageFacts) -> None:
    """Write a page and the same in Markdown."""
    folder = outcome.plan.output
    write_text(folder / MARKDOWN, as_markdown(facts))
    write_text(folder / PAGE, as_html(facts))


def as_html(facts: PageFacts) -> str:
    """The page as one HTML document."""
    from ..report.page import render_template

    anchors = [*((section.name, section.title) for section in facts.sections), ("command", "Command")]
    return render_template("side_by_side.html.j2", facts=facts, anchors=anchors)


def as_markdown(facts: PageFacts) -> str:
    """The page in Markdown, without its pictures."""
    parts = [f"# {escaped(facts.title)}", f"**{escaped(facts.verdict)}**"]
    parts += ["\n".join(f"- {prose(note)}" for note in facts.notes)]
    for section in facts.sections:
        if section.rows:
            parts += [f"## {section.title}", escaped(section.lead), table(section.rows)]
            parts += ["\n".join(f"- **{escaped(word)}**: {escaped(said)}" for word, said in section.terms)]
    parts += ["## Command", f"    {' '.join(facts.command.split())}"]
    return "\n\n".join(part for part in parts if part) + "\n"


def facts_of(outcome: Outcome, command: str) -> PageFacts:
    """All that the page of a comparison says."""
    name = decisive(outcome)
    cells = [] if name is None else [outcome.cell(name, arm.name) for arm in outcome.plan.arms]
    clear = any(cell and cell.comparison and is_clear(cell.comparison, outcome.confidence) for cell in cells)
    return PageFacts(
        title=f"Methods on {outcome.plan.config.name}",
        run_name=outcome.plan.config.name,
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        tone="better" if clear else "same",
        badge="Some differ by more than noise" if clear else "No clear difference",
        verdict=verdict(outcome),
        notes=tuple(notes(outcome)),
        sections=tuple(_sections(outcome)),
        picture=None if name is None else next(iter(_pictures(outcome, (name,))), None),
    )


def _sections(outcome: Outcome) -> list[Section]:
    baseline = outcome.plan.arm(outcome.plan.baseline).spec.title
    below = (
        f"Below each number: the difference from {baseline} on the same rows, its interval, and its corrected p-value."
    )
    sections = [
        Section("cost", "What each takes", _COST_LEAD, tuple(cost_rows(outcome))),
        Section(
            "preferences",
            "Held-out preferences",
            below,
            tuple(measure_rows(outcome, PREFERENCES)),
            _pictures(outcome, _drawn(outcome, ("log_ratio_accuracy", "auc"))),
            _terms(outcome, PREFERENCES),
        ),
        Section(
            "answers",
            "Sampled answers",
            below,
            tuple(measure_rows(outcome, ANSWERS)),
            _pictures(outcome, _drawn(outcome, ("win_rate", "thumbs_up", "kl", "length"))),
            _terms(outcome, ANSWERS),
        ),
        Section("table", "The tutorials' table", FOLK_NOTE, tuple(folk_rows(outcome)) if FOLK else ()),
        Section("trials", "Trials", "One training each: a run's folder.", tuple(trial_rows(outcome))),
    ]
    return [section for section in sections if section.rows]


def _drawn(outcome: Outcome, names: tuple[str, ...]) -> tuple[str, ...]:
    """The measures that are drawn in their section: what decides stands beside the verdict."""
    return tuple(name for name in names if name != decisive(outcome))


def _terms(outcome: Outcome, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((MEASURES[name].title, MEASURES[name].meaning) for name in names if name in outcome.measures)


def _pictures(outcome: Outcome, names: tuple[str, ...]) -> "tuple[Picture, ...]":
    """A dot and an interval a method, of the measures that there are."""
    from ..report.figures.evaluation import Dot, dot_picture

    drawn = []
    for name in names:
        shown = MEASURES[name]
        dots = [
            Dot(arm.spec.title, found.mean, found.low, found.high, arm.name == outcome.plan.baseline)
            for arm in outcome.plan.arms
            if (cell := outcome.cell(name, arm.name)) is not None and (found := cell.average) is not None
        ]
        if dots:
            caption = f"{shown.title} of each method, with its interval."
            drawn.append(
                dot_picture(
                    f"dots-{name.replace('_', '-')}", dots, unit=shown.unit, chance=shown.chance, caption=caption
                )
            )
    return tuple(drawn)
