"""What the votes say before any model sees them: who voted, who contradicts whom, how long answers are, what leaks."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl
from scipy import special

from .inputs import Missing, ReportInputs

# Of the models with most votes; a log with more names than this is read from its table.
_MOST_MODELS: Final = 12
_QUANTILES: Final = (0.1, 0.5, 0.9)
# Jeffreys' prior: a half of a vote for each side.
_PRIOR: Final = 0.5
_MASS: Final = 0.95
_VOTES_A_RESPONSE: Final = ((1, 1, "1 vote"), (2, 2, "2 votes"), (3, 5, "3 to 5 votes"), (6, None, "6 votes or more"))


class Voters(NamedTuple):
    """Who voted.

    Attributes:
        raters: Users with at least one vote.
        votes: Standing votes of them.
        median_votes: Votes of the rater in the middle.
        most_votes: Votes of the busiest rater.
        busiest_share: Share of votes that the busiest hundredth of raters (at least one) gave.
        one_label: Raters of five or more votes that never gave the other label.
        one_label_votes: Votes of those.
        discounted: Raters whose weight is below a half.
    """

    raters: int
    votes: int
    median_votes: float
    most_votes: int
    busiest_share: float
    one_label: int
    one_label_votes: int
    discounted: int


class Contradiction(NamedTuple):
    """One kind of contradiction and how often it was seen."""

    kind: str
    seen: int


class VoteDepth(NamedTuple):
    """Responses with so many standing votes."""

    label: str
    responses: int
    share: float


class ModelRate(NamedTuple):
    """Thumbs of one model.

    Attributes:
        model: Its name in the log.
        responses: Responses with at least one standing vote.
        votes: Standing votes on them.
        up_share: Share of thumbs up, with the ends of its 95% interval (Jeffreys).
        low: See `up_share`.
        high: See `up_share`.
    """

    model: str
    responses: int
    votes: int
    up_share: float
    low: float
    high: float


class Lengths(NamedTuple):
    """Characters of one kind of completion: rows, mean, and tenth, middle and ninetieth percentile."""

    kind: str
    rows: int
    mean: float
    low: float
    median: float
    high: float


class Leak(NamedTuple):
    """Texts of one part of the data that stand in another part too."""

    text: str
    match: str
    left: str
    right: str
    rows: int
    leaked: int | None


@dataclass(frozen=True)
class EvidenceFacts:
    """The sections on votes, lengths and leakage.

    Attributes:
        voters: Who voted.
        contradictions: How often votes contradict each other, by kind.
        depth: How many votes responses got.
        models: Thumbs by model, most votes first.
        lengths: Characters of answers, by kind.
        longer_chosen: Share of pairs whose chosen side is the longer one, a tie counting half; None without pairs.
        leaks: What the leakage audit compared.
    """

    voters: Voters | Missing
    contradictions: tuple[Contradiction, ...] | Missing
    depth: tuple[VoteDepth, ...] | Missing
    models: tuple[ModelRate, ...] | Missing
    lengths: tuple[Lengths, ...] | Missing
    longer_chosen: float | None
    leaks: tuple[Leak, ...] | Missing


def evidence_facts(inputs: ReportInputs) -> EvidenceFacts:
    """Votes, lengths and leakage of a run whose data is prepared."""
    pairs = inputs.table("pairs")
    return EvidenceFacts(
        voters=_voters(inputs.table("raters")) if "raters" in inputs.tables else Missing("Raters were not counted."),
        contradictions=_contradictions(inputs.table("contradictions")),
        depth=_depth(inputs.table("responses")),
        models=_models(inputs.table("responses")),
        lengths=_lengths(inputs.table("unpaired"), pairs),
        longer_chosen=None if pairs is None else _longer_chosen(pairs),
        leaks=_leaks(inputs.table("leakage")),
    )


def _voters(raters: pl.DataFrame | None) -> Voters | Missing:
    if raters is None:
        return Missing("No user is named beside a thumb, so thumbs cannot be told apart by who gave them.")
    votes = raters["n_votes"].sort(descending=True)
    busiest = max(1, votes.len() // 100)
    one_sided = raters.filter("one_label")
    total = int(votes.sum())
    return Voters(
        raters=raters.height,
        votes=total,
        median_votes=float(votes.quantile(0.5, "midpoint") or 0.0),
        most_votes=int(votes[0]),
        busiest_share=float(votes.head(busiest).sum()) / total if total else 0.0,
        one_label=one_sided.height,
        one_label_votes=int(one_sided["n_votes"].sum()),
        discounted=raters.filter(pl.col("weight") < 0.5).height,
    )


def _contradictions(table: pl.DataFrame | None) -> tuple[Contradiction, ...] | Missing:
    if table is None:
        return Missing("No votes and no comparisons contradict each other.")
    counted = table.group_by(pl.col("kind").cast(pl.String)).len().sort(["len", "kind"], descending=[True, False])
    return tuple(Contradiction(kind, rows) for kind, rows in counted.iter_rows())


def _depth(responses: pl.DataFrame | None) -> tuple[VoteDepth, ...] | Missing:
    voted = None if responses is None else (responses["n_up"] + responses["n_down"]).rename("votes")
    voted = None if voted is None else voted.filter(voted > 0)
    if voted is None or voted.is_empty():
        return Missing("No response has a standing vote.")
    rows = []
    for low, high, label in _VOTES_A_RESPONSE:
        found = int(((voted >= low) & (voted <= (high or voted.max()))).sum())
        rows.append(VoteDepth(label, found, found / voted.len()))
    return tuple(rows)


def _models(responses: pl.DataFrame | None) -> tuple[ModelRate, ...] | Missing:
    if responses is None or responses["model"].is_null().all():
        return Missing("The log does not say which model answered.")
    counted = (
        responses.filter((pl.col("n_up") + pl.col("n_down")) > 0, pl.col("model").is_not_null())
        .group_by("model")
        .agg(pl.len(), up=pl.col("n_up").sum(), votes=(pl.col("n_up") + pl.col("n_down")).sum())
        .sort(["votes", "model"], descending=[True, False])
        .head(_MOST_MODELS)
    )
    if counted.is_empty():
        return Missing("No response of a named model has a standing vote.")
    return tuple(
        ModelRate(model, rows, votes, up / votes, *_interval(up, votes))
        for model, rows, up, votes in counted.iter_rows()
    )


def _interval(up: int, votes: int) -> tuple[float, float]:
    tail = (1 - _MASS) / 2
    ends = special.betaincinv(up + _PRIOR, votes - up + _PRIOR, [tail, 1 - tail])
    return float(ends[0]), float(ends[1])


def _characters(column: str) -> pl.Expr:
    """Characters of all messages of an answer."""
    return pl.col(column).list.eval(pl.element().struct.field("content").str.len_chars()).list.sum()


def _lengths(unpaired: pl.DataFrame | None, pairs: pl.DataFrame | None) -> tuple[Lengths, ...] | Missing:
    kinds: list[tuple[str, pl.Series]] = []
    if unpaired is not None:
        measured = unpaired.select("label", characters=_characters("completion"))
        kinds += [
            (name, measured.filter(pl.col("label") == label)["characters"])
            for name, label in (("desirable", True), ("undesirable", False))
        ]
    if pairs is not None:
        kinds += [(side, pairs.select(_characters(side)).to_series()) for side in ("chosen", "rejected")]
    rows = [_length_row(name, values) for name, values in kinds if not values.is_empty()]
    return tuple(rows) or Missing("There is neither a labelled row nor a pair.")


def _length_row(kind: str, characters: pl.Series) -> Lengths:
    low, median, high = (float(characters.quantile(at, "linear") or 0.0) for at in _QUANTILES)
    return Lengths(kind, characters.len(), float(characters.to_numpy().mean()), low, median, high)


def _longer_chosen(pairs: pl.DataFrame) -> float:
    chosen, rejected = pl.col("chosen"), pl.col("rejected")
    measured = pairs.select(chosen=_characters("chosen"), rejected=_characters("rejected"))
    half = measured.select((chosen > rejected).mean() + 0.5 * (chosen == rejected).mean())
    return float(half.item())


def _leaks(table: pl.DataFrame | None) -> tuple[Leak, ...] | Missing:
    if table is None:
        return Missing("No leakage audit was made of this data.")
    columns = [pl.col("text").cast(pl.String), pl.col("match").cast(pl.String), "left", "right", "n_right", "n_leaked"]
    return tuple(Leak(*row) for row in table.select(columns).iter_rows())
