"""Two answers to one prompt, which is the better one, and how surely: from votes and from comparisons.

Both give rows of one layout: `prompt_id`, `pair_group`, `chosen_response_id`, `rejected_response_id`, `pair_source`,
`margin`, `chosen_better_probability`; and a `reason` where the two do not make a pair.
"""

from typing import Final

import polars as pl

from ..config import PairsConfig, ResponsesConfig
from ..identity import normalised_answer, same_but_for_space, same_loosely, with_extra
from ..tables import PAIR_DROP, PAIR_SOURCE
from ..workers import IN_MEMORY
from .posterior import beta_above_half, beta_above_other
from .similarity import text_similarity

LAYOUT: Final = (
    "prompt_id",
    "pair_group",
    "chosen_response_id",
    "rejected_response_id",
    "pair_source",
    "margin",
    "chosen_better_probability",
    "reason",
)
# Of each prompt's pairs, so many times max_per_prompt are looked at before alike texts are left out. It bounds what a
# prompt with thousands of rated answers costs.
_CANDIDATES: Final = 8
# What is looked at of all answers that votes may pair, beside their models.
CANDIDATE_COLUMNS: Final = (
    "prompt_id",
    "response_id",
    "label",
    "posterior_mean",
    "n_up",
    "n_down",
    "up_evidence",
    "down_evidence",
)


def vote_sides(responses: pl.LazyFrame, config: PairsConfig, prior: ResponsesConfig) -> pl.LazyFrame:
    """Pairs by votes, those with alike texts marked, at most `max_per_prompt` unmarked ones a prompt group.

    Args:
        responses: Table `responses` with `pair_group`.
        config: Strategy and thresholds.
        prior: The Beta prior that the posteriors were made with.
    """
    place = _place(config)
    candidates = _candidates(responses, config).select(*place, *CANDIDATE_COLUMNS)
    # Most prompts have one answer; the others are few enough to be ranked.
    candidates = candidates.filter(pl.len().over(place) > 1)
    better, worse = _ends(candidates, place, config)
    worse = worse.rename(lambda name: name if name in place else f"{name}_rejected")
    # Every better answer meets every worse one of its place; an answer without a model meets those without one.
    crossed = better.join(worse, on=place, how="inner", nulls_equal=True, validate="m:m")
    margin = pl.col("posterior_mean") - pl.col("posterior_mean_rejected")
    kept = crossed.with_columns(margin=margin).filter((pl.col("margin") > 0) & (pl.col("margin") >= config.min_margin))
    limit = 1 if config.strategy == "best_worst" else config.max_per_prompt
    # Made once: they are joined with their texts' ids, and polars would make them for each.
    largest = _largest(kept, _CANDIDATES * limit).collect(engine=IN_MEMORY).lazy()
    ranked = _with_likeness(_with_completions(largest, responses), config).with_columns(
        ups=pl.col("up_evidence") + prior.prior_up,
        downs=pl.col("down_evidence") + prior.prior_down,
        other_ups=pl.col("up_evidence_rejected") + prior.prior_up,
        other_downs=pl.col("down_evidence_rejected") + prior.prior_down,
    )
    sides = ranked.with_columns(
        chosen_response_id="response_id",
        rejected_response_id="response_id_rejected",
        pair_source=pl.lit("votes", PAIR_SOURCE),
        chosen_better_probability=beta_above_other(*(pl.col(name) for name in _SHAPES)),
        reason=_alike(pl.lit(config.max_similarity)),
    )
    return _first_unmarked(sides, limit).select(LAYOUT)


_SHAPES: Final = ("ups", "downs", "other_ups", "other_downs")


def _candidates(responses: pl.LazyFrame, config: PairsConfig) -> pl.LazyFrame:
    voted = responses.filter(pl.col("up_evidence") + pl.col("down_evidence") > 0)
    if config.opposite_labels:
        voted = voted.filter(pl.col("label") != "abstain")
    return voted if config.model is None else voted.filter(pl.col("models").list.contains(config.model))


def may_be_paired(responses: pl.LazyFrame, config: PairsConfig) -> pl.LazyFrame:
    """`response_id` of some answers of prompts: those that votes may pair with an answer that is not among them, too.

    Args:
        responses: Rows of table `responses` with `pair_group`; their texts are not looked at.
        config: Strategy and thresholds.
    """
    place = _place(config)
    ends = _ends(_candidates(responses, config).select(*place, *CANDIDATE_COLUMNS), place, config)
    return pl.concat([end.select("response_id") for end in ends]).unique()


def _place(config: PairsConfig) -> list[str]:
    """What the answers of a pair have in common."""
    return ["pair_group", "model"] if config.same_model else ["pair_group"]


def _ends(candidates: pl.LazyFrame, place: list[str], config: PairsConfig) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The answers that can be chosen and those that can be rejected: the best and the worst of each place.

    The pairs with the n largest margins are among the n best times the n worst. Where means are equal, the answer
    with more evidence comes first.
    """
    limit = 1 if config.strategy == "best_worst" else _CANDIDATES * config.max_per_prompt
    evidence = pl.col("up_evidence") + pl.col("down_evidence")
    best = candidates.sort(["posterior_mean", evidence, "response_id"], descending=[True, True, False])
    worst = candidates.sort(["posterior_mean", evidence, "response_id"], descending=[False, True, False])
    if config.opposite_labels:
        best, worst = best.filter(pl.col("label") == "desirable"), worst.filter(pl.col("label") == "undesirable")
    return best.group_by(place, maintain_order=True).head(limit), worst.group_by(place, maintain_order=True).head(limit)


def _largest(crossed: pl.LazyFrame, limit: int) -> pl.LazyFrame:
    order = ["pair_group", "margin", "response_id", "response_id_rejected"]
    ranked = crossed.sort(order, descending=[False, True, False, False])
    return ranked.group_by("pair_group", maintain_order=True).head(limit)


def _with_completions(sides: pl.LazyFrame, responses: pl.LazyFrame) -> pl.LazyFrame:
    """Sides with the texts of both answers, `completion` and `completion_rejected`, in their order."""
    ids = pl.concat([sides.select("response_id"), sides.select(response_id="response_id_rejected")])
    # Few of all texts, so that the two joins are of small tables.
    texts = responses.select("response_id", "completion", "completion_extra").join(ids, on="response_id", how="semi")
    other = texts.rename(lambda name: f"{name}_rejected")
    for table, name in ((texts, "response_id"), (other, "response_id_rejected")):
        sides = sides.join(table, on=name, how="left", validate="m:1", maintain_order="left")
    return sides


def _first_unmarked(sides: pl.LazyFrame, limit: int) -> pl.LazyFrame:
    """All marked sides and the first `limit` others of each group, which come with the largest margin first."""
    unmarked = pl.col("reason").is_null()
    rank = unmarked.cast(pl.Int64).cum_sum().over("pair_group")
    return sides.filter(~unmarked | (rank <= limit))


def _with_likeness(sides: pl.LazyFrame, config: PairsConfig) -> pl.LazyFrame:
    """Sides with how alike the two answers are with what goes along with their texts, and what lies in white space.

    Of a `similarity` below `max_similarity` nothing more is known.
    """
    texts = [pl.col(name) for name in ("completion", "completion_rejected")]
    extras = [pl.col(name) for name in ("completion_extra", "completion_extra_rejected")]
    ours, theirs = pl.col("ours"), pl.col("theirs")
    return (
        sides.with_columns(ours=normalised_answer(texts[0]), theirs=normalised_answer(texts[1]))
        .with_columns(
            similarity=text_similarity(
                with_extra(ours, extras[0]), with_extra(theirs, extras[1]), least=config.max_similarity
            ),
            same_text=same_loosely(*texts),
            same_layout=_indents(ours) == _indents(theirs),
            same_but_for_space=same_but_for_space(ours, theirs),
            same_extra=extras[0].eq_missing(extras[1]),
        )
        .drop("ours", "theirs")
    )


def with_similarity(sides: pl.LazyFrame, responses: pl.LazyFrame) -> pl.LazyFrame:
    """Sides with the `similarity` of their answers' texts.

    Args:
        sides: Columns `chosen_response_id` and `rejected_response_id`.
        responses: Table `responses` with its texts.
    """
    ends = {"chosen_response_id": "", "rejected_response_id": "_rejected"}
    named = sides.rename({name: f"response_id{suffix}" for name, suffix in ends.items()})
    texts = _with_completions(named, responses)
    ours, theirs = (
        with_extra(normalised_answer(pl.col(f"completion{suffix}")), pl.col(f"completion_extra{suffix}"))
        for suffix in ends.values()
    )
    found = texts.with_columns(similarity=text_similarity(ours, theirs))
    return found.rename({f"response_id{suffix}": name for name, suffix in ends.items()})


def _indents(text: pl.Expr) -> pl.Expr:
    """The white space that each line begins with, as one text: equal only for texts of as many lines."""
    return text.str.extract_all(r"(?m)^[^\S\n]*").list.join("\n")


def _alike(threshold: pl.Expr) -> pl.Expr:
    """Why two answers are too alike to be a pair; null where they are not.

    Answers that differ in white space alone are never too alike: it is all that the votes can be about. Nor are answers
    that call tools or think differently, however near their texts are.
    """
    return (
        pl.when(pl.col("same_but_for_space") | ~pl.col("same_extra"))
        .then(None)
        .when(pl.col("same_text") & pl.col("same_layout"))
        .then(pl.lit("identical_text", PAIR_DROP))
        .when(pl.col("similarity") > threshold)
        .then(pl.lit("near_identical", PAIR_DROP))
    )


def comparison_sides(responses: pl.LazyFrame, comparisons: pl.LazyFrame, config: PairsConfig) -> pl.LazyFrame:
    """One row a compared pair of answers and kind; draws, alike texts and other models' answers marked.

    An edited answer has no model and is near its original: of an edit the model asked for is the original's, and only a
    text equal up to case and punctuation is too alike.

    Args:
        responses: Table `responses` with `pair_group`.
        comparisons: Table `comparisons`.
        config: Kinds, models and thresholds.
    """
    compared = comparisons.filter(pl.col("kind").is_in(config.comparison_kinds))
    # Few of all answers, so that the joins are of small tables.
    answers = responses.join(compared.select("prompt_id"), on="prompt_id", how="semi")
    facts = answers.select("response_id", "completion", "completion_extra", "model", "models")
    named = (
        compared.join(answers.select("prompt_id", "pair_group").unique(), on="prompt_id", how="left", validate="m:1")
        .join(facts, left_on="chosen_response_id", right_on="response_id", how="left", validate="m:1")
        .join(
            facts,
            left_on="rejected_response_id",
            right_on="response_id",
            how="left",
            validate="m:1",
            suffix="_rejected",
        )
    )
    total = pl.col("n_chosen") + pl.col("n_rejected") + pl.col("n_tied")
    half_ties = pl.col("n_tied") / 2.0 + config.comparison_prior
    edited = pl.col("kind") == "edit"
    return (
        _with_likeness(named, config)
        .with_columns(
            pair_source=pl.col("kind").cast(pl.String).cast(PAIR_SOURCE),
            margin=pl.when(total > 0).then((pl.col("n_chosen") - pl.col("n_rejected")) / total).otherwise(0.0),
            chosen_better_probability=beta_above_half(pl.col("n_chosen") + half_ties, pl.col("n_rejected") + half_ties),
            reason=pl.coalesce(
                _drawn(),
                _of_other_model(config, edited),
                _alike(pl.when(edited).then(1.0).otherwise(config.max_similarity)),
            ),
        )
        .select(LAYOUT)
    )


def _drawn() -> pl.Expr:
    even = pl.col("n_chosen") == pl.col("n_rejected")
    only_bad = pl.col("n_chosen") + pl.col("n_rejected") + pl.col("n_tied") == 0
    return (
        pl.when(only_bad).then(pl.lit("both_bad", PAIR_DROP)).when(even).then(pl.lit("tied", PAIR_DROP)).otherwise(None)
    )


def _of_other_model(config: PairsConfig, edited: pl.Expr) -> pl.Expr:
    other = pl.lit(False)
    if config.same_model:
        other = other | (~edited & pl.col("model").ne_missing(pl.col("model_rejected")))
    if config.model is not None:
        asked = pl.col("models").list.contains(config.model)
        other = other | ~pl.col("models_rejected").list.contains(config.model) | (~edited & ~asked)
    return pl.when(other).then(pl.lit("other_model", PAIR_DROP))
