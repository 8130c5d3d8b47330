"""Groups of rows to train, validation and test, and how near the shares come to what was asked for.

A group too large for a held-out split is trained on, whatever its hash or its time: one that has more rows than the
split is to have, or that is an outlier, with more than a two-hundredth of all rows and more than eight times a group's
mean. Held out, it would be most of what the split says, and its share alone would be off. The other groups then make
up for it: their share of the held-out splits grows in steps of 15%, so that a few rows more or less move nothing.
"""

import math
from typing import Final

import polars as pl

from ..config import SplitsConfig
from ..identity import as_digits, digest, joined
from ..tables import SPLIT

# Shares further off than this are said.
OFF_SHARE: Final = 0.02
_LARGE_SHARE: Final = 0.005
_LARGE_TIMES: Final = 8
# Smaller groups never are too large: shares of a few rows mean nothing, and places should not depend on them.
LARGE_ROWS: Final = 10
_STEP: Final = 1.15
# Of what is left beside the groups that are too large, the held-out splits take at most so many times their share.
_MOST_ROOM: Final = 2.0
_HEX_DIGITS: Final = 12
_GROUPS_AT_ONCE: Final = 100_000
_SALTS: Final = 20
_SALTED_GROUPS: Final = 200_000


def placed(groups: pl.DataFrame, config: SplitsConfig) -> pl.Series:
    """(groups,) the split of every group.

    Args:
        groups: `group_id` (a number), `n_rows` and, by time, `newest_event_at`: a group without one is older than all
            others.
        config: Method, shares and salt.
    """
    marked = groups.with_columns(too_large=is_too_large(config))
    if config.method == "time":
        return _fitting(_by_time(marked.with_row_index("row"), config).sort("row"), config)
    room = _stepped(_mass(marked))
    # Names are written out a few at a time.
    parts = marked.select("group_id").iter_slices(_GROUPS_AT_ONCE) if groups.height else [marked]
    split = pl.concat(part.select(split=_cut(_hashed(config.salt), config, room)) for part in parts)
    return _fitting(marked.drop("group_id").hstack(split), config)


def is_too_large(config: SplitsConfig) -> pl.Expr:
    """Whether a group is trained on since no held-out split could take it, from the `n_rows` of all groups."""
    rows, total = pl.col("n_rows"), pl.col("n_rows").sum()
    outlier = pl.max_horizontal(pl.lit(_LARGE_SHARE), _LARGE_TIMES / pl.len())
    limit = pl.min_horizontal(outlier, pl.lit(max(config.test, config.validation)))
    return (rows > limit * total) & (rows >= LARGE_ROWS)


def _mass(marked: pl.DataFrame) -> float:
    """Share of the rows that are in groups too large to be held out."""
    total = int(marked["n_rows"].sum())
    return int(marked.filter("too_large")["n_rows"].sum()) / total if total else 0.0


def _stepped(mass: float) -> float:
    """About 1 / (1 - mass), a power of the step."""
    return _STEP ** round(-math.log(max(1.0 - mass, 0.01)) / math.log(_STEP))


def _bounded(room: float, config: SplitsConfig) -> float:
    held_out = config.test + config.validation
    return min(room, _MOST_ROOM, (1.0 + held_out) / (2.0 * held_out)) if held_out else 1.0


def _hashed(salt: str) -> pl.Expr:
    """A number from 0 to 1 of each `group_id` and the salt."""
    name = pl.col("group_id").map_batches(as_digits, return_dtype=pl.String)
    hashed = digest(joined(pl.lit(salt), name)).str.head(_HEX_DIGITS)
    return hashed.str.to_integer(base=16) / float(16**_HEX_DIGITS)


def _by_time(marked: pl.DataFrame, config: SplitsConfig) -> pl.DataFrame:
    """Groups by their last event, the newest first; those that are too large count for nothing."""
    newest_first = marked.sort(["newest_event_at", "group_id"], descending=[True, False], nulls_last=True)
    rows = pl.when("too_large").then(0).otherwise("n_rows")
    # A group lies where its middle row lies: the shares are off by half a group at most.
    middle = rows.cum_sum() - rows / 2.0
    room = 1.0 / max(1.0 - _mass(marked), 0.01)
    return newest_first.with_columns(split=_cut(middle / pl.max_horizontal(rows.sum(), 1), config, room))


def _cut(place: pl.Expr, config: SplitsConfig, room: float) -> pl.Expr:
    room = _bounded(room, config)
    return (
        pl.when(place < config.test * room)
        .then(pl.lit("test"))
        .when(place < (config.test + config.validation) * room)
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
        .cast(SPLIT)
    )


def _fitting(found: pl.DataFrame, config: SplitsConfig) -> pl.Series:
    """Splits, groups that are too large for theirs in train."""
    total = found["n_rows"].sum()
    share = pl.when(pl.col("split") == "test").then(config.test).otherwise(config.validation)
    crowded = (pl.col("n_rows") > share * total) & (pl.col("n_rows") >= LARGE_ROWS)
    train = pl.lit("train").cast(SPLIT)
    kept = pl.when((pl.col("split") != "train") & (pl.col("too_large") | crowded)).then(train).otherwise("split")
    parts = found.iter_slices(_GROUPS_AT_ONCE) if found.height else [found]
    return pl.concat(part.select(split=kept) for part in parts).to_series()


def shares(groups: pl.DataFrame) -> dict[str, float]:
    """Share of the rows in each split, from `n_rows` and `split`."""
    total = max(int(groups["n_rows"].sum()), 1)
    return {name: int(groups.filter(pl.col("split") == name)["n_rows"].sum()) / total for name in SPLIT.categories}


def off_share(found: dict[str, float], config: SplitsConfig) -> float:
    """How far the shares of test and validation are from what was asked for, the further of the two."""
    return max(abs(found["test"] - config.test), abs(found["validation"] - config.validation))


def off_shares_line(groups: pl.DataFrame, config: SplitsConfig) -> str:
    """What a person should know where the shares of the rows are off; empty where they are not.

    Args:
        groups: `group_id`, `n_rows` and `split`.
        config: What was asked for.
    """
    found = shares(groups)
    if off_share(found, config) <= OFF_SHARE:
        return ""
    asked = {"test": config.test, "validation": config.validation}
    told = " and ".join(
        f"{found[name]:.1%} are {name} where {share:.0%} was asked for" for name, share in asked.items()
    )
    large = groups.filter(is_too_large(config))
    if large.is_empty():
        why = f"{groups.height:,} groups of rows that belong together are too few, or too unequal, for closer shares"
    else:
        mass = int(large["n_rows"].sum()) / int(groups["n_rows"].sum())
        many = f"{large.height:,} of {groups.height:,} groups"
        why = f"groups too large to be held out have {mass:.1%} of the rows ({many})"
    return f"Of the rows {told}: {why}.{_advice(groups, config)}"


def _advice(groups: pl.DataFrame, config: SplitsConfig) -> str:
    if config.method == "time" or groups.height > _SALTED_GROUPS:
        return ""
    narrow = groups.select("group_id", "n_rows")
    for number in range(1, _SALTS + 1):
        salted = config.model_copy(update={"salt": f"{config.salt}-{number}"})
        found = shares(narrow.with_columns(placed(narrow, salted)))
        if off_share(found, salted) <= OFF_SHARE:
            return f" With splits.salt: {salted.salt} they are {found['test']:.1%} and {found['validation']:.1%}."
    return f" None of {_SALTS} other salts comes within {100 * OFF_SHARE:g} points."
