"""Settings of metrics and report."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from .base import Positive, Seed, StageConfig, Unit

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
    bootstrap_draws: Annotated[int, Unit("resamples")] = Field(
        1000, ge=100, description="Resamples of prompt groups an interval."
    )
    confidence: Annotated[float, Unit("probability")] = Field(0.95, gt=0.5, lt=1.0, description="Mass of an interval.")
    seed: Seed = Field(0, description="Draws the resamples.")
    reward: Literal["auto", "implicit", "mean_implicit", "sum_logps", "mean_logps"] = Field(
        "auto", description="What a row's reward is; `auto` follows the method (ORPO and SimPO have no reference)."
    )
    beta: Annotated[Positive | None, Unit("factor")] = Field(
        None, description="Scale of the implicit reward; unset: the method's own beta."
    )
    slices: tuple[SliceName, ...] = Field(
        ("pair_source", "response_model", "script", "turns", "votes", "chosen_token_count", "token_count"),
        description="Columns of held-out rows whose values are evaluated apart; each table has some of them.",
    )
    reference_answers: Literal["all"] | tuple[str, ...] = Field(
        (),
        description="Models of the log whose answers the reference model wrote, or `all`: from those the thumbs-up "
        "rate of the trained model is estimated by weights. Unset: no such estimate.",
    )
    least_effective_groups: Annotated[int, Unit("prompt groups")] = Field(
        100, ge=2, description="Effective prompt groups below which that estimate is refused."
    )
    clip_weights: Annotated[Positive | None, Unit("factor")] = Field(
        None, description="Greatest weight of a logged answer in that estimate; unset: no weight is clipped."
    )

    most_outside: Annotated[float, Unit("share of answers")] = Field(
        0.1,
        ge=0.0,
        le=1.0,
        description="A predicted thumbs-up rate is refused where more than this share of a model's answers have "
        "a score, length or script outside what the calibration saw.",
    )

    @property
    def reference_models(self) -> tuple[str, ...]:
        """`reference_answers` as names: `all` is one."""
        return (self.reference_answers,) if isinstance(self.reference_answers, str) else self.reference_answers


class ReportConfig(StageConfig):
    """What the report shows."""

    title: str = Field("thumbline report", min_length=1, description="Heading of the page.")
    worst_examples: Annotated[int, Unit("rows")] = Field(
        8,
        ge=0,
        description="Held-out pairs shown that the trained model gets most wrong, and sampled answers that lose.",
    )
    most_price: Annotated[float, Unit("share")] = Field(
        0.05,
        ge=0.0,
        allow_inf_nan=False,
        description="Better by the judge is `better, at a price` where answers take this share more nats a token under "
        "the untrained model, or repeat themselves, refuse, are empty or cut off in this share more.",
    )
    most_broken: Annotated[float, Unit("share of answers")] = Field(
        0.1,
        gt=0.0,
        allow_inf_nan=False,
        description="Answers that surely repeat themselves or are empty in this share more are called worse, whatever "
        "a judge or held-out preferences say.",
    )
