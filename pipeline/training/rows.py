"""Tables to training rows: token ids, stored reference log-probs, labels and weights, ready to batch."""

from dataclasses import dataclass

import polars as pl

from pipeline.errors import TrainingError


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """A sequence as training needs it.

    Attributes:
        sequence_id: Its id in table `sequences`.
        prompt_token_ids: What the model is given.
        completion_token_ids: What is scored.
        reference_logps: Nats, summed over the completion, under the reference model; None for a method without one.
    """

    sequence_id: str
    prompt_token_ids: tuple[int, ...]
    completion_token_ids: tuple[int, ...]
    reference_logps: float | None

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_token_ids) + len(self.completion_token_ids)


@dataclass(frozen=True, slots=True)
class PairRow:
    """One pair.

    Attributes:
        row_id: The pair's id.
        chosen: The better completion.
        rejected: The worse one.
        weight: Weight of the row's loss, at least 0.
        chosen_better_probability: Soft label.
    """

    row_id: str
    chosen: TrainingSequence
    rejected: TrainingSequence
    weight: float
    chosen_better_probability: float

    @property
    def sequences(self) -> tuple[TrainingSequence, ...]:
        """Chosen, then rejected."""
        return (self.chosen, self.rejected)


@dataclass(frozen=True, slots=True)
class UnpairedRow:
    """One labelled completion.

    Attributes:
        row_id: The response's id.
        matched: The completion with its own prompt.
        mismatched: The row's prompt with another prompt's completion, for KTO's reference point; None where the
            method takes none or the row has no partner.
        label: True for desirable.
        weight: Weight of the row's loss, at least 0.
        desirable_probability: Soft label.
    """

    row_id: str
    matched: TrainingSequence
    mismatched: TrainingSequence | None
    label: bool
    weight: float
    desirable_probability: float

    @property
    def sequences(self) -> tuple[TrainingSequence, ...]:
        """Matched, then mismatched where there is one."""
        return (self.matched,) if self.mismatched is None else (self.matched, self.mismatched)


Row = PairRow | UnpairedRow


def load_sequences(
    sequences: pl.DataFrame, reference: pl.DataFrame | None, *, needed: pl.Series
) -> dict[str, TrainingSequence]:
    """Sequences by id, each with its stored reference log-prob.

    Args:
        sequences: Table `sequences`.
        reference: Table `reference`; None for a method without a reference.
        needed: Ids of the sequences that training reads.

    Raises:
        TrainingError: A needed sequence has no stored log-prob, or one over another number of tokens.
    """
    wanted = sequences.filter(pl.col("sequence_id").is_in(needed.unique().implode()))
    if reference is None:
        wanted = wanted.with_columns(logps=pl.lit(None, dtype=pl.Float64))
    else:
        wanted = wanted.join(reference, on="sequence_id", how="left", validate="1:1")
        wrong = wanted.filter(pl.col("logps").is_null() | (pl.col("token_count") != pl.col("completion_token_count")))
        if wrong.height:
            raise TrainingError(
                f"train: {wrong.height} of {wanted.height} sequences have no reference log-prob of all their tokens "
                f"(first: {wrong['sequence_id'][0]}). Run the reference stage again."
            )
    columns = wanted.select("sequence_id", "prompt_token_ids", "completion_token_ids", "logps")
    return {
        name: TrainingSequence(name, tuple(prompt), tuple(completion), logps)
        for name, prompt, completion, logps in columns.iter_rows()
    }


def pair_rows(
    pairs: pl.DataFrame, matched: pl.DataFrame, sequences: pl.DataFrame, reference: pl.DataFrame | None
) -> list[PairRow]:
    """The pairs whose two sides both have a sequence, sorted by pair id.

    Args:
        pairs: Rows of table `pairs` of one split.
        matched: `response_id` and `sequence_id` of matched sequences.
        sequences: Table `sequences`.
        reference: Table `reference`, or None.
    """
    sides = (
        pairs.select("pair_id", "chosen_response_id", "rejected_response_id", "chosen_better_probability")
        .join(matched.rename({"sequence_id": "chosen"}), left_on="chosen_response_id", right_on="response_id")
        .join(matched.rename({"sequence_id": "rejected"}), left_on="rejected_response_id", right_on="response_id")
        .sort("pair_id")
    )
    known = load_sequences(sequences, reference, needed=pl.concat([sides["chosen"], sides["rejected"]]))
    return [
        PairRow(row["pair_id"], known[row["chosen"]], known[row["rejected"]], 1.0, row["chosen_better_probability"])
        for row in sides.iter_rows(named=True)
    ]


def unpaired_rows(
    unpaired: pl.DataFrame, row_sequences: pl.DataFrame, sequences: pl.DataFrame, reference: pl.DataFrame | None
) -> list[UnpairedRow]:
    """The unpaired rows that have a sequence, sorted by response id.

    Args:
        unpaired: Rows of table `unpaired` of one split.
        row_sequences: Table `row_sequences`.
        sequences: Table `sequences`.
        reference: Table `reference`, or None.
    """
    roles = {
        role: row_sequences.filter(pl.col("role") == role).select("response_id", pl.col("sequence_id").alias(role))
        for role in ("matched", "mismatched")
    }
    rows = (
        unpaired.select("response_id", "label", "weight", "probability_desirable")
        .join(roles["matched"], on="response_id", how="inner", validate="1:1")
        .join(roles["mismatched"], on="response_id", how="left", validate="1:1")
        .sort("response_id")
    )
    needed = pl.concat([rows["matched"], rows["mismatched"].drop_nulls()])
    known = load_sequences(sequences, reference, needed=needed)
    return [
        UnpairedRow(
            row["response_id"],
            known[row["matched"]],
            None if row["mismatched"] is None else known[row["mismatched"]],
            row["label"],
            row["weight"],
            row["probability_desirable"],
        )
        for row in rows.iter_rows(named=True)
    ]
