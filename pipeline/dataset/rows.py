"""Rows of a run as training rows: by split, with what each message carries, and why some are no training rows."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import polars as pl

from ..errors import InputError
from ..storage.attached import bring, shown_place
from ..storage.tables import read_parts, read_table
from ..tables import SPLIT

Kind: TypeAlias = Literal["unpaired", "pairs"]
Message: TypeAlias = dict[str, Any]

KINDS: Final[tuple[Kind, ...]] = ("unpaired", "pairs")
ANSWERS: Final[dict[Kind, tuple[str, ...]]] = {"unpaired": ("completion",), "pairs": ("chosen", "rejected")}
ROW_ID: Final[dict[Kind, str]] = {"unpaired": "response_id", "pairs": "pair_id"}
REASON: Final = "left_out"
EMPTY_PROMPT: Final = "empty_prompt"
EMPTY_ANSWER: Final = "empty_answer"


class Pair(NamedTuple):
    """Two answers to one prompt.

    Attributes:
        prompt: Messages with `role`, `content`, and what else each carries under its own key, such as `tool_calls`.
        tools: Tools offered with the prompt; none where there were none.
        chosen: The better answer, a message of the assistant.
        rejected: The worse one.
    """

    prompt: list[Message]
    tools: list[Any]
    chosen: Message
    rejected: Message


class Rated(NamedTuple):
    """An answer that is desirable or not; see `Pair`."""

    prompt: list[Message]
    tools: list[Any]
    completion: Message
    label: bool


class Place(NamedTuple):
    """Where a row stands: its id, that of its prompt, its split."""

    row_id: str
    prompt_id: str
    split: str


def read_splits(run_dir: Path) -> pl.DataFrame:
    """Table `splits`: each prompt's split and group.

    Raises:
        InputError: The run has not reached its splits.
    """
    path = run_dir / "splits" / "splits.parquet"
    bring(path)
    if not path.is_file():
        raise InputError(
            f"{shown_place(run_dir)}: no splits here yet, so nothing to export; run the line until 'splits' first."
        )
    return read_table(path, "splits").sort("prompt_id")


def placed_parts(
    run_dir: Path, kind: Kind, splits: pl.DataFrame, wanted: Collection[str] = SPLIT.categories
) -> Iterator[pl.DataFrame]:
    """Rows of some splits in their table's order, in bounded parts, with the columns `split` and `left_out`.

    Args:
        run_dir: The run.
        kind: Which rows.
        splits: What `read_splits` gives.
        wanted: Names of splits.
    """
    for part in read_parts(table_path(run_dir, kind), kind):
        # A part has a range of the prompts: to look among all of them would take a part's time for each part.
        ids = part["prompt_id"]
        edges = pl.Series([ids.min(), ids.max()], dtype=pl.String)
        start = splits["prompt_id"].search_sorted(edges, "left")[0]
        end = splits["prompt_id"].search_sorted(edges, "right")[1]
        own = splits[start:end].filter(pl.col("split").is_in(list(wanted)))
        placed = part.join(own, on="prompt_id", how="inner", validate="m:1", maintain_order="left")
        yield with_reasons(placed, kind)


def table_path(run_dir: Path, kind: Kind) -> Path:
    """Where the rows of a kind lie."""
    return run_dir / kind / f"{kind}.parquet"


def with_reasons(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """`rows` with the column `left_out`: why no trainer takes a row, null where one does.

    A prompt or an answer is empty where no message of it has text or anything else, such as a tool call.
    """
    reason = (
        pl.when(~_says_something("prompt"))
        .then(pl.lit(EMPTY_PROMPT))
        .when(~pl.all_horizontal(_says_something(name) for name in ANSWERS[kind]))
        .then(pl.lit(EMPTY_ANSWER))
    )
    return rows.with_columns(reason.alias(REASON))


def _says_something(column: str) -> pl.Expr:
    message = pl.element().struct
    says = (message.field("content").str.strip_chars() != "") | message.field("extra").is_not_null()
    return pl.col(column).list.eval(says).list.any().fill_null(False)


def decoded(part: pl.DataFrame, kind: Kind) -> Iterator[tuple[Place, Pair | Rated]]:
    """Rows of `part` as training rows, in its order."""
    for row in part.iter_rows(named=True):
        tools = json.loads(row["tools"]) if row.get("tools") else []
        prompt = [message_of(message) for message in row["prompt"]]
        place = Place(row[ROW_ID[kind]], row["prompt_id"], row["split"])
        if kind == "pairs":
            yield place, Pair(prompt, tools, _answer(row["chosen"]), _answer(row["rejected"]))
        else:
            yield place, Rated(prompt, tools, _answer(row["completion"]), row["label"])


def _answer(messages: list[dict[str, str | None]]) -> Message:
    return message_of(messages[0]) if messages else {"role": "assistant", "content": ""}


def message_of(stored: Mapping[str, str | None]) -> Message:
    """A message of a table as a dict of all that it carries, each under its own key."""
    extra = stored.get("extra")
    return {"role": stored["role"], "content": stored["content"] or "", **(json.loads(extra) if extra else {})}
