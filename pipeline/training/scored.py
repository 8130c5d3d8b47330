"""Held-out rows scored from stored log-probs, and the method's loss on each of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from ..config import TrainConfig
from .methods import main_method, terms

if TYPE_CHECKING:
    from thumbline.losses import Term

# Each model with the column of its own log-probs: the untrained one's are the reference's.
MODELS: Final = (("untrained", "reference_logps"), ("trained", "policy_logps"))


class ScoredRows(NamedTuple):
    """Held-out rows, one a model."""

    pairs: pl.DataFrame
    unpaired: pl.DataFrame


def logps_by_response(tables: Mapping[str, pl.DataFrame], role: str, split: str) -> pl.DataFrame:
    """`response_id`, `reference_logps`, `policy_logps` and `token_count` of a split's rows in this role."""
    matched = tables["row_sequences"].filter((pl.col("role") == role) & (pl.col("split") == split))
    reference = tables["reference"].select("sequence_id", "token_count", reference_logps="logps")
    policy = tables["policy"].select("sequence_id", policy_logps="logps")
    return (
        matched.select("response_id", "sequence_id")
        .join(reference, on="sequence_id", how="inner", validate="m:1")
        .join(policy, on="sequence_id", how="inner", validate="m:1")
        .select("response_id", "reference_logps", "policy_logps", "token_count")
    )


def with_losses(
    scored: ScoredRows, tables: Mapping[str, pl.DataFrame], config: TrainConfig, split: str = "test"
) -> ScoredRows:
    """The scored rows of the kind that the method takes with its loss; null where stored log-probs do not give it."""
    if main_method(config).spec.samples_answers:
        # Its loss is one of answers that were sampled, and of the model in the middle of its training.
        return scored
    added = terms(config, *_class_counts(tables))
    if config.clips_ratios:
        # The loss is of clipped ratios, which this stage does not make of what is stored; rewards stay unclipped.
        return scored
    if not main_method(config).spec.paired:
        return scored._replace(unpaired=_unpaired_with_losses(scored.unpaired, tables, added, split))
    if config.weighting != "none":
        # Those weights take the policy's log-probs of every token of the vocabulary, which nothing stores.
        return scored
    return scored._replace(pairs=_pairs_with_losses(scored.pairs, tables, added, config.ld_alpha))


def _pairs_with_losses(
    pairs: pl.DataFrame, tables: Mapping[str, pl.DataFrame], added: "list[Term]", ld_alpha: float
) -> pl.DataFrame:
    # Imported here, so that a run that skips this stage does not wait for torch.
    from .held_out import pair_losses

    weight = pl.col("weight") if "weight" in tables["pairs"].columns else pl.lit(1.0)
    weights = tables["pairs"].select("pair_id", "chosen_response_id", "rejected_response_id", weight=weight)
    parts = [pairs.clear()]
    for part in _by_model(pairs):
        rows = part.join(weights, on="pair_id", how="left", validate="1:1", maintain_order="left")
        if ld_alpha < 1.0:
            rows = _with_tails(rows, tables)
        parts.append(part.with_columns(pair_losses(added, rows, ld_alpha)))
    return pl.concat(parts)


def _unpaired_with_losses(
    unpaired: pl.DataFrame, tables: Mapping[str, pl.DataFrame], added: "list[Term]", split: str
) -> pl.DataFrame:
    from .held_out import unpaired_losses

    weights = tables["unpaired"].select("response_id", "weight", "probability_desirable")
    mismatched = logps_by_response(tables, "mismatched", split)
    sources = dict(MODELS)
    parts = [unpaired.clear()]
    for part in _by_model(unpaired):
        rows = part.join(weights, on="response_id", how="left", validate="1:1", maintain_order="left")
        others = mismatched.select("reference_logps", policy_logps=sources[part["model"][0]])
        parts.append(part.with_columns(unpaired_losses(added, rows, others)))
    return pl.concat(parts)


def _with_tails(rows: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Pairs of one model with the log-probs of tokens beyond their shorter answer, where those of tokens are stored."""
    scorers = {"policy": "policy" if rows["model"][0] == "trained" else "reference", "reference": "reference"}
    if any("token_logps" not in tables[table].columns for table in scorers.values()):
        return rows
    matched = tables["row_sequences"].filter(pl.col("role") == "matched")
    shared = pl.min_horizontal("chosen_token_count", "rejected_token_count")
    for name, table in scorers.items():
        tokens = matched.join(tables[table], on="sequence_id", how="inner", validate="m:1")
        for side in ("chosen", "rejected"):
            own = tokens.select(pl.col("response_id").alias(f"{side}_response_id"), "token_logps")
            tail = pl.col("token_logps").cast(pl.List(pl.Float64)).list.slice(shared).list.sum()
            rows = (
                rows.join(own, on=f"{side}_response_id", how="left", validate="m:1", maintain_order="left")
                .with_columns(tail.alias(f"{name}_{side}_tail_logps"))
                .drop("token_logps")
            )
    return rows


def _by_model(rows: pl.DataFrame) -> list[pl.DataFrame]:
    return rows.partition_by("model", maintain_order=True)


def _class_counts(tables: Mapping[str, pl.DataFrame]) -> tuple[int, int]:
    """How many unpaired training rows are desirable and undesirable."""
    trained = tables["row_sequences"].filter((pl.col("split") == "train") & (pl.col("role") == "matched"))
    labels = tables["unpaired"].join(trained, on="response_id", how="semi")["label"]
    desirable = int(labels.sum())
    return desirable, labels.len() - desirable
