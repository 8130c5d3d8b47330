"""A user's own rows, in whatever layout: one answer with a label or two that were compared, a row of the file each."""

from typing import Final, NamedTuple

import polars as pl

from ..config import EventsConfig
from ..ingest.frames import read_inputs
from ..reading.remarks import Remarks, as_notes, in_words

ROW: Final = ["source_file", "source_line"]
_KINDS: Final = {"chosen+rejected": "pairs", "up": "unpaired", "down": "unpaired"}


class UserRows(NamedTuple):
    """What a user's file holds.

    Attributes:
        kinds: `pairs`, `unpaired` or both, as the rows are.
        events: Columns of raw events, those of rows that can be scored, in the order of the file.
        rejected: Rows that cannot, by reason; a row without a verdict by its vote.
        said: Sentences on what was not read of the others.
    """

    kinds: list[str]
    events: pl.DataFrame
    rejected: dict[str, int]
    said: tuple[str, ...]


def user_rows(config: EventsConfig) -> UserRows:
    """The rows of a file that are a pair or an answer with its label.

    Raises:
        ConfigError: The format or an option does not hold.
        InputError: The input stands for nothing, or its columns are not clear.
    """
    batches = list(read_inputs(config))
    events = pl.concat([batch.events for batch in batches])
    rejects = pl.concat([batch.rejects for batch in batches])
    votes = pl.col("vote").cast(pl.String)
    rows = events.group_by(ROW, maintain_order=True).agg(
        said=votes.sort().str.join("+"), vote=pl.when(votes.n_unique() == 1).then(votes.first())
    )
    kinds = pl.col("said").replace_strict(_KINDS, default=None, return_dtype=pl.String)
    rows = rows.with_columns(kind=kinds, reason=pl.col("vote").fill_null("several_events"))
    left_out = rows.filter(pl.col("kind").is_null())["reason"]
    reasons = pl.concat([rejects["reason"].cast(pl.String), left_out.alias("reason")])
    usable = rows.filter(pl.col("kind").is_not_null())
    remarks = as_notes(sum((Remarks(batch.remarks) for batch in batches), Remarks()))
    return UserRows(
        sorted(usable["kind"].unique()),
        events.join(usable.select(ROW), on=ROW, how="semi", maintain_order="left"),
        dict(reasons.value_counts().sort("reason").iter_rows()),
        tuple(in_words(remarks)),
    )
