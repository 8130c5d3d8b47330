"""Who and what an event is: ids of prompt, response and event from its content, and its user's pseudonym."""

from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from typing import Final

import polars as pl

from ..identity import digest, id_of_key, id_of_normalised, joined, normalised_answer, prompt_key, written_prompt
from .columns import OPTIONAL

_USER_ID_BYTES: Final = 8
# What `joined` gives of an empty text, which stands for a value that is missing.
_NOT_SAID: Final = "0:"


def with_ids(raw: pl.DataFrame) -> pl.DataFrame:
    """Raw events with their ids: those of prompt, response and event."""
    key, text = prompt_key(pl.col("prompt")), normalised_answer(pl.col("completion"))
    texts = raw.select(key=key, text=text, prompt=written_prompt(pl.col("prompt")), completion=pl.col("completion"))
    tools, extra = raw["tools"], raw["completion_extra"]
    # Columns without any value cost nothing this way.
    prompt_ids = id_of_key(pl.col("key"), pl.lit(tools)) if tools.count() else digest(pl.col("key"))
    texts = texts.with_columns(prompt_id=prompt_ids)
    said = (pl.col("prompt_id"), pl.col("text"), *([pl.lit(extra)] if extra.count() else []))
    ids = texts.select("prompt_id", response_id=id_of_normalised(*said))
    named = raw.hstack(ids)
    return named.with_columns(_event_ids(named, _as_written(texts)))


def _as_written(texts: pl.DataFrame) -> pl.Series:
    """The texts where they differ from what their ids are made of, which stands for them otherwise."""
    parts = [pl.when(pl.col(a) != pl.col(b)).then(pl.col(a)) for a, b in (("prompt", "key"), ("completion", "text"))]
    written = texts.select(_optional(part).alias(str(number)) for number, part in enumerate(parts))
    return written.select(joined(*map(pl.col, written.columns)).alias("spelling")).to_series()


def _event_ids(named: pl.DataFrame, spelling: pl.Series) -> pl.Series:
    """Digests of all that the events say; where they were read is not part of it."""
    # These hold no space, so that their ends are clear without a length.
    plain = [pl.col("format"), pl.col("vote").cast(pl.String), pl.col("created_at").dt.epoch("us").cast(pl.String)]
    said = [text.fill_null("-") for text in plain]
    said = [part for text in (*said, pl.col("response_id")) for part in (text, pl.lit(" "))]
    for has_values, group in groupby(OPTIONAL, key=lambda name: named[name].count() > 0):
        names = list(group)
        # Columns without any value cost nothing this way.
        said.extend(map(_said_of, names) if has_values else [pl.lit(_NOT_SAID * len(names))])
    return named.select(digest(pl.concat_str(*said, spelling)).alias("event_id")).to_series()


def _said_of(column: str) -> pl.Expr:
    """What `joined` gives of `_optional`."""
    text = pl.col(column).cast(pl.String)
    return pl.concat_str((text.str.len_bytes() + 1).cast(pl.String), pl.lit(":="), text).fill_null(_NOT_SAID)


def _optional(text: pl.Expr) -> pl.Expr:
    """A text that may be missing, so that missing and empty differ."""
    return pl.concat_str(pl.lit("="), text).fill_null("")


def pseudonym(user_id: str, user_key: str) -> str:
    """16 hexadecimal digits of the keyed BLAKE2b (RFC 7693) of a user id: 64 bits."""
    return _hashed(user_id, _mac(user_key))


def pseudonyms(user_ids: pl.Series, user_key: str) -> pl.Series:
    """The pseudonym of each user id; null where there is none."""
    # Of many users, to find one among those seen takes longer than to hash it again.
    mac = _mac(user_key)
    hashed = [None if user is None else _hashed(user, mac) for user in user_ids.to_list()]
    return pl.Series(user_ids.name, hashed, dtype=pl.String)


def _hashed(user_id: str, begun: blake2b) -> str:
    mac = begun.copy()
    mac.update(user_id.encode())
    return mac.hexdigest()


@lru_cache(maxsize=1)
def _mac(user_key: str) -> blake2b:
    """The hash that has taken the key; one that is longer than BLAKE2b takes goes by its digest."""
    key = user_key.encode()
    short = key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()
    return blake2b(key=short, digest_size=_USER_ID_BYTES)
