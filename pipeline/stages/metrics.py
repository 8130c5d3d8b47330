"""Stored log-probs to scored rows, and scored rows to metrics with intervals.

Held-out pairs and unpaired rows are scored twice from stored log-probs: as the untrained model (its policy
log-probs are the reference's) and as the trained one. Metrics come from these rows alone, so no batch size,
order or number of processes can change them.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from thumbline.evaluators import EvaluationError, EvaluationSettings, RewardKind, evaluate
from thumbline.plugins import origins

from ..config import RunConfig, TrainConfig
from ..context import StageContext, StageResult
from ..errors import TableError
from ..storage.manifests import Counts
from ..tables import polars_schema

VERSION = 3
INPUTS = ("responses", "pairs", "unpaired", "splits", "sequences", "row_sequences", "reference", "policy")
OUTPUTS = ("scored_pairs", "scored_unpaired", "metrics")

# Methods whose own reward is no summed log-ratio: those without a reference, and those that take it a token.
_REWARD_OF_METHOD: Mapping[str, RewardKind] = {
    "dpo_norm": "mean_implicit",
    "orpo": "mean_logps",
    "simpo": "mean_logps",
    "alphapo": "mean_logps",
    "cpo": "sum_logps",
}
# The scale of a method's reward where its settings do not say: each loss's own default.
_SCALE_OF_METHOD: Mapping[str, float] = {"simpo": 2.0, "alphapo": 2.5, "dpo_norm": 5.0}
_DEFAULT_SCALE = 0.1
_MODELS = (("untrained", "reference_logps"), ("trained", "policy_logps"))
# Scripts told apart by their letters: what can be known of a prompt's language without a model of it.
_SCRIPTS: dict[str, str] = {
    "latin": r"\p{Latin}",
    "cyrillic": r"\p{Cyrillic}",
    "han": r"\p{Han}",
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "hangul": r"\p{Hangul}",
    "arabic": r"\p{Arabic}",
    "devanagari": r"\p{Devanagari}",
    "greek": r"\p{Greek}",
    "hebrew": r"\p{Hebrew}",
    "thai": r"\p{Thai}",
}


class ScoredRows(NamedTuple):
    """Held-out rows, one a model."""

    pairs: pl.DataFrame
    unpaired: pl.DataFrame


def settings(config: RunConfig) -> dict[str, Any]:
    """The metrics' own settings, and what they take from the method."""
    return {
        **config.metrics.model_dump(mode="json"),
        "reward": reward_kind(config),
        "beta": reward_beta(config),
        **config.train.model_dump(mode="json", include={"method", "loss", "also"}),
    }


def external(config: RunConfig) -> Mapping[str, str]:
    """The packages that add evaluators, which all run, or the methods whose loss is among the metrics."""
    return origins("thumbline.losses", config.train.methods) | origins("thumbline.evaluators")


def reward_kind(config: RunConfig) -> RewardKind:
    """What a row's reward is: as set, or what the method trains."""
    if config.metrics.reward != "auto":
        return config.metrics.reward
    if config.train.method == "ipo" and config.train.loss.get("reading", "mean") == "mean":
        return "mean_implicit"
    return _REWARD_OF_METHOD.get(config.train.method, "implicit")


def reward_beta(config: RunConfig) -> float:
    """Scale of a reward: as set, or the method's own, which ORPO calls lambda."""
    if config.metrics.beta is not None:
        return config.metrics.beta
    method = config.train.method
    default = _SCALE_OF_METHOD.get(method, _DEFAULT_SCALE)
    return float(config.train.loss.get("lambda_orpo" if method == "orpo" else "beta", default))


def transform(tables: Mapping[str, pl.DataFrame]) -> ScoredRows:
    """Scored pairs and unpaired rows of the test split, for the untrained and the trained model, without losses.

    Args:
        tables: This stage's input tables by name. A row whose sequence was dropped is not scored.
    """
    groups = tables["splits"].filter(pl.col("split") == "test").select("prompt_id", "group_id")
    by_response = _logps_by_response(tables, "matched").join(
        _facts_by_response(tables["responses"]), on="response_id", how="left", validate="1:1"
    )
    pairs = tables["pairs"].join(groups, on="prompt_id", how="inner", validate="m:1")
    for side in ("chosen", "rejected"):
        renamed = by_response.rename(lambda name, side=side: f"{side}_{name}")  # type: ignore[misc]
        pairs = pairs.join(renamed, on=f"{side}_response_id", how="inner", validate="m:1")
    unpaired = (
        tables["unpaired"]
        .join(groups, on="prompt_id", how="inner", validate="m:1")
        .join(by_response, on="response_id", how="inner", validate="1:1")
    )
    return ScoredRows(_per_model_pairs(pairs), _per_model_unpaired(unpaired))


def _logps_by_response(tables: Mapping[str, pl.DataFrame], role: str) -> pl.DataFrame:
    """`response_id`, `reference_logps`, `policy_logps` and `token_count` of held-out rows in this role."""
    matched = tables["row_sequences"].filter((pl.col("role") == role) & (pl.col("split") == "test"))
    reference = tables["reference"].select("sequence_id", "token_count", reference_logps="logps")
    policy = tables["policy"].select("sequence_id", policy_logps="logps")
    return (
        matched.select("response_id", "sequence_id")
        .join(reference, on="sequence_id", how="inner", validate="m:1")
        .join(policy, on="sequence_id", how="inner", validate="m:1")
        .select("response_id", "reference_logps", "policy_logps", "token_count")
    )


def _facts_by_response(responses: pl.DataFrame) -> pl.DataFrame:
    """`response_id` and what a held-out row can be sliced by."""
    return responses.select(
        "response_id",
        response_model="model",
        script=_script(),
        turns=pl.col("prompt").list.eval(pl.element().struct.field("role") == "user").list.sum().cast(pl.Int64),
        votes=pl.col("n_up") + pl.col("n_down"),
    )


def _script() -> pl.Expr:
    """The script of most letters of the prompt's last message; null where there is no letter of a known one."""
    text = pl.col("prompt").list.last().struct.field("content")
    counts = {name: text.str.count_matches(pattern) for name, pattern in _SCRIPTS.items()}
    most = pl.max_horizontal(*counts.values())
    found: pl.Expr = pl.lit(None, pl.String)
    for name in reversed(_SCRIPTS):
        found = pl.when((counts[name] == most) & (most > 0)).then(pl.lit(name)).otherwise(found)
    return found


def _per_model_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    parts = [
        pairs.select(
            "pair_id",
            "group_id",
            model=pl.lit(model),
            policy_chosen_logps=f"chosen_{source}",
            policy_rejected_logps=f"rejected_{source}",
            reference_chosen_logps="chosen_reference_logps",
            reference_rejected_logps="rejected_reference_logps",
            chosen_token_count="chosen_token_count",
            rejected_token_count="rejected_token_count",
            chosen_better_probability="chosen_better_probability",
            loss=pl.lit(None, pl.Float64),
            pair_source="pair_source",
            response_model="chosen_response_model",
            script="chosen_script",
            turns="chosen_turns",
            votes=pl.col("chosen_votes") + pl.col("rejected_votes"),
        )
        for model, source in _MODELS
    ]
    return pl.concat(parts).select(list(polars_schema("scored_pairs", optional=True))).sort("model", "pair_id")


def _per_model_unpaired(unpaired: pl.DataFrame) -> pl.DataFrame:
    parts = [
        unpaired.select(
            "response_id",
            "group_id",
            model=pl.lit(model),
            label="label",
            policy_logps=source,
            reference_logps="reference_logps",
            token_count="token_count",
            loss=pl.lit(None, pl.Float64),
            response_model="response_model",
            script="script",
            turns="turns",
            votes="votes",
        )
        for model, source in _MODELS
    ]
    return pl.concat(parts).select(list(polars_schema("scored_unpaired", optional=True))).sort("model", "response_id")


def with_losses(scored: ScoredRows, tables: Mapping[str, pl.DataFrame], config: TrainConfig) -> ScoredRows:
    """The scored rows of the kind that the method takes with its loss; null where stored log-probs do not give it."""
    # Imported here, so that a run that skips this stage does not wait for torch.
    from thumbline.losses import Term, loss_spec

    from ..training.held_out import pair_losses, unpaired_losses

    method = Term(config.method, 1.0, {**_class_counts(tables, config.method), **config.loss})
    terms = [method, *(Term(term.method, term.weight, term.loss) for term in config.also)]
    if loss_spec(config.method).paired:
        parts = [part.with_columns(pair_losses(terms, part)) for part in _by_model(scored.pairs)]
        return scored._replace(pairs=pl.concat([scored.pairs.clear(), *parts]))
    weights = tables["unpaired"].select("response_id", "weight", "probability_desirable")
    mismatched = _logps_by_response(tables, "mismatched")
    sources = dict(_MODELS)
    parts = []
    for part in _by_model(scored.unpaired):
        rows = part.join(weights, on="response_id", how="left", validate="1:1", maintain_order="left")
        others = mismatched.select("reference_logps", policy_logps=sources[part["model"][0]])
        parts.append(part.with_columns(unpaired_losses(terms, rows, others)))
    return scored._replace(unpaired=pl.concat([scored.unpaired.clear(), *parts]))


def _by_model(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return rows.partition_by("model", maintain_order=True)


def _class_counts(tables: Mapping[str, pl.DataFrame], method: str) -> dict[str, int]:
    """How many training rows of each class there were, which KTO weighs its classes by."""
    if method != "kto":
        return {}
    trained = tables["row_sequences"].filter((pl.col("split") == "train") & (pl.col("role") == "matched"))
    labels = tables["unpaired"].join(trained, on="response_id", how="semi")["label"]
    desirable = int(labels.sum())
    return {"n_desirable": desirable, "n_undesirable": labels.len() - desirable}


def run(context: StageContext) -> StageResult:
    """Read what was scored, write `scored_pairs`, `scored_unpaired` and `metrics`."""
    config = context.config
    tables = {name: context.read(name) for name in INPUTS}
    scored = with_losses(transform(tables), tables, config.train)
    chosen = EvaluationSettings(
        beta=reward_beta(config),
        reward=reward_kind(config),
        bootstrap_draws=config.metrics.bootstrap_draws,
        confidence=config.metrics.confidence,
        seed=config.metrics.seed,
        slice_columns=config.metrics.slices,
    )
    try:
        evaluated = evaluate(scored.pairs, scored.unpaired, chosen)
    except EvaluationError as error:
        raise TableError(f"metrics: {error}") from error
    held_out = tables["splits"].filter(pl.col("split") == "test").select("prompt_id")
    rows_in = sum(tables[kind].join(held_out, on="prompt_id", how="semi").height for kind in ("pairs", "unpaired"))
    rows_out = (scored.pairs.height + scored.unpaired.height) // 2
    return StageResult(
        outputs={
            "scored_pairs": context.write("scored_pairs", scored.pairs),
            "scored_unpaired": context.write("scored_unpaired", scored.unpaired),
            "metrics": context.write("metrics", evaluated),
        },
        counts=Counts(rows_in=rows_in, rows_out=rows_out, rejected=rows_in - rows_out),
        notes={"reward": reward_kind(config), "beta": reward_beta(config), "pairs": scored.pairs.height // 2},
    )
