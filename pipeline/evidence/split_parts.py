"""What splits are made of, one set of prompts after the other: numbers of prompts, and keys of texts on disk."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from ..config import SplitsConfig
from ..identity import as_number
from ..storage.frames import FrameFile, read_frame, write_frames
from ..tables import SPLIT
from ..workers import IN_MEMORY
from .clusters import NumberedPrompts, Partitions, PromptFacts, numbered
from .leak_counts import Keys, LeakCounts, LeakKeys, key_numbers, masks_of
from .leakage import leakage_table, meeting_keys, text_keys
from .meetings import KEPT, meetings
from .neighbours import SIGNATURES
from .prompts import loose_keys, prompt_signatures

# Not hidden: a stage that takes what was made of it with others clears its folder of hidden files first.
_GATHERED: Final = "gathered"
_KEYS: Final = "keys.array"
_ROWS: Final = "rows"
_KEY_NUMBERS: Final = ("high", "low", "of")


def prompt_facts(
    responses: pl.LazyFrame, events: pl.LazyFrame, config: SplitsConfig, pairs: pl.LazyFrame | None = None
) -> PromptFacts:
    """The narrow tables of one partition of `responses`.

    Args:
        responses: Rows of table `responses` with their prompts and tools.
        events: Rows of table `events` of the same prompts: who met them, and when.
        config: Grouping.
        pairs: `rejected_response_id` of all pairs; None: no pair spans prompts.
    """
    times = responses.group_by("prompt_id").agg(pl.col("oldest_event_at").min(), pl.col("newest_event_at").max())
    prompts = loose_keys(responses).join(times, left_on="id", right_on="prompt_id", how="left", validate="1:1")
    signed = prompt_signatures(responses) if config.near_duplicates else SIGNATURES.to_frame().lazy()
    answers = responses.select("response_id", "prompt_id")
    if pairs is None:
        answers = answers.head(0)
    else:
        answers = answers.join(pairs, left_on="response_id", right_on="rejected_response_id", how="semi")
    return PromptFacts(
        prompts.rename({"key": "text_key"}), meetings(responses, events, KEPT[config.group_by]), signed, answers
    )


class Part(NamedTuple):
    """What is kept of a set of prompts, without texts.

    Attributes:
        prompts: What the assignment needs; a prompt's place is its row.
        rows: `n_unpaired` and `n_pairs` of each prompt.
        keys: Of texts, conversations and users.
        signed: `place`, `text`, `key` and `signature` of texts; None where near-duplicates are not looked for.
        with_rows: How many prompts the unpaired rows and pairs have.
    """

    prompts: NumberedPrompts
    rows: pl.DataFrame
    keys: Keys
    signed: pl.DataFrame | None
    with_rows: int


def part_of(
    events: pl.DataFrame,
    responses: pl.DataFrame,
    unpaired: pl.DataFrame,
    pairs: pl.DataFrame,
    config: SplitsConfig,
    across: pl.DataFrame | None,
) -> Part:
    """What these tables of the same prompts give.

    Args:
        events: Rows of table `events`.
        responses: Rows of table `responses` with their prompts and tools.
        unpaired: Rows of table `unpaired`.
        pairs: Rows of table `pairs`.
        config: Grouping.
        across: `rejected_response_id` of all pairs; None: no pair spans prompts.
    """
    columns = KEPT[config.group_by]
    met = events.select("prompt_id", "response_id", "created_at", *columns)
    spanning = None if across is None else across.lazy()
    prompts = numbered(prompt_facts(responses.lazy(), met.lazy(), config, spanning))
    ids = prompts.prompts.select(prompt_id="id")
    counts = [_counted(table, name) for table, name in ((unpaired, "n_unpaired"), (pairs, "n_pairs"))]
    rows = ids
    for count in counts:
        rows = rows.join(count, on="prompt_id", how="left", maintain_order="left", validate="1:1")
    texts = text_keys(unpaired.lazy(), pairs.lazy(), near=config.near_duplicates).collect(engine=IN_MEMORY)
    found = pl.concat([texts, *([meeting_keys(events, columns)] if columns else [])], how="diagonal")
    found = found.with_columns(as_number(pl.col("prompt_id")))
    placed = found.join(ids.with_row_index("place"), on="prompt_id", how="inner", validate="m:1")
    return Part(
        prompts,
        rows.select(pl.col("n_unpaired", "n_pairs").fill_null(0)),
        key_numbers(placed),
        placed.filter(pl.col("signature").is_not_null()).drop("prompt_id") if config.near_duplicates else None,
        pl.concat([unpaired["prompt_id"], pairs["prompt_id"]]).n_unique(),
    )


def joined_part(parts: Sequence[Part]) -> Part:
    """What is kept of one prompt, from what `part_of` gave of some of its answers, and of its pairs."""
    columns = {name: pl.concat(getattr(part.prompts, name) for part in parts) for name in NumberedPrompts._fields}
    columns["prompts"] = (
        columns["prompts"]
        .group_by("id", "text_key")
        .agg(pl.col("oldest_event_at").min(), pl.col("newest_event_at").max())
    )
    columns["meetings"] = columns["meetings"].group_by("place", "key", "is_user").agg(pl.col("at").min())
    columns["signatures"] = columns["signatures"].unique("id")
    signed = [part.signed for part in parts if part.signed is not None]
    return Part(
        NumberedPrompts(**columns),
        pl.concat(part.rows for part in parts).sum(),
        np.concatenate([part.keys for part in parts]),
        pl.concat(signed).unique(["place", "text", "key"]) if signed else None,
        max(part.with_rows for part in parts),
    )


def frames_of(part: Part) -> dict[str, pl.DataFrame]:
    """A part as tables by their names, of which `part_of_frames` makes it again."""
    keys = pl.DataFrame(part.keys, schema=dict.fromkeys(_KEY_NUMBERS, pl.UInt64))
    frames = part.prompts._asdict() | {_ROWS: part.rows, "keys": keys}
    frames["with_rows"] = pl.DataFrame({"with_rows": [part.with_rows]})
    return frames if part.signed is None else frames | {"signed": part.signed}


def part_of_frames(frames: Mapping[str, pl.DataFrame]) -> Part:
    """What `frames_of` was given."""
    return Part(
        NumberedPrompts(*(frames[name] for name in NumberedPrompts._fields)),
        frames[_ROWS],
        # A copy: its places are added to.
        np.stack([column.to_numpy() for column in frames["keys"]], axis=1),
        frames.get("signed"),
        frames["with_rows"].item(),
    )


def _counted(table: pl.DataFrame, name: str) -> pl.DataFrame:
    return table.group_by(as_number(pl.col("prompt_id"))).agg(pl.len().cast(pl.UInt32).alias(name))


class Gathered:
    """Parts of all prompts; what is held for each prompt and key of a text lies on disk.

    Attributes:
        n_prompts: How many prompts the unpaired rows and pairs have.
    """

    def __init__(self, config: SplitsConfig, folder: Path) -> None:
        """Begin without a part.

        Args:
            config: The stage's settings.
            folder: Where files lie meanwhile.
        """
        self.n_prompts = 0
        self._folder = folder / _GATHERED
        # What a process left that was killed.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._heights: list[int] = []
        self._files: list[FrameFile] = []
        self._config = config
        self._keys = LeakKeys(self._folder / _KEYS)
        self._signed: list[pl.DataFrame] = []
        self._places = 0

    def add(self, part: Part) -> None:
        """Keep a part, one after the other."""
        path = self._folder / f"{len(self._files):06d}.arrow"
        self._files.append(write_frames(path, part.prompts._asdict() | {_ROWS: part.rows}))
        self._heights.append(part.prompts.prompts.height)
        self._keys.add(part.keys, self._places)
        if part.signed is not None:
            self._signed.append(part.signed.with_columns(pl.col("place") + pl.lit(self._places, pl.UInt32)))
        self.n_prompts += part.with_rows
        self._places += part.prompts.prompts.height

    @property
    def prompts(self) -> Partitions:
        """The parts' prompts, as they are read back."""
        return Partitions(self._read, self._heights, self._folder)

    def rows(self) -> Iterator[pl.DataFrame]:
        """`n_unpaired` and `n_pairs` of all prompts, a part after the other in the order of their places."""
        return self._read(_ROWS)

    def _read(self, table: str) -> Iterator[pl.DataFrame]:
        return (read_frame(written, table) for written in self._files)

    def leakage(self, splits: pl.Series, sets: dict[str, pl.DataFrame]) -> pl.DataFrame:
        """Table `leakage`; to be made once.

        Args:
            splits: (prompts,) the split of each place, null where it has none.
            sets: `leakage.set_keys` of each evaluation set by its name.
        """
        counts: LeakCounts = self._keys.counted(masks_of(splits), sets)
        signed = None
        if self._config.near_duplicates:
            owner = splits.gather(pl.concat(self._signed)["place"]).cast(SPLIT).alias("owner")
            signed = pl.concat(self._signed).with_columns(owner).filter(pl.col("owner").is_not_null())
        return leakage_table(counts, signed, sets, self._config.near_similarity)

    def close(self) -> None:
        """Delete the files."""
        self._keys.close()
        shutil.rmtree(self._folder, ignore_errors=True)
