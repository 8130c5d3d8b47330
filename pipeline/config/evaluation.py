"""Settings of metrics and report."""

from typing import Literal, TypeAlias

from pydantic import Field

from .base import Positive, Seed, StageConfig

SliceName: TypeAlias = Literal[
    "pair_source",
    "response_model",
    "script",
    "turns",
    "votes",
    "chosen_token_count",
    "rejected_token_count",
    "token_count",
]


class MetricsConfig(StageConfig):
    """How held-out rows become metrics."""

    split: Literal["test", "validation"] = Field(
        "test", description="Held-out rows that are scored and evaluated: validation to choose between runs, then test."
    )
    bootstrap_draws: int = Field(1000, ge=100, description="Resamples of prompt groups an interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="Mass of an interval.")
    seed: Seed = Field(0, description="Draws the resamples.")
    reward: Literal["auto", "implicit", "mean_implicit", "sum_logps", "mean_logps"] = Field(
        "auto", description="What a row's reward is; `auto` follows the method (ORPO and SimPO have no reference)."
    )
    beta: Positive | None = Field(None, description="Scale of the implicit reward; None: the method's own beta.")
    slices: tuple[SliceName, ...] = Field(
        ("pair_source", "response_model", "script", "turns", "votes", "chosen_token_count", "token_count"),
        description="Columns of held-out rows whose values are evaluated apart; each table has some of them.",
    )


class ReportConfig(StageConfig):
    """What the report shows."""

    title: str = Field("thumbline report", min_length=1, description="Heading of the page.")
    worst_examples: int = Field(8, ge=0, description="Held-out pairs shown that the trained model gets most wrong.")
