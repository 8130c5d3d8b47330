"""Settings of training."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .base import Fraction, NaturalCount, Positive, Seed, StageConfig, Unit
from .keeping import KeepingConfig, TrackingConfig
from .machine import Settled
from .rollouts import RolloutsConfig


class LossTerm(StageConfig):
    """One more method whose losses are added to those of `train.method`, on the same rows."""

    method: str = Field(description="A name of `thumbline losses`; it takes the same kind of rows.")
    weight: Annotated[float, Unit("factor")] = Field(1.0, description="Factor on its losses.", allow_inf_nan=False)
    loss: dict[str, Any] = Field({}, description="Its own hyper-parameters.")


class LoraSettings(StageConfig):
    """The adapter that is trained where `train.adapter` is set."""

    rank: Annotated[NaturalCount, Unit("dimensions")] = Field(
        16, description="Rank of the change of a layer's weights."
    )
    alpha: Annotated[Positive, Unit("factor")] = Field(32.0, description="The change is scaled by this over the rank.")
    use_rslora: bool = Field(False, description="Scale by alpha over the root of the rank instead (rsLoRA).")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="Last parts of the names of layers that get one; `all-linear`: all but the head."
    )


class TrainConfig(KeepingConfig, TrackingConfig):
    """Which method trains the policy, and how."""

    method: str = Field("dpo", description="A name of `thumbline losses`.")
    loss: dict[str, Any] = Field(
        {},
        description="The method's own hyper-parameters, for example `beta`; `thumbline losses METHOD` explains them.",
    )
    also: tuple[LossTerm, ...] = Field((), description="Further methods: a weighted sum of losses is trained on.")
    rollouts: RolloutsConfig = Field(
        RolloutsConfig(), description="Answers that methods on prompts (`ppo`, `rloo`) sample and train on."
    )
    weighting: Literal["none", "wpo"] = Field(
        "none", description="`wpo` weighs a pair by how likely the policy is to write both of its answers (WPO)."
    )
    ld_alpha: Annotated[Fraction, Unit("factor")] = Field(
        1.0,
        description="Weight of tokens beyond the length of a pair's shorter answer (LD-DPO); 1: all count alike. Below "
        "1, methods with a reference need reference.token_logps.",
    )
    ratio_floor: Annotated[float | None, Unit("nats a token")] = Field(
        None,
        le=0.0,
        description="Raise each token's log-ratio to the reference that is below this to it, without a gradient; "
        "unset: none. Humanline variants take -1.5, and 1.5 as ratio_ceiling; both need reference.token_logps.",
    )
    ratio_ceiling: Annotated[float | None, Unit("nats a token")] = Field(
        None, ge=0.0, description="Likewise lower each that is above this; unset: none."
    )
    reference_steps: Annotated[NaturalCount | None, Unit("steps")] = Field(
        None,
        description="Take the policy for the reference anew every so many steps (humanline: 4 to 24); unset: never. "
        "Held-out rows stay measured against the stored reference, and checkpoints are kept at these steps.",
    )
    adapter: Literal["none", "lora", "dora"] = Field(
        "none", description="Train a LoRA or DoRA adapter and freeze the model; `none` trains all of its weights."
    )
    lora: LoraSettings = Field(LoraSettings(), description="Settings of the adapter, of either kind.")
    save: Literal["merged", "adapter"] = Field(
        "merged", description="Write an ordinary model with the adapter in its weights, or the adapter alone."
    )
    weights: Literal["float32", "bfloat16", "nf4"] = Field(
        "float32",
        description="Type of the model's weights, trained or an adapter's base; an adapter's own are float32. nf4: an "
        "adapter on 4-bit weights (QLoRA, by bitsandbytes), whose reference is scored with them too.",
    )
    rounding: Literal["stochastic", "master"] = Field(
        "stochastic",
        description="How bfloat16 weights that are trained keep steps too small for them: rounded by chance, or in a "
        "float32 master copy, for 4 bytes a parameter more.",
    )
    optimizer: Literal["adamw", "adamw_8bit", "adafactor"] = Field(
        "adamw", description="State of 8, about 2 (bitsandbytes), or almost no bytes a trained parameter."
    )
    learning_rate: Annotated[Positive, Unit("factor")] = Field(
        1e-5, allow_inf_nan=False, description="Peak of the optimiser's learning rate."
    )
    epochs: Annotated[Positive, Unit("epochs")] = Field(
        1.0, allow_inf_nan=False, description="Passes over the training rows; may be a fraction."
    )
    max_steps: Annotated[NaturalCount | None, Unit("steps")] = Field(
        None, description="Stop after this many optimiser steps."
    )
    only_model: str | None = Field(
        None,
        min_length=1,
        description="Train on rows whose answers a model of this name wrote, of a pair both; unset: on all. What is "
        "held out is not changed.",
    )
    most_rows: Annotated[NaturalCount | None, Unit("rows")] = Field(
        None,
        description="Train on at most this many pairs or rows: those of the first prompts in an order that `seed` "
        "draws, so that fewer are a part of more; unset: all.",
    )
    batch_rows: Annotated[NaturalCount, Unit("rows")] = Field(
        16, description="Pairs or rows an optimiser step; of methods on prompts, prompts a step of rollouts."
    )
    micro_batch_rows: Annotated[NaturalCount, Unit("rows")] = Field(4, description="Most pairs or rows a forward pass.")
    micro_batch_tokens: Annotated[NaturalCount | None, Unit("tokens")] = Field(
        None,
        description="Most tokens that a forward pass computes with a gradient: padded places count, a shared prompt "
        "counts once, a KTO row's mismatched partner does not. Both limits hold, so raise micro_batch_rows with it; a "
        "row above it is passed alone.",
    )
    stratify: Literal["label", "none"] = Field(
        "label",
        description="`label`: each step holds desirable and undesirable rows in the data's ratio, to within one row; "
        "of no effect on pairs. `none`: a plain shuffle.",
    )
    warmup_fraction: Annotated[Fraction, Unit("share of steps")] = Field(
        0.1, description="Share of the steps over which the learning rate rises."
    )
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="Decay after the warm-up.")
    weight_decay: Annotated[float, Unit("factor")] = Field(0.0, ge=0.0, description="Decoupled weight decay.")
    max_grad_norm: Annotated[Positive, Unit("norm")] = Field(1.0, description="Gradients are clipped to this norm.")
    dtype: Settled[Literal["bfloat16", "float32"]] = Field(
        "bfloat16",
        description="Autocast type of the forward pass; it changes no weight. `auto`: bfloat16, but float32 on a "
        "CPU that multiplies that faster.",
    )
    layout: Literal["auto", "padded", "packed", "shared"] = Field(
        "auto",
        description="How the sequences of a forward pass lie: `padded` to one length; `packed` in one row; `shared`: "
        "packed, and equal prompts computed once. `auto`: the last of these that a probe finds to give what padding "
        "gives.",
    )
    gradient_checkpointing: bool = Field(False, description="Recompute activations in the backward pass.")
    seed: Seed = Field(0, description="Order of the rows.")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, or `cuda:N`.")
    distributed: Literal["auto", "none", "ddp", "fsdp"] = Field(
        "auto",
        description="Where torchrun starts several processes: `ddp` holds the model in each, `fsdp` shares out its "
        "weights, gradients and optimiser state; `auto`: ddp for adapters, fsdp for all weights. `none`: one trains.",
    )
    validate_every: Annotated[NaturalCount, Unit("steps")] = Field(
        10, description="Optimiser steps, or steps of rollouts, between validation points."
    )
    validation_rows: Annotated[int, Unit("rows")] = Field(
        64,
        ge=0,
        description="Rows scored at a validation point; 0 for none. Of methods on prompts, prompts that get an answer.",
    )
    parity_rows: Annotated[NaturalCount, Unit("sequences")] = Field(
        32, description="Sequences that the parity gate compares before training."
    )
    parity_floor: Annotated[Positive, Unit("nats a root of tokens")] = Field(
        0.1,
        description="Nats a square root of completion tokens (rounding adds up as a random walk): a mean difference a "
        "sequence below this always passes the gate. SmolLM2-135M in bfloat16 has 0.05.",
    )
    parity_multiple: Annotated[Positive, Unit("factor")] = Field(
        4.0, description="Above the floor, the mean difference may be this multiple of the training engine's own noise."
    )

    @model_validator(mode="after")
    def _fit_the_weights(self) -> Self:
        if self.adapter == "none" and (self.save == "adapter" or self.lora != LoraSettings()):
            raise ValueError("save: adapter and lora are read with adapter: lora or dora, which is none")
        if self.weights != "float32" and self.dtype == "float32":
            raise ValueError(
                f"weights: {self.weights} are multiplied in bfloat16; set dtype: bfloat16, or weights: float32"
            )
        if self.rounding != "stochastic" and (self.weights == "float32" or self.adapter != "none"):
            raise ValueError(
                "rounding is read where bfloat16 weights are trained: set weights: bfloat16 and adapter: none"
            )
        if self.weights == "nf4":
            self._keep_four_bits()
        return self

    def _keep_four_bits(self) -> None:
        if self.adapter == "none":
            raise ValueError("weights: nf4 cannot be trained themselves; set adapter: lora or dora")
        if self.save == "merged":
            raise ValueError(
                "weights: nf4 with save: merged: merged into 4-bit weights the adapter is rounded with them, merged "
                "into the unquantised ones it stands on other weights than it was trained on; set save: adapter"
            )

    @model_validator(mode="after")
    def _train_a_policy(self) -> Self:
        taken = [name for name in self.methods if name in ("reward_bce", "reward_bt")]
        if taken:
            raise ValueError(
                f"method: {taken[0]} trains a thumbs model, which judges answers and writes none; set thumbs.method to "
                f"it, and run with --until thumbs where nothing else is wanted"
            )
        return self

    @model_validator(mode="after")
    def _judged_by_validation_rows(self) -> Self:
        if self.validation_rows == 0 and (self.keep == "best" or self.patience is not None):
            raise ValueError("keep: best and patience are judged by validation rows; set validation_rows above 0")
        return self

    @property
    def clips_ratios(self) -> bool:
        """Whether log-ratios of single tokens are clipped."""
        return self.ratio_floor is not None or self.ratio_ceiling is not None

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of all methods that are trained on."""
        return (self.method, *(term.method for term in self.also))
