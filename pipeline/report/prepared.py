"""The page on prepared data: what the log held, what became of it, and what is known of it before training."""

from dataclasses import dataclass, replace
from typing import Final

from ..evidence.launch import Plan
from .data_facts import DataFacts, data_facts
from .data_rows import DataRows, data_rows
from .evidence_facts import EvidenceFacts, Leak, ModelRate, Voters, evidence_facts
from .facts import Tile
from .figures.canvas import Picture
from .figures.data import funnel_picture, yield_picture
from .figures.evaluation import Dot, dot_picture
from .flags import split_warnings
from .formatting import count, percent, plural
from .funnel import Step
from .inputs import Missing, ReportInputs
from .launch_facts import launch_facts
from .lineage import Lineage, lineage
from .next_steps import Next, rater_rule, train_rows
from .page import render_template

TABLES: Final = (
    "responses", "rejects", "unpaired", "pairs", "pair_yield", "splits", "raters", "contradictions", "leakage"
)  # fmt: skip
# A hundredth of raters with more than this share of votes decides what the data says.
_BUSY_SHARE: Final = 0.25
_FEW_PAIRS: Final = 200
_FEW_ROWS: Final = 500


@dataclass(frozen=True)
class PreparedFacts:
    """All that the page says."""

    title: str
    run_name: str
    generated_at: str
    sentence: str
    warnings: tuple[str, ...]
    next_steps: tuple[Next, ...]
    tiles: tuple[Tile, ...]
    data: DataFacts
    rows: DataRows | Missing
    evidence: EvidenceFacts
    launch: Plan | Missing
    lineage: Lineage


@dataclass(frozen=True)
class PreparedPictures:
    """The page's pictures; None where there is nothing to draw."""

    funnel: Picture | None
    pair_yield: Picture | None
    models: Picture | None


def prepared_facts(inputs: ReportInputs) -> PreparedFacts:
    """Everything that the page says about `inputs`."""
    data, evidence = data_facts(inputs), evidence_facts(inputs)
    if not isinstance(data.steps, Missing):
        prepared = ("events", "responses", "unpaired", "pairs")
        data = replace(data, steps=tuple(step for step in data.steps if step.stage in prepared))
    return PreparedFacts(
        title=inputs.title,
        run_name=inputs.run_name,
        generated_at=inputs.generated_at,
        sentence=_sentence(inputs, data),
        warnings=_warnings(inputs, evidence),
        next_steps=_next_steps(inputs),
        tiles=_tiles(inputs, evidence),
        data=data,
        rows=data_rows(inputs),
        evidence=evidence,
        launch=launch_facts(inputs),
        lineage=lineage(inputs),
    )


def render_prepared(inputs: ReportInputs) -> str:
    """The page as one HTML document: the same inputs give the same bytes."""
    facts = prepared_facts(inputs)
    return render_template("prepared.html.j2", facts=facts, pictures=_draw(facts))


def _rows(inputs: ReportInputs, table: str) -> int:
    frame = inputs.table(table)
    return 0 if frame is None else frame.height


def _step(data: DataFacts, stage: str) -> Step | None:
    steps = () if isinstance(data.steps, Missing) else data.steps
    return next((step for step in steps if step.stage == stage), None)


def _sentence(inputs: ReportInputs, data: DataFacts) -> str:
    events = _step(data, "events")
    read = "The log" if events is None else plural(events.rows_in, "log row")
    return (
        f"{read} gave {plural(_rows(inputs, 'unpaired'), 'labelled answer')} and "
        f"{plural(_rows(inputs, 'pairs'), 'pair')} on {plural(_rows(inputs, 'splits'), 'prompt')}."
    )


def _warnings(inputs: ReportInputs, evidence: EvidenceFacts) -> tuple[str, ...]:
    """What a person should know before training on this."""
    said = []
    pairs, rows = _rows(inputs, "pairs"), _rows(inputs, "unpaired")
    if pairs < _FEW_PAIRS and rows >= 2 * pairs:
        said.append(
            f"There are only {plural(pairs, 'pair')} and {plural(rows, 'labelled answer')}: a method on single thumbs, "
            f"such as KTO, uses more of this log."
        )
    if max(pairs, rows) < _FEW_ROWS:
        said.append("This is little data: an evaluation on its held-out part will have wide intervals.")
    if (
        isinstance(evidence.voters, Voters)
        and evidence.voters.raters > 1
        and evidence.voters.busiest_share > _BUSY_SHARE
    ):
        said.append(
            f"{percent(evidence.voters.busiest_share)} of the votes come from the busiest hundredth of raters: the "
            f"data says what they like."
        )
    if not isinstance(evidence.leaks, Missing):
        said += [_leak_warning(leak) for leak in evidence.leaks if leak.text != "completion" and leak.leaked]
    said += [flag.text for flag in split_warnings(inputs)]
    if evidence.longer_chosen is not None and abs(evidence.longer_chosen - 0.5) > 0.15:
        side = "longer" if evidence.longer_chosen > 0.5 else "shorter"
        share = max(evidence.longer_chosen, 1 - evidence.longer_chosen)
        said.append(
            f"The {side} answer is the chosen one in {percent(share)} of pairs: length alone can be learned from this."
        )
    return tuple(said)


def _next_steps(inputs: ReportInputs) -> tuple[Next, ...]:
    pairs, rows = _rows(inputs, "pairs"), _rows(inputs, "unpaired")
    few = pairs < _FEW_PAIRS and rows >= 2 * pairs
    found = (rater_rule(inputs), train_rows(inputs, "unpaired" if few else "pairs") if max(pairs, rows) else None)
    return tuple(one for one in found if one is not None)


def _leak_warning(leak: Leak) -> str:
    rows = f"{count(leak.leaked)} of {plural(leak.rows, leak.text)} of {leak.right}"
    if leak.text != "prompt":
        return f"{rows} met a prompt of {leak.left} too: one that many of them share, or an empty one."
    match = "the same as" if leak.match == "exact" else "nearly the same as"
    return f"{rows} are {match} prompts of {leak.left}."


def _tiles(inputs: ReportInputs, evidence: EvidenceFacts) -> tuple[Tile, ...]:
    unpaired = inputs.table("unpaired")
    desirable = 0 if unpaired is None else int(unpaired["label"].sum())
    rows = _rows(inputs, "unpaired")
    tiles = [
        Tile("Labelled answers", count(rows), f"{count(desirable)} desirable, {count(rows - desirable)} undesirable"),
        Tile("Pairs", count(_rows(inputs, "pairs")), "chosen and rejected answers to one prompt"),
        Tile("Prompts", count(_rows(inputs, "splits")), "in train, validation and test"),
    ]
    if isinstance(evidence.voters, Voters):
        tiles.append(Tile("Raters", count(evidence.voters.raters), f"{count(evidence.voters.votes)} standing votes"))
    return tuple(tiles)


def _draw(facts: PreparedFacts) -> PreparedPictures:
    data, models = facts.data, facts.evidence.models
    return PreparedPictures(
        funnel=None if isinstance(data.steps, Missing) or not data.steps else funnel_picture(data.steps),
        pair_yield=None if isinstance(data.pair_yield, Missing) else yield_picture(data.pair_yield),
        models=None if isinstance(models, Missing) else _models_picture(models),
    )


def _models_picture(models: tuple[ModelRate, ...]) -> Picture:
    dots = [Dot(row.model, row.up_share, row.low, row.high, main=False) for row in models]
    return dot_picture(
        "model-thumbs",
        dots,
        unit="share",
        chance=None,
        caption="Share of thumbs up by model, with 95% intervals of its votes. Their prompts may differ.",
    )
