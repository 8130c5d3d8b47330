"""All tables of a set of prompts, from its events and their texts: the same here and in a task of a cluster."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Self

import polars as pl

from ..config import PairsConfig, ResponsesConfig, RunConfig, SplitsConfig, UnpairedConfig
from ..evidence.split_parts import Part as SplitPart
from ..evidence.split_parts import joined_part, part_of
from ..ingest.merging import Part, Piece
from ..stages import pairs, responses, unpaired
from ..storage.texts import without_texts
from ..tables import TIME, polars_schema

_TIMES: Final = ("oldest_event_at", "newest_event_at")
# What `splits` is made of.
_OF_SPLITS: Final = ("events", "responses", "unpaired", "pairs")


class Made(NamedTuple):
    """What a set of prompts gives, or some answers of one.

    Attributes:
        tables: Rows by table, and what the stages take from each part beside them.
        splits: What `splits` keeps of it; None where that stage is not made.
        piece: What of its prompts it is.
        narrow: What pairs are made of once all answers are there (`pairs.Work.narrowed`); None where they are.
    """

    tables: dict[str, pl.DataFrame]
    splits: SplitPart | None
    piece: Piece = "whole"
    narrow: pl.DataFrame | None = None


class Settings(NamedTuple):
    """Settings of the stages after `events`; None: the stage is not made."""

    responses: ResponsesConfig
    unpaired: UnpairedConfig | None
    pairs: PairsConfig | None
    splits: SplitsConfig | None

    @classmethod
    def of(cls, config: RunConfig, stages: Mapping[str, object]) -> Self:
        """Those of a run for the stages that are named."""
        return cls(
            config.responses,
            config.unpaired if "unpaired" in stages else None,
            config.pairs if "pairs" in stages else None,
            config.splits if "splits" in stages else None,
        )


class Reduce:
    """Makes the tables; nothing of one prompt is kept for the next."""

    def __init__(self, settings: Settings, known: responses.Shared | None) -> None:
        """Take what all parts are made with.

        Args:
            settings: Of the stages that are made.
            known: What the whole log says of single rows; None where no row needs it.
        """
        self._settings = settings
        self._responses = responses.Work(settings.responses, known)
        self._pairs = None if settings.pairs is None else pairs.Work(settings.pairs, settings.responses)

    def made(self, part: Part) -> Made:
        """The rows of a part, those of pairs where its prompts are whole; may be called by several threads."""
        tables = part.tables
        tables |= self._responses.made(tables["events"], tables["texts"])
        if self._settings.unpaired is not None:
            tables |= unpaired.made_of(tables["responses"], self._settings.unpaired)
        narrow = None
        if self._pairs is not None and part.piece == "whole":
            tables |= self._pairs.made(tables["responses"], tables["comparisons"])
        elif self._pairs is not None:
            narrow = self._pairs.narrowed(tables["responses"])
        kept = self._of_splits(tables)
        # The stages that read them are through.
        tables["responses"] = without_texts(tables["responses"])
        return Made(tables, kept, part.piece, narrow)

    def _of_splits(self, tables: Mapping[str, pl.DataFrame]) -> SplitPart | None:
        """What `splits` keeps of these tables; of those that are not among them there are no rows."""
        if self._settings.splits is None:
            return None
        events, answers, rows, own_pairs = (
            tables[name] if name in tables else polars_schema(name).to_frame() for name in _OF_SPLITS
        )
        # No pair spans prompts: where one may, its stage is not made with these.
        return part_of(events, answers, rows, own_pairs, self._settings.splits, None)

    def joined(self, parts: Iterable[Made]) -> Iterator[Made]:
        """What parts give, in their order; after the last part of a prompt what takes all of its answers."""
        held: list[Made] = []
        for made in parts:
            if made.piece == "whole" or self._pairs is None:
                yield made
                continue
            held.append(Made({}, made.splits, made.piece, made.narrow))
            yield Made(made.tables, None)
            if made.piece == "ended":
                yield self._ended(held)
                held = []

    def _ended(self, parts: list[Made]) -> Made:
        """Pairs and what `splits` keeps of a prompt, from all of its parts."""
        assert self._pairs is not None
        answers = pl.concat(part.narrow for part in parts if part.narrow is not None)
        tables = self._pairs.made(answers, polars_schema("comparisons").to_frame())
        kept = [part.splits for part in parts if part.splits is not None]
        if kept and not tables["pairs"].is_empty():
            # The prompt as one of its answers tells it: the others' times are known by now.
            one = answers.filter(pl.col("prompt").is_not_null()).head(1)
            times = [pl.lit(None, TIME).alias(name) for name in _TIMES]
            of_pairs = self._of_splits({"responses": one.with_columns(times), "pairs": tables["pairs"]})
            kept += [] if of_pairs is None else [of_pairs]
        return Made(tables, joined_part(kept) if kept else None)
