"""Which texts are the same text: normalisation and ids, as polars expressions.

Text is normalised for identity only; what the tables hold is the text as it was logged.
"""

from typing import Any, cast

import polars as pl
import polars_hash  # noqa: F401  registers the `chash` namespace on expressions

_ID_LENGTH = 32


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
    # What is one space already matches nothing here: most white space of most texts.
    return text.map_batches(_composed, return_dtype=pl.String).str.replace_all(r"[^\S ]\s*| \s+", " ").str.strip_chars()


def _composed(texts: pl.Series) -> pl.Series:
    """Unicode NFC. Text in ASCII is in NFC as it is, and composing is slow: only the others are."""
    others = (texts.str.len_bytes() != texts.str.len_chars()).fill_null(False)
    if not others.any():
        return texts
    places = others.arg_true()
    return texts.clone().scatter(places, texts.gather(places).str.normalize("NFC"))


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
    role = pl.element().struct.field("role")
    content = pl.element().struct.field("content")
    content = loosely_normalised(content) if loose else normalised(content)
    return messages.list.eval(joined(role, content)).list.join("")


def prompt_id(messages: pl.Expr) -> pl.Expr:
    """Id of a prompt: the digest of its roles and normalised contents."""
    return digest(prompt_key(messages))


def response_id(prompt_ids: pl.Expr, completion: pl.Expr) -> pl.Expr:
    """Id of a response: the digest of its prompt's id and its normalised text."""
    return digest(joined(prompt_ids, normalised(completion)))


def as_answer(completion: pl.Expr) -> pl.Expr:
    """A completion's text as a list of one assistant message."""
    return pl.concat_list(pl.struct(role=pl.lit("assistant"), content=completion))
