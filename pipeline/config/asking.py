"""Settings of what asks the model itself: the thumbs model, sampled answers, and who judges them."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from ..hiding import without_secrets
from .base import NaturalCount, Positive, Seed, StageConfig, Unit
from .places import FunctionName, ModelName

# How options end that would hold a secret; `max_tokens` and `key_from` do not.
_SECRETS: Final = (
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "authorization",
    "credential",
    "credentials",
    "cookie",
)
# Wherever they stand in a key: `x-api-key-value`, `proxyAuth`, `auth_header`, `bearerValue`; `author` holds none.
_ODD_SECRETS: Final = re.compile(
    r"auth(?!or)|authori[sz]|bearer|secret|passw|credential|cookie|api[_\-]?key|access[_\-]?key|access[_\-]?token",
    re.IGNORECASE,
)
# What a header says of who asks, whatever its key is called.
_SAYS_WHO: Final = re.compile(r"\s*(?:bearer|basic|digest|token)\s+\S", re.IGNORECASE)
# An address that says who asks: before its host, or as a parameter of its own.
_WITH_CREDENTIALS: Final = re.compile(r"://[^/\s]*@|[?&][^=&\s]*(?:key|token|secret|sig|pass)[^=&\s]*=", re.IGNORECASE)


class ThumbsConfig(StageConfig):
    """The thumbs model: a reward model of the run's own votes, trained on its training split."""

    method: Literal["none", "reward_bce", "reward_bt", "both"] = Field(
        "none",
        description="`reward_bce` learns thumbs from unpaired rows, `reward_bt` which of two answers is better "
        "(Bradley-Terry) from pairs, `both` adds the two losses; `none` makes no thumbs model.",
    )
    model: ModelName | None = Field(
        None,
        description="Folder of a thumbs model that is there already, relative to the run file: it is calibrated and "
        "judged, not trained.",
    )
    calibration: Literal["platt", "isotonic"] = Field(
        "platt", description="What makes a thumbs-up rate of a score, fitted on the validation split."
    )
    layers: Annotated[NaturalCount, Unit("layers")] | None = Field(
        None,
        description="Build it on this many of the untrained model's layers, the first ones, which saves time in "
        "training and wherever it judges; unset: all.",
    )
    learning_rate: Annotated[Positive, Unit("factor")] = Field(
        2e-5, allow_inf_nan=False, description="Peak of the optimiser's learning rate."
    )
    epochs: Annotated[Positive, Unit("epochs")] = Field(
        1.0, allow_inf_nan=False, description="Passes over the training rows; may be a fraction."
    )
    batch_rows: Annotated[NaturalCount, Unit("rows")] = Field(16, description="Rows, or pairs, an optimiser step.")
    micro_batch_rows: Annotated[NaturalCount, Unit("rows")] = Field(8, description="Most rows or pairs a forward pass.")
    seed: Seed = Field(0, description="Order of the rows, and the head's first weights.")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="Type of matrix products. `auto` is bfloat16, but float32 on a CPU that has none of bfloat16 and "
        "takes fifty times as long for one.",
    )
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, or `cuda:N`.")

    @property
    def is_on(self) -> bool:
        """Whether there is a thumbs model."""
        return self.method != "none" or self.model is not None


class GenerationsConfig(StageConfig):
    """Answers sampled to held-out prompts, by the untrained and the trained model."""

    samples: Annotated[int, Unit("answers")] = Field(0, ge=0, description="Answers a prompt and model; 0 samples none.")
    prompts: Annotated[NaturalCount, Unit("prompts")] = Field(
        200, description="Most prompts; of more, those drawn by `seed`. The held-out ones of `metrics.split`."
    )
    max_new_tokens: Annotated[NaturalCount, Unit("tokens")] = Field(
        256, description="An answer is cut after this many tokens."
    )
    temperature: Annotated[float, Unit("factor")] = Field(
        1.0, ge=0.0, allow_inf_nan=False, description="0 takes the likeliest token."
    )
    top_p: Annotated[float, Field(gt=0.0, le=1.0), Unit("probability")] = Field(
        1.0, description="Likeliest tokens of this mass together."
    )
    top_k: Annotated[int, Unit("tokens")] = Field(0, ge=0, description="Only this many likeliest tokens; 0: all.")
    seed: Seed = Field(0, description="Draws prompts and tokens.")
    engine: Literal["auto", "vllm", "hf"] = Field("auto", description="`auto` is vLLM where it is installed, else HF.")
    batch_prompts: Annotated[NaturalCount, Unit("prompts")] = Field(
        16, description="Prompts whose answers are sampled together: what a killed run loses at most."
    )
    models: dict[str, ModelName] = Field(
        {}, description="Further models by the name they get: hub ids or folders, sampled on the same prompts."
    )

    @model_validator(mode="after")
    def _keep_names_apart(self) -> Self:
        taken = sorted({"untrained", "trained"} & self.models.keys())
        if taken:
            raise ValueError(f"models: {', '.join(taken)} is the run's own; give yours another name")
        return self

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.temperature == 0.0 and self.samples > 1:
            raise ValueError("temperature: 0 writes the same answer each time; set samples: 1")
        return self

    @property
    def is_on(self) -> bool:
        """Whether answers are sampled."""
        return self.samples > 0


class JudgeConfig(StageConfig):
    """Who judges sampled answers. The first of `judges` decides the verdict."""

    judge: FunctionName = Field(
        min_length=1,
        description="A name of `thumbline judges`; or a function of your own, as `package.module:function` or "
        "`path/to/file.py:function` from the run file.",
    )
    name: str | None = Field(
        None, min_length=1, description="What it is called in tables; unset: `judge`, of a function its own name."
    )
    options: dict[str, Any] = Field({}, description="The judge's own settings, as `thumbline judges` lists them.")

    @model_validator(mode="after")
    def _keep_secrets_out(self) -> Self:
        # What stands here is written to the run's folder; so is this message, and no value is in it.
        for key, value in _leaves(self.options):
            if not isinstance(value, str):
                continue
            named = key.lower().endswith(_SECRETS) or _ODD_SECRETS.search(key) is not None
            said = _SAYS_WHO.match(value) or _WITH_CREDENTIALS.search(value) or without_secrets(value) != value
            if value and (named or said):
                raise ValueError(
                    f"options: {key} seems to hold a secret, which must not stand in a run file: put it into a "
                    "variable of the environment, and that variable's name into key_from"
                )
        return self

    @property
    def called(self) -> str:
        """Its name in tables."""
        return self.name or self.judge.rpartition(":")[2]


def _leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Keys and values of nested mappings and lists."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _leaves(entry, str(name))
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _leaves(entry, key)
    else:
        yield key, value
