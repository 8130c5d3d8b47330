"""Which texts are the same text: normalisation and ids, as polars expressions.

Text is normalised for identity only; what the tables hold is the text as it was logged. White space inside a prompt
says nothing; inside an answer it is content: it decides what a line of code does, and what a poem or a table looks
like.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import polars as pl
import polars_hash  # noqa: F401  registers the `chash` namespace on expressions
import pyarrow as pa

_ID_LENGTH = 32
# Any character but those of common scripts and signs that composition neither changes nor joins to one before them,
# and that are no white space outside of ASCII (tests/unit/pipeline/test_identity.py holds that): a text without any
# other is in NFC as it is, and parted by nothing but the white space of ASCII.
_UNUSUAL: Final = (
    r"[^\x00-\x{84}\x{86}-\x{9F}\x{A1}-\x{2FF}\x{391}-\x{3A1}\x{3A3}-\x{3C9}\x{400}-\x{482}\x{48A}-\x{52F}"
    r"\x{1E00}-\x{1E99}\x{1EA0}-\x{1EF9}\x{200B}-\x{2027}\x{2030}-\x{205E}\x{20A0}-\x{20BF}\x{2190}-\x{21FF}"
    r"\x{2500}-\x{27BF}\x{3001}-\x{3029}\x{3041}-\x{3096}\x{30A1}-\x{30FA}\x{4E00}-\x{9FFF}\x{AC00}-\x{D7A3}\x{FE0F}"
    r"\x{FF01}-\x{FF5E}\x{1F300}-\x{1FAFF}]"
)
# Any character but those of `_UNUSUAL`'s complement that folding of compatibility forms (NFKC) does not change either.
_UNFOLDED: Final = (
    r"[^\x00-\x{84}\x{86}-\x{9F}\x{A1}-\x{A7}\x{A9}\x{AB}-\x{AE}\x{B0}\x{B1}\x{B6}\x{B7}\x{BB}\x{BF}-\x{131}"
    r"\x{134}-\x{13E}\x{141}-\x{148}\x{14A}-\x{17E}\x{180}-\x{1C3}\x{1CD}-\x{1F0}\x{1F4}-\x{2AF}\x{2B9}-\x{2D7}"
    r"\x{2DE}\x{2DF}\x{2E5}-\x{2FF}\x{391}-\x{3A1}\x{3A3}-\x{3C9}\x{400}-\x{482}\x{48A}-\x{52F}\x{1E00}-\x{1E99}"
    r"\x{1EA0}-\x{1EF9}\x{200B}-\x{2010}\x{2012}-\x{2016}\x{2018}-\x{2023}\x{2027}\x{2030}-\x{2032}\x{2035}"
    r"\x{2038}-\x{203B}\x{203D}\x{203F}-\x{2046}\x{204A}-\x{2056}\x{2058}-\x{205E}\x{20A0}-\x{20A7}\x{20A9}-\x{20BF}"
    r"\x{2190}-\x{21FF}\x{2500}-\x{27BF}\x{3001}-\x{3029}\x{3041}-\x{3096}\x{30A1}-\x{30FA}\x{4E00}-\x{9FFF}"
    r"\x{AC00}-\x{D7A3}\x{FE0F}\x{1F300}-\x{1FAFF}]"
)
# The first letter or digit, where all before it is ASCII and nothing after it can become one character with it.
_BEGINS_PLAINLY: Final = r"^[\x00-/:-@\[-`{-\x7F]*([0-9A-Za-z])(?:[\x00-\x7F]|$)"
# What there is of tools or of an extra where there are none.
_NOTHING: Final = pl.lit(None, dtype=pl.String)
_ASCII_SPACE: Final = "\t\n\x0b\x0c\r"


def digest(text: pl.Expr) -> pl.Expr:
    """The first 32 hexadecimal digits of the SHA-256 of a string column.

    SHA-256, since prompts are chosen by strangers who could make a weaker hash collide.
    """
    return cast(pl.Expr, cast(Any, text).chash.sha2_256().str.head(_ID_LENGTH))


def as_number(digits: pl.Expr) -> pl.Expr:
    """A digest as the number that it writes: half the memory of its digits."""
    return digits.str.decode("hex").bin.reinterpret(dtype=pl.UInt128, endianness="big")


def halves_of(numbers: pl.Series) -> list[np.ndarray]:
    """(rows,) uint64 each: the upper and the lower half of numbers that `as_number` made."""
    number, half = pl.col("number"), 1 << 64
    parts = (number // half).alias("high"), (number % half).alias("low")
    return [half.to_numpy() for half in numbers.to_frame("number").select(part.cast(pl.UInt64) for part in parts)]


def of_halves(high: np.ndarray, low: np.ndarray) -> pl.Series:
    """The numbers whose halves these are."""
    parts = pl.DataFrame({"high": high, "low": low}).select(pl.all().cast(pl.UInt128))
    return parts.select(number=pl.col("high") * (1 << 64) + pl.col("low")).to_series()


def as_digits(numbers: pl.Series) -> pl.Series:
    """The digests that `as_number` has the numbers of."""
    ordered = pa.py_buffer(np.stack(halves_of(numbers), axis=1).astype(">u8"))
    written = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(numbers), [None, ordered])
    return pl.Series(numbers.name, written.cast(pa.large_binary())).bin.encode("hex")


def joined(*texts: pl.Expr) -> pl.Expr:
    """Strings as one string from which they could be told apart again: each is preceded by its length."""
    parts = [part for text in texts for part in (text.str.len_bytes().cast(pl.String), pl.lit(":"), text)]
    return pl.concat_str(*parts)


def normalised(text: pl.Expr) -> pl.Expr:
    """Unicode NFC, every run of white space one space, none at the ends: a prompt's text."""
    return text.map_batches(_normalised, return_dtype=pl.String)


def normalised_answer(text: pl.Expr) -> pl.Expr:
    """Unicode NFC, every line end a line feed, no white space at the ends: an answer's text."""
    return text.map_batches(_normalised_answer, return_dtype=pl.String)


def _normalised_answer(texts: pl.Series) -> pl.Series:
    composed = _changed(texts, _unusual(texts), lambda rows: rows.str.normalize("NFC"))
    lines = _changed(
        composed,
        composed.str.contains("\r", literal=True),
        lambda rows: rows.str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True),
    )
    return lines.str.strip_chars()


def same_but_for_space(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Whether two texts that `normalised_answer` gave differ, and in white space alone."""
    return pl.map_batches([left, right], lambda texts: _same_but_for_space(*texts), return_dtype=pl.Boolean)


def _same_but_for_space(left: pl.Series, right: pl.Series) -> pl.Series:
    # Neither begins or ends with white space: few texts are left to be looked at.
    ends_alike = (left.str.head(1) == right.str.head(1)) & (left.str.tail(1) == right.str.tail(1))
    may_be = ends_alike & (left != right)
    places = may_be.fill_null(False).arg_true()
    if places.is_empty():
        return may_be
    ours, theirs = (texts.gather(places).str.replace_all(r"\s+", "") for texts in (left, right))
    return may_be.clone().scatter(places, ours == theirs)


def _normalised(texts: pl.Series) -> pl.Series:
    spaced = _changed(texts, _unusual(texts), lambda rows: rows.str.normalize("NFC").str.replace_all(r"\s", " "))
    for character in _ASCII_SPACE:
        spaced = _spaced(spaced, character, spaced.str.contains(character, literal=True))
    return _single_spaced(spaced)


def _single_spaced(texts: pl.Series) -> pl.Series:
    """Every run of spaces one space, none at the ends."""
    while (doubled := texts.str.contains("  ", literal=True)).any():
        # Halves every run, in the texts that have one.
        texts = _spaced(texts, "  ", doubled)
    return texts.str.strip_chars(" ")


def _spaced(texts: pl.Series, old: str, where: pl.Series) -> pl.Series:
    return _changed(texts, where, lambda rows: rows.str.replace_all(old, " ", literal=True))


def _unusual(texts: pl.Series) -> pl.Series:
    """Which texts may have to be composed, or hold white space outside of ASCII: slow to change, and few."""
    return _matching(texts, _is_wide(texts), _UNUSUAL)


def _matching(texts: pl.Series, among: pl.Series, pattern: str) -> pl.Series:
    """Which texts, of those among which one is looked for, hold a match of the pattern."""
    places = among.arg_true()
    return among.clone().scatter(places, texts.gather(places).str.contains(pattern))


def _is_wide(texts: pl.Series) -> pl.Series:
    """Which texts hold a character outside of ASCII."""
    return (texts.str.len_bytes() != texts.str.len_chars()).fill_null(False)


def _changed(values: pl.Series, where: pl.Series, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """The values, those at some places changed; costs nothing where there are none."""
    places = where.fill_null(False).arg_true()
    if places.is_empty():
        return values
    return values.clone().scatter(places, change(values.gather(places)))


def loosely_normalised(text: pl.Expr) -> pl.Expr:
    """`normalised` with compatibility forms folded, lower case, and only letters and digits kept.

    Two prompts that agree here differ trivially: they belong on the same side of a split.
    """
    return text.map_batches(_loosely_normalised, return_dtype=pl.String)


def _loosely_normalised(texts: pl.Series) -> pl.Series:
    # Of ASCII there is nothing to fold, and its letters and digits are found several times as fast. Spaces stay out of
    # what is replaced: there is one after every word. One that follows a sign goes with it, or most texts would have
    # runs of spaces to be made one.
    wide = _is_wide(texts)
    folded = _changed(texts, _matching(texts, wide, _UNFOLDED), lambda rows: rows.str.normalize("NFKC"))
    folded = folded.str.to_lowercase()
    folded = _changed(folded, wide, lambda rows: rows.str.replace_all(r"[^\p{L}\p{N} ]+ ?", " "))
    folded = _changed(folded, ~wide, lambda rows: rows.str.replace_all(r"[\x00-\x1F!-/:-`{-\x7F]+ ?", " "))
    kept = _single_spaced(folded)
    # A prompt of symbols alone would become empty and join every other such prompt.
    symbols = (kept == "").fill_null(False)
    if not symbols.any():
        return kept
    return kept.scatter(symbols.arg_true(), _normalised(texts.filter(symbols)))


def same_loosely(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Whether two texts are one where they are `loosely_normalised`."""
    return pl.map_batches([left, right], lambda texts: _same_loosely(*texts), return_dtype=pl.Boolean)


def _same_loosely(left: pl.Series, right: pl.Series) -> pl.Series:
    # Most texts begin differently, and need not be looked at any further.
    first, second = (texts.str.extract(_BEGINS_PLAINLY).str.to_lowercase() for texts in (left, right))
    may_be = (first == second).fill_null(True)
    places = may_be.arg_true()
    ours, theirs = (_loosely_normalised(texts.gather(places)) for texts in (left, right))
    return may_be.clone().scatter(places, ours == theirs)


def with_extra(text: pl.Expr, extra: pl.Expr) -> pl.Expr:
    """`text`, and what goes along with it where that is not null: the two could be told apart again."""
    return pl.when(extra.is_null()).then(text).otherwise(pl.concat_str(text, pl.lit("+"), joined(extra)))


def prompt_key(messages: pl.Expr, *, loose: bool = False) -> pl.Expr:
    """One string a message list, equal exactly where roles, normalised contents and extras are equal.

    Loosely normalised, extras are no part of it: prompts of one text belong together whatever tools were called.
    """
    normal = loosely_normalised if loose else normalised
    return messages.map_batches(lambda lists: _joined_messages(lists, normal, not loose), return_dtype=pl.String)


def written_prompt(messages: pl.Expr) -> pl.Expr:
    """One string a message list, equal exactly where roles, contents and extras are equal as they were written."""
    return messages.map_batches(lambda lists: _joined_messages(lists, lambda text: text), return_dtype=pl.String)


def prompt_context(messages: pl.Expr, tools: pl.Expr) -> pl.Expr:
    """What a prompt says beside roles and contents, as one string: its messages' extras and its tools; mostly empty."""
    return pl.map_batches([messages, tools], lambda columns: _contexts(*columns), return_dtype=pl.String)


def _contexts(lists: pl.Series, tools: pl.Series) -> pl.Series:
    extras = lists.explode().struct.field("extra")
    if not extras.count() and not tools.count():
        return pl.repeat("", len(lists), dtype=pl.String, eager=True)
    extra = pl.element().struct.field("extra")
    said = lists.to_frame("lists").select(
        extras=pl.col("lists").list.eval(joined(extra.fill_null(""))).list.join(""),
        is_bare=pl.col("lists").list.eval(extra.is_null()).list.all(),
        tools=tools,
    )
    bare = pl.col("is_bare") & pl.col("tools").is_null()
    context = pl.concat_str(joined(pl.col("tools").fill_null("")), "extras")
    return said.select(pl.when(bare).then(pl.lit("")).otherwise(context)).to_series()


def _joined_messages(lists: pl.Series, normal: Callable[[pl.Expr], pl.Expr], extras: bool = True) -> pl.Series:
    """All messages in one column are normalised together: a list at a time would take a hundred times as long."""
    lengths = lists.list.len().fill_null(0)
    # An empty list explodes to a row of nothing.
    messages = lists.filter(lengths > 0).explode().struct.unnest()
    # First alone: `joined` names a text twice, and would have it normalised twice.
    normals = messages.select("role", normal(pl.col("content")), "extra")
    part = joined(pl.col("role"), pl.col("content"))
    if extras and normals["extra"].count():
        part = with_extra(part, pl.col("extra"))
    parts = normals.select(part=part)["part"]
    if (lengths == 1).all():
        return parts.rename(lists.name)
    numbers = np.arange(len(lists))
    keys = pl.DataFrame({"row": np.repeat(numbers, lengths.to_numpy()), "part": parts})
    keys = keys.group_by("row", maintain_order=True).agg(pl.col("part").str.join(""))
    rows = pl.DataFrame({"row": numbers, "is_missing": lists.is_null()})
    found = rows.join(keys, on="row", how="left", maintain_order="left", validate="1:1")
    return found.select(pl.when(~pl.col("is_missing")).then(pl.col("part").fill_null(""))).to_series()


def prompt_id(messages: pl.Expr, tools: pl.Expr = _NOTHING) -> pl.Expr:
    """Id of a prompt: the digest of its roles, normalised contents and extras, and of its tools."""
    return id_of_key(prompt_key(messages), tools)


def id_of_key(key: pl.Expr, tools: pl.Expr) -> pl.Expr:
    """`prompt_id` of a `prompt_key`."""
    return digest(with_extra(key, tools))


def response_id(prompt_ids: pl.Expr, completion: pl.Expr, extra: pl.Expr = _NOTHING) -> pl.Expr:
    """Id of a response: the digest of its prompt's id, its normalised text and its extra."""
    return id_of_normalised(prompt_ids, normalised_answer(completion), extra)


def id_of_normalised(prompt_ids: pl.Expr, text: pl.Expr, extra: pl.Expr = _NOTHING) -> pl.Expr:
    """`response_id` of a text that is normalised already."""
    return digest(with_extra(joined(prompt_ids, text), extra))


def as_answer(completion: pl.Expr, extra: pl.Expr = _NOTHING) -> pl.Expr:
    """A completion's text and extra as a list of one assistant message."""
    return pl.concat_list(pl.struct(role=pl.lit("assistant"), content=completion, extra=extra))
