"""Settings of token ids and of the engines that score them."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from .base import NaturalCount, Seed, StageConfig, Unit
from .machine import Settled
from .places import ModelName, StorePlace


class SequencesConfig(StageConfig):
    """How text becomes token ids."""

    template: Literal["chat", "plain"] = Field(
        "chat", description="`chat` writes the tokenizer's chat template; `plain` joins prompt and completion as text."
    )
    template_options: dict[str, Any] = Field(
        {}, description="Variables that the chat template reads, such as `enable_thinking` or `date_string`."
    )
    system: Literal["template", "first_user"] = Field(
        "template",
        description="`template` gives system turns to the chat template; `first_user` puts their text before the "
        "user's, for templates that take no system turn (Gemma).",
    )
    max_tokens: Annotated[int, Unit("tokens")] = Field(
        1024, ge=2, description="Tokens of prompt and completion together."
    )
    truncation: Literal["drop", "keep_end", "keep_start"] = Field(
        "drop",
        description="A row too long: drop it, keep its prompt's end (keep_end) or its completion's start (keep_start).",
    )
    scope: Literal["method", "all"] = Field(
        "method",
        description="Training rows that get sequences: those of the method's kind (pairs or unpaired), or both kinds. "
        "Held-out rows of both kinds always do.",
    )
    think: Literal["keep", "mask"] = Field(
        "keep",
        description="Thoughts that an answer begins with: `keep` scores and trains on them like the rest; `mask` gives "
        "them to the model and scores what follows alone.",
    )
    think_marks: tuple[str, ...] = Field(
        ("<think>", "</think>"),
        min_length=2,
        max_length=2,
        description="What a thought begins with, and what it ends with.",
    )
    mismatched: bool | None = Field(
        None, description="Make rows with another prompt's completion. Unset: only where the method takes them (KTO)."
    )
    seed: Seed = Field(0, description="Draws the mismatched rows.")

    @model_validator(mode="after")
    def _tell_ends_of_thoughts_apart(self) -> Self:
        opens, closes = self.think_marks
        if not opens.strip() or not closes.strip() or opens == closes:
            raise ValueError("think_marks: give two texts that differ, such as ['<think>', '</think>']")
        return self


# Arguments of vLLM's engine that the settings or the scorer itself decide.
_OWN_ENGINE_ARGS: Final = frozenset(
    {
        "model",
        "tokenizer",
        "skip_tokenizer_init",
        "runner",
        "pooler_config",
        "hf_overrides",
        "dtype",
        "quantization",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "gpu_memory_utilization",
        "tensor_parallel_size",
        "enable_prefix_caching",
        "enable_lora",
        "max_loras",
        "max_lora_rank",
    }
)


class EngineConfig(StageConfig):
    """Where log-probs are computed."""

    engine: Literal["auto", "vllm", "hf"] = Field("auto", description="`auto` is vLLM where it is installed, else HF.")
    dtype: Settled[Literal["bfloat16", "float32", "float16"]] = Field(
        "bfloat16",
        description="Weights and activations. `auto`: bfloat16, but float32 on a CPU that multiplies that faster.",
    )
    head_dtype: Literal["model", "float32"] = Field(
        "model", description="vLLM: type of the head's products; float32 costs time and takes the head's rounding away."
    )
    prefix_caching: bool = Field(True, description="vLLM: share a prompt between its completions.")
    max_num_batched_tokens: Annotated[int, Unit("tokens")] = Field(2048, ge=64, description="vLLM: tokens a step.")
    max_num_seqs: Annotated[NaturalCount, Unit("sequences")] = Field(64, description="vLLM: sequences in flight.")
    gpu_memory_utilization: Annotated[float, Unit("share of memory")] = Field(
        0.85, gt=0.0, le=1.0, description="vLLM: share of a GPU's memory."
    )
    cpu_kv_cache_gib: Annotated[NaturalCount, Unit("GiB")] = Field(
        2, description="vLLM on CPU: memory for the key-value cache, GiB."
    )
    tensor_parallel_size: Annotated[NaturalCount, Unit("GPUs")] = Field(
        1, description="vLLM: GPUs that share one model."
    )
    batch_tokens: Annotated[int, Unit("tokens")] = Field(4096, ge=1, description="HF: padded tokens a batch.")
    routes: tuple[Literal["native", "adapter", "prompt_logprobs", "transformers"], ...] = Field(
        ("native", "adapter", "prompt_logprobs", "transformers"),
        min_length=1,
        description="vLLM: ways to the same numbers, tried in this order until one agrees with an independent one: "
        "vLLM's own scoring of given tokens (GPU), the pooling adapter, prompt log-probs, and transformers.",
    )
    token_logps: bool = Field(False, description="Also keep the log-prob of each completion token, float32.")
    adapter: ModelName | None = Field(
        None, description="A LoRA adapter on the model: folder or hub id. The reference is the model with it."
    )
    quantization: str | None = Field(
        None,
        description="Quantise the weights: vLLM by a method of its own, such as fp8; HF to 4 bits (nf4, bitsandbytes).",
    )
    engine_args: dict[str, Any] = Field({}, description="vLLM: further arguments of its engine, by vLLM's own names.")

    @model_validator(mode="after")
    def _keep_to_the_engine(self) -> Self:
        if self.engine == "hf" and (self.engine_args or self.quantization not in (None, "nf4")):
            raise ValueError(
                "engine_args and quantization are vLLM's but for nf4; engine is hf, which would not read them"
            )
        if self.engine != "hf" and self.quantization == "nf4":
            raise ValueError("quantization: nf4 is that of transformers and bitsandbytes; set engine: hf")
        if self.quantization == "nf4" and self.dtype != "bfloat16":
            raise ValueError("quantization: nf4 multiplies in bfloat16; set dtype: bfloat16")
        taken = sorted(self.engine_args.keys() & _OWN_ENGINE_ARGS)
        if taken:
            raise ValueError(f"engine_args sets {', '.join(taken)}, which has a key of its own or is set by the engine")
        return self


class ReferenceConfig(EngineConfig):
    """How the reference model's log-probs are computed and where they are kept."""

    store: StorePlace = Field(
        "store",
        description="Folder of stored log-probs, relative to the run file, or an address (s3://bucket/store): several "
        "runs and machines share it. Where nothing is said, `store` beside the runs.",
    )
    shard_rows: Annotated[NaturalCount, Unit("sequences")] = Field(
        512, description="Sequences a shard: what a killed run can lose at most."
    )
