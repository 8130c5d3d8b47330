"""Which texts are the same text: normalisation and ids, as polars expressions.

Text is normalised for identity only; what the tables hold is the text as it was logged.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import polars as pl
import polars_hash  # noqa: F401  registers the `chash` namespace on expressions

_ID_LENGTH = 32
# Any character but those of common scripts and signs that composition neither changes nor joins to one before them
# (tests/unit/pipeline/test_identity.py holds that): a text without any other is in NFC as it is.
_MAY_COMPOSE: Final = (
    r"[^\x00-\x{2FF}\x{391}-\x{3A1}\x{3A3}-\x{3C9}\x{400}-\x{482}\x{48A}-\x{52F}\x{1E00}-\x{1E99}\x{1EA0}-\x{1EF9}"
    r"\x{200B}-\x{2027}\x{202F}-\x{205E}\x{20A0}-\x{20BF}\x{2190}-\x{21FF}\x{2500}-\x{27BF}\x{3001}-\x{3029}"
    r"\x{3041}-\x{3096}\x{30A1}-\x{30FA}\x{4E00}-\x{9FFF}\x{AC00}-\x{D7A3}\x{FE0F}\x{FF01}-\x{FF5E}\x{1F300}-\x{1FAFF}]"
)


def digest(text: pl.Expr) -> pl.Expr:
    """The first 32 hexadecimal digits of the SHA-256 of a string column.

    SHA-256, since prompts are chosen by strangers who could make a weaker hash collide.
    """
    return cast(pl.Expr, cast(Any, text).chash.sha2_256().str.head(_ID_LENGTH))


def joined(*texts: pl.Expr) -> pl.Expr:
    """Strings as one string from which they could be told apart again: each is preceded by its length."""
    parts = [part for text in texts for part in (text.str.len_bytes().cast(pl.String), pl.lit(":"), text)]
    return pl.concat_str(*parts)


def normalised(text: pl.Expr) -> pl.Expr:
    """Unicode NFC, every run of white space one space, none at the ends."""
    return text.map_batches(_normalised, return_dtype=pl.String)


def _normalised(texts: pl.Series) -> pl.Series:
    # White space that is one space already matches nothing here: most of it in most texts.
    return _composed(texts).str.replace_all(r"[^\S ]\s*| \s+", " ").str.strip_chars()


def _composed(texts: pl.Series) -> pl.Series:
    """Unicode NFC; composing is slow, and most texts are composed as they are."""
    others = (texts.str.len_bytes() != texts.str.len_chars()).fill_null(False).arg_true()
    if others.is_empty():
        return texts
    foreign = texts.gather(others)
    changeable = foreign.str.contains(_MAY_COMPOSE)
    places = others.filter(changeable)
    return texts.clone().scatter(places, foreign.filter(changeable).str.normalize("NFC"))


def loosely_normalised(text: pl.Expr) -> pl.Expr:
    """`normalised` with compatibility forms folded, lower case, and only letters and digits kept.

    Two prompts that agree here differ trivially: they belong on the same side of a split.
    """
    folded = text.str.normalize("NFKC").str.to_lowercase()
    kept = folded.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()
    # A prompt of symbols alone would become empty and join every other such prompt.
    return pl.when(kept.str.len_bytes() > 0).then(kept).otherwise(normalised(text))


def prompt_key(messages: pl.Expr, *, loose: bool = False) -> pl.Expr:
    """One string a message list, equal exactly where roles and normalised contents are equal."""
    return messages.map_batches(lambda lists: _prompt_keys(lists, loose=loose), return_dtype=pl.String)


def _prompt_keys(lists: pl.Series, *, loose: bool) -> pl.Series:
    """All messages in one column are normalised together: a list at a time would take a hundred times as long."""
    messages = lists.to_frame("message").with_row_index("row").explode("message").unnest("message")
    content = pl.col("content")
    content = loosely_normalised(content) if loose else normalised(content)
    parts = messages.with_columns(content=content).select("row", part=joined(pl.col("role"), pl.col("content")))
    if (lists.list.len() == 1).all():
        return parts["part"]
    keys = parts.group_by("row").agg(pl.col("part").str.join(""))
    rows = lists.to_frame().with_row_index("row").select("row")
    return rows.join(keys, on="row", how="left", maintain_order="left", validate="1:1")["part"].fill_null("")


def prompt_id(messages: pl.Expr) -> pl.Expr:
    """Id of a prompt: the digest of its roles and normalised contents."""
    return digest(prompt_key(messages))


def response_id(prompt_ids: pl.Expr, completion: pl.Expr) -> pl.Expr:
    """Id of a response: the digest of its prompt's id and its normalised text."""
    return pl.map_batches([prompt_ids, completion], _response_ids, return_dtype=pl.String)


def _response_ids(columns: Sequence[pl.Series]) -> pl.Series:
    texts = pl.DataFrame({"prompt_id": columns[0], "text": _normalised(columns[1])})
    return texts.select(digest(joined(pl.col("prompt_id"), pl.col("text")))).to_series()


def as_answer(completion: pl.Expr) -> pl.Expr:
    """A completion's text as a list of one assistant message."""
    return pl.concat_list(pl.struct(role=pl.lit("assistant"), content=completion))
