"""What one split knows of another: texts that both hold, exactly or nearly, and overlap with evaluation sets.

Prompts are compared by what their users said, completions by their text; exactly means equal after loose normalisation
(case and punctuation aside), nearly means near-duplicates by MinHash. Keys and signatures are made where the texts are;
the audit sees no text.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from ..errors import InputError
from ..identity import as_number, digest, loosely_normalised, with_extra
from ..storage.files import user_table_format
from ..storage.parquet import read_parquet
from ..tables import LEAK_MATCH, LEAK_TEXT, SPLIT, polars_schema
from ..workers import IN_MEMORY
from .leak_counts import LeakCounts, key_numbers, masks_of
from .neighbours import near_matches, signatures

_TEXTS: Final = ("prompt", "completion")
_MET: Final = {"conversation_id": "conversation", "user_id": "user"}


def user_text(prompt: pl.Expr) -> pl.Expr:
    """What the users of a message list said; all that anybody said where no message is a user's."""
    content, role = pl.element().struct.field("content"), pl.element().struct.field("role")
    said = prompt.list.eval(content.filter(role == "user")).list.join("\n")
    return pl.when(said.str.len_bytes() > 0).then(said).otherwise(prompt.list.eval(content).list.join("\n"))


def leak_keys(unpaired: pl.LazyFrame, pairs: pl.LazyFrame, splits: pl.LazyFrame, *, near: bool) -> pl.LazyFrame:
    """`owner` (a split), `text`, `key` and, for near-duplicates, `signature` of every text of one partition's rows.

    Args:
        unpaired: Table `unpaired`.
        pairs: Table `pairs` of the same prompts.
        splits: Table `splits`.
        near: Whether near-duplicates are to be found; needs rensa.
    """
    return _owned(text_keys(unpaired, pairs, near=near), splits)


def text_keys(unpaired: pl.LazyFrame, pairs: pl.LazyFrame, *, near: bool) -> pl.LazyFrame:
    """`leak_keys` before there are splits: with `prompt_id` for `owner`."""
    sides = [(unpaired, "completion", "response_id")]
    sides += [(pairs, side, f"{side}_response_id") for side in ("chosen", "rejected")]
    rows = pl.concat(
        table.select("prompt_id", "prompt", answer=side, response_id=response_id) for table, side, response_id in sides
    )
    # A text that many rows hold is normalised once.
    prompts = rows.unique("prompt_id", keep="any")
    answers = rows.unique(["prompt_id", "response_id"], keep="any")
    answer = pl.col("answer").list.first().struct
    said = with_extra(answer.field("content"), answer.field("extra"))
    texts = [
        prompts.select("prompt_id", text=pl.lit("prompt", LEAK_TEXT), value=user_text(pl.col("prompt"))),
        answers.select("prompt_id", text=pl.lit("completion", LEAK_TEXT), value=said),
    ]
    return _keyed(pl.concat(texts), "prompt_id", near=near)


def met_keys(events: pl.DataFrame, splits: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """`owner`, `text` (conversation or user) and `key` of every conversation and user with a row in a split.

    Args:
        events: `prompt_id` and the columns, of one partition.
        splits: Table `splits` of the same prompts.
        columns: `conversation_id`, `user_id` or both.
    """
    return _owned(meeting_keys(events, columns).lazy(), splits.lazy()).collect(engine=IN_MEMORY)


def meeting_keys(events: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """`met_keys` before there are splits: with `prompt_id` for `owner`."""
    found = [
        events.select("prompt_id", value=column)
        .drop_nulls()
        .unique()
        .select("prompt_id", text=pl.lit(_MET[column], LEAK_TEXT), key=as_number(digest(pl.col("value"))))
        for column in columns
    ]
    return pl.concat(found)


def _owned(keys: pl.LazyFrame, splits: pl.LazyFrame) -> pl.LazyFrame:
    """Keys of prompts as keys of the splits that these are in, each once; prompts without a split have no rows."""
    owners = splits.select("prompt_id", owner="split")
    owned = keys.join(owners, on="prompt_id", how="inner", validate="m:1").unique(["owner", "text", "key"], keep="any")
    return owned.select("owner", pl.exclude("owner", "prompt_id"))


def _keyed(texts: pl.LazyFrame, owner: str, *, near: bool) -> pl.LazyFrame:
    key = as_number(digest(loosely_normalised(pl.col("value"))))
    keyed = texts.filter(pl.col("value").is_not_null()).with_columns(key=key)
    once = keyed.unique([owner, "text", "key"], keep="any")
    if not near:
        return once.select(owner, "text", "key")
    # Texts of one key are equal after normalisation, and so is what is signed.
    signed = signatures(once.unique("key", keep="any").select(id="key", text="value"))
    return once.select(owner, "text", "key").join(signed, left_on="key", right_on="id", how="left", validate="m:1")


def set_keys(name: str, path: Path, *, near: bool) -> pl.LazyFrame:
    """The same for an evaluation set; its owner is `name`.

    Args:
        name: What the audit calls it.
        path: .parquet or .jsonl with `prompt` (text or messages) and perhaps `completion` (text or messages).
        near: As above.

    Raises:
        InputError: The file is missing or unreadable, or has no such `prompt`.
    """
    frame = _read(path)
    if "prompt" not in frame.columns:
        raise InputError(
            f"splits.evaluation_sets.{name}: {path} has no column 'prompt', but {list(frame.columns)[:8]}."
        )
    texts = []
    for text in _TEXTS:
        if text in frame.columns:
            value = _as_text(name, path, text, frame.schema[text])
            texts.append(frame.lazy().select(owner=pl.lit(name), text=pl.lit(text, LEAK_TEXT), value=value))
    return _keyed(pl.concat(texts), "owner", near=near)


def _read(path: Path) -> pl.DataFrame:
    if user_table_format(path) == "parquet":
        return read_parquet(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        # Its bytes, since polars takes [ ] * ? of a path for a pattern.
        return pl.read_ndjson(path.read_bytes(), infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON lines ({type(error).__name__}).") from error


def _as_text(name: str, path: Path, column: str, kind: pl.DataType) -> pl.Expr:
    if kind == pl.String:
        return pl.col(column)
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
        message = {field.name: pl.element().struct.field(field.name) for field in kind.inner.fields}
        if "role" in message and "content" in message:
            return user_text(pl.col(column).list.eval(pl.struct(role=message["role"], content=message["content"])))
    raise InputError(
        f"splits.evaluation_sets.{name}: column '{column}' of {path} is {kind}; expected text, or messages with role "
        "and content."
    )


def audit(keys: pl.DataFrame, evaluation_sets: Mapping[str, pl.DataFrame], similarity: float) -> pl.DataFrame:
    """Table `leakage`: how many distinct texts of the right side the left side holds too.

    Args:
        keys: `leak_keys` and `met_keys` of all partitions.
        evaluation_sets: `set_keys` of each set by its name.
        similarity: Least Jaccard similarity of near-duplicates. `n_leaked` of near matches is None where keys came
            without signatures: they were not looked for.
    """
    owned = keys.with_columns(place=pl.col("owner").to_physical())
    counts = LeakCounts(evaluation_sets)
    counts.add(key_numbers(owned), masks_of(pl.Series(list(SPLIT.categories))))
    return leakage_table(counts, keys if "signature" in keys.columns else None, evaluation_sets, similarity)


def leakage_table(
    counts: LeakCounts,
    signed: pl.DataFrame | None,
    evaluation_sets: Mapping[str, pl.DataFrame],
    similarity: float,
) -> pl.DataFrame:
    """Table `leakage` of counted keys.

    Args:
        counts: All keys of splits and evaluation sets.
        signed: `owner`, `text`, `key` and `signature` of the splits' texts; None: near-duplicates are not looked for.
        evaluation_sets: As `audit` takes them.
        similarity: As `audit` takes it.
    """
    splits = list(SPLIT.categories)
    near = None if signed is None else _signatures(signed, evaluation_sets)
    sides = [(left, right) for place, left in enumerate(splits) for right in splits[place + 1 :]]
    sides += [(left, name) for name in evaluation_sets for left in splits]
    rows = [row for left, right in sides for row in _compared(left, right, counts, near, similarity)]
    schema = polars_schema("leakage")
    return pl.DataFrame(
        rows, schema={name: pl.String if name in ("text", "match") else schema[name] for name in schema}, orient="row"
    ).with_columns(pl.col("text").cast(LEAK_TEXT), pl.col("match").cast(LEAK_MATCH))


def _signatures(signed: pl.DataFrame, evaluation_sets: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """`text`, `id` and `signature` of each different text by split or evaluation set."""
    owned = {split: signed.filter(pl.col("owner") == split) for split in SPLIT.categories}
    return {
        name: table.unique(["text", "key"]).select("text", "signature", id="key")
        for name, table in {**owned, **evaluation_sets}.items()
        if "signature" in table.columns
    }


def _compared(
    left: str, right: str, counts: LeakCounts, near: Mapping[str, pl.DataFrame] | None, similarity: float
) -> Iterator[tuple[str, str, str, str, int, int | None]]:
    met = [text for text in _MET.values() if counts.texts(left, text) and counts.texts(right, text)]
    for text in (*_TEXTS, *met):
        texts = counts.texts(right, text)
        yield text, "exact", left, right, texts, counts.shared(left, right, text)
        if text not in met:
            yield text, "near", left, right, texts, _near(left, right, text, near, similarity)


def _near(left: str, right: str, text: str, near: Mapping[str, pl.DataFrame] | None, similarity: float) -> int | None:
    if near is None or not {left, right} <= set(near):
        return None
    signed = [near[side].filter(pl.col("text") == text).select("id", "signature") for side in (left, right)]
    return near_matches(signed[0], signed[1], similarity).len()
