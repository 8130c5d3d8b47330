"""All tables of a set of prompts, from its events and their texts: the same here and in a task of a cluster."""

from collections.abc import Mapping
from typing import Final, NamedTuple, Self

import polars as pl

from ..config import PairsConfig, ResponsesConfig, RunConfig, SplitsConfig, UnpairedConfig
from ..evidence.split_parts import Part as SplitPart
from ..evidence.split_parts import part_of
from ..stages import pairs, responses, unpaired
from ..storage.texts import without_texts

# What `splits` is made of.
_OF_SPLITS: Final = ("events", "responses", "unpaired", "pairs")


class Made(NamedTuple):
    """What a set of prompts gives.

    Attributes:
        tables: Rows by table, and what the stages take from each part beside them.
        splits: What `splits` keeps of it; None where that stage is not made.
    """

    tables: dict[str, pl.DataFrame]
    splits: SplitPart | None


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
    """Makes the tables; nothing of one part is kept for the next."""

    def __init__(self, settings: Settings, known: responses.Shared | None) -> None:
        """Take what all parts are made with.

        Args:
            settings: Of the stages that are made.
            known: What the whole log says of single rows; None where no row needs it.
        """
        self._settings = settings
        self._responses = responses.Work(settings.responses, known)
        self._pairs = None if settings.pairs is None else pairs.Work(settings.pairs, settings.responses)

    def made(self, part: Mapping[str, pl.DataFrame]) -> Made:
        """All rows of a set of prompts, from its events and texts; may be called by several threads."""
        tables = dict(part)
        tables |= self._responses.made(tables["events"], tables["texts"])
        if self._settings.unpaired is not None:
            tables |= unpaired.made_of(tables["responses"], self._settings.unpaired)
        if self._pairs is not None:
            tables |= self._pairs.made(tables["responses"], tables["comparisons"])
        kept = None
        if self._settings.splits is not None:
            own_events, answers, rows, own_pairs = (tables[name] for name in _OF_SPLITS)
            # No pair spans prompts: where one may, its stage is not made with these.
            kept = part_of(own_events, answers, rows, own_pairs, self._settings.splits, None)
        # The stages that read them are through.
        tables["responses"] = without_texts(tables["responses"])
        return Made(tables, kept)
