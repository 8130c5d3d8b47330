"""The page of a curve over annotations, in HTML and in Markdown."""

from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Final

from ..report.formatting import DASH, count, number, percent, plural
from ..storage.files import write_text
from .claim import DECIDES, Claim
from .curve import Point, points
from .curve_outcome import Curve, write_curve_files
from .measures import MEASURES
from .page import PageFacts, Section, as_html, as_markdown
from .words import Entry, cell_entry, comparison_text

if TYPE_CHECKING:
    # Imported where they are used: they bring what draws pictures.
    from ..report.figures.canvas import Picture

PAGE: Final = "annotations.html"
MARKDOWN: Final = "annotations.md"
_TONES: Final = {"supported": "better", "not supported": "worse", "cannot tell": "same"}


def write_curve(curve: Curve, command: str) -> None:
    """Write page, Markdown, table and facts into the curve's folder."""
    write_curve_files(curve)
    facts, folder = curve_facts(curve, command), curve.plan.output
    write_text(folder / MARKDOWN, as_markdown(facts))
    write_text(folder / PAGE, as_html(facts))


def curve_facts(curve: Curve, command: str) -> PageFacts:
    """All that the page says."""
    drawn = [picture for name in DECIDES if (picture := _picture(curve, name)) is not None]
    sections = [
        Section("grid", "The grid", GRID_NOTE, tuple(grid_rows(curve)), tuple(drawn[1:])),
        Section("claim", "Half the effort", _claim_lead(curve), tuple(claim_rows(curve))),
    ]
    return PageFacts(
        title=f"Annotations on {curve.plan.config.name}",
        run_name=curve.plan.config.name,
        generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        tone=_TONES[curve.answer],
        badge=f"Half the effort: {curve.answer}",
        verdict=curve_verdict(curve),
        notes=tuple(curve_notes(curve)),
        sections=tuple(section for section in sections if section.rows),
        picture=drawn[0] if drawn else None,
    )


GRID_NOTE: Final = (
    "An annotation is one vote. A pair that two thumbs made took all votes on both of its answers, a thumb those on "
    "its one; an answer that several rows share counts once. A pair that was shown as such took its comparisons. Below "
    "each number: the difference from DPO on n pairs."
)


def curve_verdict(curve: Curve) -> str:
    """The verdict on the claim at the largest n."""
    n = max(curve.grid)
    own = [claim for claim in curve.claims if claim.n == n]
    if not own:
        return f"Whether thumbs do with half the effort what {count(n)} pairs do cannot be told."
    point, share = own[0].point, own[0].share
    told = "; ".join(f"by {_called(claim)} {claim.why}" for claim in own)
    return (
        f"KTO on {count(point.rows)} thumbs, {percent(share)} of the annotations of DPO's {count(n)} pairs, does as "
        f"well: {curve.answer} ({told})."
    )


def _called(claim: Claim) -> str:
    return MEASURES[claim.measure].title.lower()


def curve_notes(curve: Curve) -> list[str]:
    """What the reader must know of these numbers."""
    plan = curve.plan
    found = [
        "At each n all arms train on as many completion tokens as DPO does on n pairs by the run file: fewer "
        "rows are passed over more often.",
        "Rows are those of the first prompts in an order that the seed draws, so that fewer are a part of more, and "
        "both methods see the same prompts first.",
        f"Intervals resample prompt groups of the {plan.config.metrics.split} split; over "
        f"{plural(len(plan.seeds), 'seed')} they are averaged. Those over prompt groups and those over "
        "the seeds have to agree.",
        f"As well means at most {percent(curve.within)} worse (--within).",
    ]
    if len(plan.seeds) == 1:
        found.append("One seed: how far other rows would move this is not known; --seeds 0,1,2 shows it.")
    if curve.judge is None:
        found.append("No answers were judged, so there is no win rate: set `generations: {samples: 2}`, and `judges`.")
    found += [
        f"{point.title} failed: {error}"
        for point in points(curve.grid)
        if (error := curve.error_of(point.arm)) is not None
    ]
    return found


def grid_rows(curve: Curve) -> list[dict[str, Entry]]:
    """One row an arm: rows, annotations, and what decides."""
    return [_grid_row(curve, point) for point in points(curve.grid)]


def _grid_row(curve: Curve, point: Point) -> dict[str, Entry]:
    own = curve.efforts[point.arm]
    answers, prompts = (number(fmean(one), 0) for one in zip(*(one[1:] for one in own), strict=True))
    steps = next(trial.steps for trial in curve.trials if trial.arm == point.arm)
    row = {
        "n": Entry(count(point.n), value=float(point.n)),
        "trained": Entry(point.title, "" if curve.error_of(point.arm) is None else "failed"),
        "annotations": Entry(
            number(curve.annotations(point), 0),
            f"{answers} answers, {prompts} prompts",
            curve.annotations(point),
        ),
        "completion tokens": Entry(count(steps.tokens), f"{number(steps.epochs, 2)} epochs", float(steps.tokens)),
    }
    for name in DECIDES:
        if any(name in table for table in curve.tables.values()):
            row[MEASURES[name].title] = cell_entry(MEASURES[name], curve.cell(name, point), curve.confidence)
    return row


def _claim_lead(curve: Curve) -> str:
    return (
        f"At each n the arm of KTO whose annotations are nearest to half of DPO's. The verdict is that of n = "
        f"{count(max(curve.grid))}, which was set before anything was seen."
    )


def claim_rows(curve: Curve) -> list[dict[str, Entry]]:
    """One row an n and measure: the arm of half the effort, its difference, and the verdict."""
    rows = []
    for claim in curve.claims:
        shown = MEASURES[claim.measure]
        told = DASH if claim.comparison is None else comparison_text(shown, claim.comparison, curve.confidence)
        rows.append(
            {
                "n": Entry(count(claim.n), value=float(claim.n)),
                "by": Entry(shown.title),
                "arm": Entry(claim.point.title, f"{percent(claim.share)} of DPO's annotations"),
                "less DPO": Entry(told),
                "half the effort": Entry(claim.answer, claim.why),
            }
        )
    return rows


def _picture(curve: Curve, name: str) -> "Picture | None":
    """A measure over the annotations that it took, a line a kind of arm."""
    from ..report.figures.annotations import Line, lines_picture

    shown = MEASURES[name]
    lines = []
    for kind, title in (("dpo", "DPO, n pairs"), ("kto", "KTO, n thumbs"), ("kto_half", "KTO, n / 2 thumbs")):
        own = [point for point in points(curve.grid) if point.kind == kind]
        placed = [
            (curve.annotations(point), found.mean, found.low, found.high)
            for point in own
            if (cell := curve.cell(name, point)) is not None and (found := cell.average) is not None
        ]
        if placed:
            lines.append(Line(title, tuple(placed)))
    if not lines:
        return None
    caption = f"{shown.title} over annotations, with its interval."
    return lines_picture(
        f"curve-{name.replace('_', '-')}",
        lines,
        unit=shown.unit,
        chance=shown.chance,
        label="annotations",
        caption=caption,
    )
