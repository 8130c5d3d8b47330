"""What all settings share: their manners, and types with a range."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NaturalCount = Annotated[int, Field(ge=1)]
# What every generator takes: numpy's none below 0, torch's none of more bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _option_text(value: object) -> object:
    """A number as its digits and a list as its entries, comma separated: `up: 1` and `up: [1, GOOD]` need no quotes.

    Raises:
        ValueError: A boolean: of YAML's `yes`, `on` and `true` nobody can say any more which was meant.
    """
    if isinstance(value, bool):
        raise ValueError("YAML makes a boolean of yes, no, on, off, true and false; put the label in quotes")
    if isinstance(value, list | tuple):
        return ", ".join(str(_option_text(entry)) for entry in value)
    return str(value) if isinstance(value, int | float) else value


OptionText = Annotated[str, BeforeValidator(_option_text)]


class StageConfig(BaseModel):
    """Shared manners: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
