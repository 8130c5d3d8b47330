"""Settings of what is kept of a training, when it ends early, and where its numbers go while it runs."""

from typing import Annotated, Literal

from pydantic import Field

from .base import NaturalCount, Positive, StageConfig, Unit

TrackerName = Literal["tensorboard", "wandb", "trackio", "mlflow"]
HeldOutFigure = Literal["loss", "accuracy", "reward_margin", "penalised_reward"]


class KeepingConfig(StageConfig):
    """What is kept of a training, and when it ends before its last step."""

    keep: Literal["last", "best"] = Field(
        "last", description="Write the weights of the last step, or of the validation point that was best."
    )
    best_by: HeldOutFigure = Field(
        "loss",
        description="Figure of the validation rows by which `keep` and `patience` judge; ties go to the earlier. "
        "`penalised_reward`, of methods on prompts: the thumbs model's score less the KL penalty.",
    )
    choose: Literal["figure", "frontier"] = Field(
        "figure",
        description="`figure` keeps what `keep` and `best_by` say. `frontier` lets each validation point answer "
        "prompts of the validation split, as `generations` says, and keeps the one that pays least language of those "
        "that the first of `judges` finds surely better than the untrained model; the last step where none is.",
    )
    patience: Annotated[NaturalCount | None, Unit("validation points")] = Field(
        None, description="End after this many validation points in a row without an improvement; unset: never."
    )
    min_delta: Annotated[float, Unit("units of best_by")] = Field(
        0.0, ge=0.0, allow_inf_nan=False, description="An improvement that `patience` counts is larger than this."
    )
    checkpoint_every: Annotated[NaturalCount, Unit("steps")] = Field(
        20, description="Optimiser steps between checkpoints."
    )
    checkpoint_minutes: Annotated[Positive, Unit("minutes")] = Field(
        10.0, description="A checkpoint is also kept this long after the last one."
    )
    keep_checkpoints: Annotated[NaturalCount, Unit("checkpoints")] = Field(
        1, description="How many of the newest checkpoints lie on disk."
    )


class TrackingConfig(StageConfig):
    """Where the numbers of a training go while it runs; nothing here changes what is trained."""

    track: tuple[TrackerName, ...] = Field((), description="Trackers to log every step to.")
    track_project: str = Field("thumbline", min_length=1, description="Project, or experiment, that the run is put in.")
    track_run: str | None = Field(None, min_length=1, description="Name of the run in the trackers; unset: `name`.")
    peak_tflops: Annotated[Positive | None, Unit("TFLOP/s")] = Field(
        None, description="What the device multiplies at most, in TFLOP/s, to show the share that training reaches."
    )
