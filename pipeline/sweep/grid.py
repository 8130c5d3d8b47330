"""The grid of a sweep: which settings of training vary, over which values, and what each combination is called."""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from ..config import RunConfig, read_value
from ..errors import ConfigError, unknown_name
from ..hiding import shown_argument
from ..storage.digests import digest_text

_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
# A folder's name may have 255 bytes; stages and files lie below it.
_NAME_CHARACTERS: Final = 150
_VALUE_CHARACTERS: Final = 32
_DIGEST: Final = 6
_DATA: Final = "it changes the data, and trials are compared on the same rows"
_MEASURED: Final = "it changes what is measured, not what is trained"
_SHARED: Final = "it changes the sequences or their reference log-probs, which all trials share"
_REASONS: Final = {
    "name": "it names a run",
    "runs": "it says where runs lie",
    "model": _SHARED,
    "revision": _SHARED,
    "sequences": _SHARED,
    "reference": _SHARED,
    "thumbs": "it changes the thumbs model, which all trials share",
    "generations": _MEASURED,
    "judges": _MEASURED,
    "metrics": _MEASURED,
    "report": _MEASURED,
}


class Axis(NamedTuple):
    """One setting that varies.

    Attributes:
        key: Its dotted name.
        values: The values that it takes, in the order given.
    """

    key: str
    values: tuple[Any, ...]


def parse_axis(text: str) -> Axis:
    """The axis that `KEY=V1,V2` describes, each value as a run file would have it.

    Raises:
        ConfigError: It has no such form.
    """
    key, separator, listed = text.partition("=")
    values = read_value(f"[{listed}]", origin=f"--over {shown_argument(text)}")
    if not separator or not key.strip() or not values:
        raise ConfigError(f"--over {text}: write it as KEY=V1,V2, for example --over train.loss.beta=0.05,0.1,0.3.")
    return Axis(key.strip(), tuple(map(_plain, values)))


def _plain(value: Any) -> Any:
    """The value, with numbers such as 1e-5, which YAML takes for text, as numbers."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def check_axes(axes: Sequence[Axis]) -> None:
    """Refuse a key that is no setting of training, and one that is there twice.

    Raises:
        ConfigError: Says which, and why.
    """
    if not axes:
        raise ConfigError("sweep: nothing varies; give --over KEY=V1,V2, for example --over train.loss.beta=0.05,0.1.")
    for axis in axes:
        _check_key(axis.key)
        if sum(axis.key == other.key for other in axes) > 1:
            raise ConfigError(f"--over {axis.key}: given more than once; write all its values in one.")
        if not axis.values:
            raise ConfigError(f"--over {axis.key}: it has no value.")


def _check_key(key: str) -> None:
    section = key.partition(".")[0]
    if section not in RunConfig.model_fields:
        raise ConfigError(f"--over {key}: {unknown_name('section', section, RunConfig.model_fields)}")
    if section != "train":
        reason = _REASONS.get(section, _DATA)
        raise ConfigError(f"--over {key}: {reason}. Only settings of train can vary; for others, make a run of each.")
    if key == "train.seed":
        raise ConfigError(
            "--over train.seed: seeds are no setting to choose by; --seeds repeats every setting with each."
        )
    if not all(key.split(".")[1:]) or key == "train":
        raise ConfigError(f"--over {key}: name a setting of train, such as train.learning_rate.")


def combinations(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every combination of values by key, the last axis changing fastest."""
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, values, strict=True)) for values in product(*(axis.values for axis in axes))]


def setting_name(values: Mapping[str, Any]) -> str:
    """A name that a folder can have and a person can read: `beta_0.1__learning_rate_1e-05`."""
    short = short_keys(list(values))
    name = "__".join(f"{_safe(short[key])}_{_safe(value_word(value))}" for key, value in values.items())
    if len(name) <= _NAME_CHARACTERS:
        return name
    return f"{name[:_NAME_CHARACTERS]}-{digest_text(name)[:_DIGEST]}"


def trial_name(setting: str, seed: int) -> str:
    """The name of a setting's trial with one seed."""
    return f"{setting}__seed_{seed}"


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Each key with as many of its last parts as tell it from the others."""
    found = {}
    for key in keys:
        parts = key.split(".")
        endings = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        others = [f".{other}" for other in keys if other != key]
        found[key] = next((e for e in endings if not any(other.endswith(f".{e}") for other in others)), key)
    return found


def described(values: Mapping[str, Any]) -> str:
    """The values as a sentence says them: `beta 0.1, learning_rate 1e-05`."""
    short = short_keys(list(values))
    return ", ".join(f"{short[key]} {value_word(value)}" for key, value in values.items())


def value_word(value: Any) -> str:
    """The value as a name or a sentence has it."""
    if isinstance(value, float):
        return repr(value).replace("e+", "e")
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def _safe(text: str) -> str:
    """The text where a file's name can be it, else what is left of it with a digest of the whole."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    if safe == text and len(text) <= _VALUE_CHARACTERS:
        return text
    return f"{safe[:_VALUE_CHARACTERS].strip('-')}-{digest_text(text)[:_DIGEST]}"
