"""What all settings share: their manners, and types with a range."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NaturalCount = Annotated[int, Field(ge=1)]
# What every generator takes: numpy's none below 0, torch's none of more bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class StageConfig(BaseModel):
    """Shared manners: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
