"""What all settings share: their manners, and types with a range."""

from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NaturalCount = Annotated[int, Field(ge=1)]
# What every generator takes: numpy's none below 0, torch's none of more bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Unit:
    """What a number counts or measures; beside a field's type it stands in the run file's schema.

    Attributes:
        name: In the plural where it counts; `factor` for a number that multiplies.
    """

    name: str

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """The field's schema with its unit."""
        return {**handler(core_schema), "unit": self.name}


def _option_text(value: object) -> object:
    """A number as its digits, a boolean as its word, and a list as its entries, comma separated.

    A run file's values come as they are written; only Python gives others than texts.

    Raises:
        ValueError: A list holds null.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        if None in value:
            raise ValueError("null is unrated already, and no label; put the word in quotes where the log has it")
        return ", ".join(str(_option_text(entry)) for entry in value)
    return str(value) if isinstance(value, int | float) else value


# What a run file may hold there; the words are those that stand in it (`config/words.py`).
_SCALARS = ["string", "number", "boolean"]
OptionText = Annotated[
    str,
    BeforeValidator(_option_text),
    WithJsonSchema({"type": [*_SCALARS, "array"], "items": {"type": _SCALARS}}),
]


def _takes_numbers_alone(kind: Any) -> bool:
    """Whether a setting of that type takes numbers, and neither texts nor booleans beside them."""
    parts = get_args(kind)
    if not parts:
        return kind in (int, float)
    if hasattr(kind, "__metadata__"):
        return _takes_numbers_alone(parts[0])
    return all(part is NoneType or _takes_numbers_alone(part) for part in parts)


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))


class StageConfig(BaseModel):
    """Shared manners: frozen, an unknown key is an error, and nothing is taken for what nobody wrote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: object, info: ValidationInfo) -> object:
        """To Python a boolean is the number 0 or 1, and to the system a name ends before a NUL character."""
        if isinstance(value, bool) and _takes_numbers_alone(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("a number is needed here, and to YAML yes, no, on, off, true and false are none")
        if _holds_nul(value):
            raise ValueError("holds a NUL character, which no path and no name can have")
        return value
