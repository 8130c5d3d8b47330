"""Numbers and intervals as a person reads them."""

import math
import re
from datetime import datetime, timedelta
from typing import Final

MINUS: Final = "\N{MINUS SIGN}"
DASH: Final = "\N{EM DASH}"
_ACRONYMS: Final = {"auc": "AUC", "ece": "ECE"}
_ONE_OF_SEVERAL: Final = re.compile(r"(?<![\d,.])(1 (?:prompt group|pair|row|answer|comparison|vote))s\b")
# What HTML has no place for, what turns the text behind it around, and halves of characters, which UTF-8 cannot hold.
_NOT_SHOWN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202d\u202e\ud800-\udfff]")
# What Markdown would read as marks.
_MARKS: Final = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|"})
_SHARES: Final = frozenset({"share", "proportion", "fraction"})


def plain(page: str) -> str:
    """The page with each control character as its code point, such as `[U+001B]`: names and texts are others' own."""
    return _NOT_SHOWN.sub(lambda found: f"[U+{ord(found.group()):04X}]", page)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line: a name may hold any character."""
    return plain(" ".join(text.split())).translate(_MARKS)


def count(value: int | None) -> str:
    """A whole number with thousands separated; a dash where there is none."""
    return DASH if value is None else f"{value:,}".replace("-", MINUS)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number with `digits` decimals, or with three significant ones where that would show zeros only."""
    if value is None or not math.isfinite(value):
        return DASH if value is None else str(value).replace("-", MINUS)
    sign = "+" if signed else ""
    tiny = value != 0 and abs(value) < 0.5 * 10**-digits
    text = f"{value:{sign}.2e}" if tiny or abs(value) >= 1e7 else f"{value:{sign},.{digits}f}"
    return text.replace("-", MINUS)


def p_value(value: float) -> str:
    """`p = 0.012`, or `p < 0.001`: what is below that says nothing more."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def percent(value: float | None, *, signed: bool = False) -> str:
    """A share as a percentage with one decimal."""
    if value is None:
        return DASH
    return f"{100.0 * value:{'+' if signed else ''}.1f}%".replace("-", MINUS)


def is_share(unit: str) -> bool:
    """Whether a metric of this unit is a share of rows, shown as a percentage."""
    return unit in _SHARES


def measure(value: float | None, unit: str = "", *, signed: bool = False) -> str:
    """A metric's value in its unit: shares as percentages, flags as words."""
    if is_share(unit):
        return percent(value, signed=signed)
    if value is not None and unit == "flag":
        return "yes" if value else "no"
    if value is not None and unit in ("pairs", "points"):
        return count(round(value))
    return number(value, signed=signed)


def interval(low: float | None, high: float | None, unit: str = "", *, signed: bool = False) -> str:
    """`low to high`; a dash where either end is missing."""
    if low is None or high is None:
        return DASH
    return f"{measure(low, unit, signed=signed)} to {measure(high, unit, signed=signed)}"


def difference(low: float | None, high: float | None, unit: str = "", points: str = "percentage points") -> str:
    """The interval of a difference with its signs: of shares in percentage points, which tables call `pp`."""
    if low is None or high is None:
        return DASH
    if not is_share(unit):
        return interval(low, high, signed=True)
    ends = (f"{100.0 * end:+.1f}".replace("-", MINUS) for end in (low, high))
    return f"{' to '.join(ends)} {points}"


def change(value: float | None, unit: str = "") -> str:
    """A difference with its sign: of shares in percentage points, `+2.5 pp`."""
    if value is None or not is_share(unit):
        return measure(value, unit, signed=True)
    return f"{100.0 * value:+.1f} pp".replace("-", MINUS)


def plural(number_of: int, noun: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count(number_of)} {noun}{'' if number_of == 1 else 's'}"


def counted(text: str) -> str:
    """A sentence of an evaluator with `1 prompt group` where it says `1 prompt groups`."""
    return _ONE_OF_SEVERAL.sub(r"\1", text)


def words(name: str) -> str:
    """A column's or a reason's name as words: `low_confidence` is `low confidence`."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """With a capital first letter, and acronyms as such."""
    spelt = " ".join(_ACRONYMS.get(part, part) for part in text.split(" "))
    return spelt[:1].upper() + spelt[1:]


def seconds(value: float) -> str:
    """A duration: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def model_name(name: str | None) -> str:
    """`the trained model`, or a model's own name."""
    return f"the {name} model" if name in {"trained", "untrained"} else str(name)


def capital(text: str) -> str:
    """A sentence's start with a capital first letter; a model's name such as `acme/helper` keeps its own."""
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


def moment(text: str) -> str:
    """An ISO time to the second, as people read it; any other text as it is."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{when:%Y-%m-%d %H:%M:%S}{' UTC' if when.utcoffset() == timedelta(0) else ''}"


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters: a long name keeps its two ends, where names differ."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[head + 1 - limit :]}"


def excerpt(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, saying how many more there are."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()} … [{count(len(text) - limit)} more characters]"
