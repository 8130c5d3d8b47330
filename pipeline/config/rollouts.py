"""Settings of answers that the policy writes while it trains."""

from typing import Annotated, Literal

from pydantic import Field

from .base import NaturalCount, Positive, StageConfig, Unit


class RolloutsConfig(StageConfig):
    """Answers that the policy writes while it trains, for methods on prompts (`ppo`, `rloo`).

    A step of those takes `train.batch_rows` prompts of the training split, samples answers from the weights of the step
    at temperature 1, scores them by the run's thumbs model, and trains on them.
    """

    samples: Annotated[NaturalCount, Unit("answers")] = Field(
        4, description="Answers a prompt; rloo compares those to one prompt and takes at least 2."
    )
    max_new_tokens: Annotated[NaturalCount, Unit("tokens")] = Field(
        128, description="An answer is cut after this many tokens."
    )
    missing_eos_penalty: Annotated[float, Unit("units of reward")] = Field(
        1.0,
        ge=0.0,
        allow_inf_nan=False,
        description="Taken off the score of an answer that was cut before it ended itself.",
    )
    epochs: Annotated[NaturalCount, Unit("passes")] = Field(1, description="Passes over the answers of a step.")
    minibatches: Annotated[NaturalCount, Unit("updates")] = Field(
        4, description="Updates of the weights a pass, each on an equal share of the answers."
    )
    engine: Literal["hf", "vllm", "auto"] = Field(
        "hf",
        description="`hf` samples from the model in training itself; `vllm` in a process that holds its weights once "
        "more and is given them anew at each step; `auto` is vLLM where it is installed.",
    )
    value_model: Literal["policy", "thumbs"] = Field(
        "policy",
        description="What predicts the reward to come for ppo: a layer on the policy's own states, which it does not "
        "change; or a second model that begins as the thumbs model and is trained whole.",
    )
    value_rate: Annotated[Positive, Unit("factor")] = Field(
        100.0,
        allow_inf_nan=False,
        description="Times train.learning_rate, the rate of the layer of `value_model: policy`, which begins at 0.",
    )
