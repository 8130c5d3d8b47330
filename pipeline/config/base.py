"""What all settings share: their manners, and types with a range."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NaturalCount = Annotated[int, Field(ge=1)]
# What every generator takes: numpy's none below 0, torch's none of more bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


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


OptionText = Annotated[str, BeforeValidator(_option_text)]


class StageConfig(BaseModel):
    """Shared manners: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
