"""What a run can be told: one frozen pydantic model a stage, checked before any work starts."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigError, unknown_name

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NaturalCount = Annotated[int, Field(ge=1)]


class StageConfig(BaseModel):
    """Shared manners: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EventsConfig(StageConfig):
    """Where the raw logs are and how to read them."""

    inputs: tuple[str, ...] = Field(
        min_length=1, description="Files, folders, globs, or one `hub:ID` data set; relative to the run file."
    )
    format: str = Field("auto", description="A name of `thumbline formats`, or `auto` to detect it per file.")
    options: dict[str, str] = Field(
        {}, description="Importer options, for example a column mapping or a hub data set's `split`."
    )
    user_key: str = Field(
        "thumbline",
        min_length=1,
        description="Key of the hash (BLAKE2b) that pseudonymises user ids; keep your own one secret.",
    )
    max_line_bytes: NaturalCount = Field(16 * 1024 * 1024, description="Bytes; a longer line is rejected.")
    workers: NaturalCount | None = Field(
        None, description="Processes that read; None: one a core. The tables are the same."
    )
    unit_bytes: NaturalCount = Field(
        64 * 1024 * 1024, description="Bytes of a file that one worker reads at a time; what it holds grows with it."
    )
    partition_bytes: NaturalCount = Field(
        48 * 1024 * 1024, description="Bytes of input that are sorted at a time; what sorting holds grows with it."
    )


class ResponsesConfig(StageConfig):
    """How votes become a label."""

    prior_up: Positive = Field(1.0, description="Beta prior: thumbs-up seen before the first vote.")
    prior_down: Positive = Field(1.0, description="Beta prior: thumbs-down seen before the first vote.")
    min_confidence: float = Field(
        0.5,
        ge=0.5,
        lt=1.0,
        description="Label only where the posterior probability of the label is above this; else abstain.",
    )
    interval: float = Field(0.9, gt=0.0, lt=1.0, description="Mass of the credible interval stored beside it.")
    half_life_days: Positive | None = Field(
        None, description="Days after which a vote counts half, against the log's newest event; None: age is ignored."
    )
    reliability: Literal["none", "one_label", "dawid_skene"] = Field(
        "none",
        description="What a rater's votes weigh: 1; less for raters of one label only; or the estimated difference of "
        "the rates of up votes on good and on bad answers.",
    )
    one_label_votes: NaturalCount = Field(10, description="Votes from which a rater of one label only is told as one.")
    one_label_weight: Fraction = Field(0.0, description="Weight of such a rater's votes under `one_label`.")
    reliability_prior: Positive = Field(
        4.0, description="Under `dawid_skene`: votes that the pooled rates count for in each rater's own rates."
    )
    exposure: Literal["none", "propensity", "position"] = Field(
        "none",
        description="Weigh rows by the inverse of the logged chance to be shown, or of the estimated chance to be "
        "rated at the logged position.",
    )
    exposure_clip: float = Field(10.0, ge=1.0, description="Largest weight of an event by its exposure.")
    min_prompt_chars: int = Field(0, ge=0, description="Characters of all the prompt's messages; fewer: dropped.")
    max_prompt_chars: NaturalCount | None = Field(None, description="Characters of the prompt; more: dropped.")
    min_completion_chars: int = Field(0, ge=0, description="Characters of the completion; fewer: dropped.")
    max_completion_chars: NaturalCount | None = Field(None, description="Characters of the completion; more: dropped.")
    languages: tuple[str, ...] = Field(
        (), description="ISO 639-1 codes of completions to keep; none: all. Needs the extra `screening`."
    )
    language_confidence: Fraction = Field(
        0.9, description="Drop a completion as another language only where the identifier is at least this sure."
    )
    screen_secrets: bool = Field(
        False, description="Drop rows whose text holds a key, token or password. Needs the extra `screening`."
    )
    screen_personal_data: bool = Field(
        False,
        description="Drop rows whose text holds an e-mail address, phone, card or bank account number. Needs the extra "
        "`screening`.",
    )


class UnpairedConfig(StageConfig):
    """Which responses become KTO rows, and with which weight."""

    weight_by_confidence: bool = Field(
        False, description="Weight a row by 2 P(label is right) - 1 instead of 1, so that doubtful rows count less."
    )
    weight_by_exposure: bool = Field(
        False, description="Multiply by the exposure weight that `responses.exposure` made, in [1, exposure_clip]."
    )
    weight_by_recency: bool = Field(
        False,
        description="Multiply by the recency of the newest vote, in (0, 1], by `responses.half_life_days`. Confidence "
        "falls with age too: both together count age twice.",
    )
    min_weight: float = Field(0.0, ge=0.0, description="A product of weights below this is raised to it.")
    max_weight: Positive = Field(10.0, description="A product of weights above this is cut to it.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min_weight > self.max_weight:
            raise ValueError(f"min_weight {self.min_weight:g} is above max_weight {self.max_weight:g}")
        return self


class PairsConfig(StageConfig):
    """How responses to one prompt become DPO/ORPO pairs."""

    votes: bool = Field(True, description="Make pairs of answers by their votes.")
    strategy: Literal["best_worst", "all_above_margin"] = Field(
        "best_worst",
        description="One vote pair a prompt (highest and lowest posterior mean), or every pair above the margin.",
    )
    min_margin: Fraction = Field(0.1, description="Smallest difference of the two posterior means.")
    opposite_labels: bool = Field(True, description="Chosen must be desirable and rejected undesirable.")
    max_per_prompt: NaturalCount = Field(4, description="At most this many vote pairs a prompt, largest margin first.")
    weights: Literal["none", "margin", "confidence"] = Field(
        "none",
        description="A pair's weight in the loss: 1; its margin; or 2 P(chosen is better) - 1; in column `weight`.",
    )
    same_model: bool = Field(False, description="Only pair two responses of the same model.")
    model: str | None = Field(
        None, description="Only pair responses of this model, for data of the policy itself; None: of any."
    )
    comparisons: bool = Field(True, description="Also take explicit comparisons as pairs.")
    comparison_kinds: tuple[Literal["preference", "arena", "ranking", "edit", "regenerate"], ...] = Field(
        ("preference", "arena", "ranking", "edit", "regenerate"), description="Which comparisons: what stands behind."
    )
    comparison_prior: Positive = Field(
        1.0, description="Beta prior of a comparison: wins of each side seen before the first."
    )
    max_similarity: Fraction = Field(
        0.95,
        description="Skip a pair whose texts are more alike than this: 1 - edits / characters, by insertions and "
        "deletions. 1: only texts equal up to case and punctuation are skipped, as edits always are.",
    )
    group_prompts: Literal["none", "normalised", "near_duplicate"] = Field(
        "none",
        description="Pair answers across prompts equal up to case and punctuation, or nearly the same by MinHash "
        "(needs the extra `neardup`).",
    )
    group_similarity: float = Field(
        0.8,
        gt=0.0,
        lt=1.0,
        description="Jaccard similarity of character 5-grams from which prompts are near-duplicates.",
    )


class SplitsConfig(StageConfig):
    """Which prompt groups train and which are held out."""

    validation: Fraction = Field(0.1, description="Share of groups used for curves during training.")
    test: Fraction = Field(0.2, description="Share of groups that only the evaluation sees.")
    method: Literal["hash", "time"] = Field(
        "hash",
        description="Place a group by a hash of its name, or by the time of its last event: the newest are the test.",
    )
    group_by: Literal["prompt", "prompt_and_conversation", "prompt_conversation_and_user"] = Field(
        "prompt_and_conversation",
        description="What must not cross splits: prompts equal after normalisation; conversations; users.",
    )
    near_duplicates: bool = Field(
        False, description="Keep near-duplicate prompts together and audit near leaks. Needs the extra `neardup`."
    )
    near_similarity: float = Field(
        0.8, gt=0.0, lt=1.0, description="Jaccard similarity of character 5-grams from which texts are near-duplicates."
    )
    evaluation_sets: dict[str, str] = Field(
        {}, description="Name to file (.parquet or .jsonl with a `prompt`): the audit counts what overlaps with them."
    )
    salt: str = Field("thumbline", description="Changes which group lands where.")

    @model_validator(mode="after")
    def _leave_rows_to_train(self) -> Self:
        if self.validation + self.test >= 1.0:
            raise ValueError(f"validation + test is {self.validation + self.test:g}: nothing is left to train on")
        return self


class SequencesConfig(StageConfig):
    """How text becomes token ids."""

    template: Literal["chat", "plain"] = Field(
        "chat", description="`chat` writes the tokenizer's chat template; `plain` joins prompt and completion as text."
    )
    template_options: dict[str, Any] = Field(
        {}, description="Variables that the chat template reads, such as `enable_thinking` or `date_string`."
    )
    max_tokens: int = Field(1024, ge=2, description="Tokens of prompt and completion together.")
    truncation: Literal["drop", "keep_end", "keep_start"] = Field(
        "drop",
        description="A row too long: drop it, keep its prompt's end (keep_end) or its completion's start (keep_start).",
    )
    scope: Literal["method", "all"] = Field(
        "method",
        description="Training rows that get sequences: those of the method's kind (pairs or unpaired), or both kinds. "
        "Held-out rows of both kinds always do.",
    )
    mismatched: bool | None = Field(
        None, description="Make rows with another prompt's completion. None: only where the method takes them (KTO)."
    )
    seed: int = Field(0, description="Draws the mismatched rows.")


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
    dtype: Literal["bfloat16", "float32", "float16"] = Field("bfloat16", description="Weights and activations.")
    head_dtype: Literal["model", "float32"] = Field(
        "model", description="vLLM: type of the head's products; float32 costs time and takes the head's rounding away."
    )
    prefix_caching: bool = Field(True, description="vLLM: share a prompt between its completions.")
    max_num_batched_tokens: int = Field(2048, ge=64, description="vLLM: tokens a step.")
    max_num_seqs: NaturalCount = Field(64, description="vLLM: sequences in flight.")
    gpu_memory_utilization: float = Field(0.85, gt=0.0, le=1.0, description="vLLM: share of a GPU's memory.")
    cpu_kv_cache_gib: NaturalCount = Field(2, description="vLLM on CPU: memory for the key-value cache, GiB.")
    tensor_parallel_size: NaturalCount = Field(1, description="vLLM: GPUs that share one model.")
    batch_tokens: int = Field(4096, ge=1, description="HF: padded tokens a batch.")
    routes: tuple[Literal["native", "adapter", "prompt_logprobs", "transformers"], ...] = Field(
        ("native", "adapter", "prompt_logprobs", "transformers"),
        min_length=1,
        description="vLLM: ways to the same numbers, tried in this order until one agrees with an independent one: "
        "vLLM's own scoring of given tokens (GPU), the pooling adapter, prompt log-probs, and transformers.",
    )
    token_logps: bool = Field(False, description="Also keep the log-prob of each completion token, float32.")
    adapter: str | None = Field(
        None, description="A LoRA adapter on the model: folder or hub id. The reference is the model with it."
    )
    quantization: str | None = Field(None, description="vLLM: quantise the weights by this method, such as fp8.")
    engine_args: dict[str, Any] = Field({}, description="vLLM: further arguments of its engine, by vLLM's own names.")

    @model_validator(mode="after")
    def _keep_to_the_engine(self) -> Self:
        if self.engine == "hf" and (self.engine_args or self.quantization is not None):
            raise ValueError("engine_args and quantization are vLLM's; engine is hf, which would not read them")
        taken = sorted(self.engine_args.keys() & _OWN_ENGINE_ARGS)
        if taken:
            raise ValueError(f"engine_args sets {', '.join(taken)}, which has a key of its own or is set by the engine")
        return self


class ReferenceConfig(EngineConfig):
    """How the reference model's log-probs are computed and where they are kept."""

    store: str = Field(
        "store",
        description="Folder of stored log-probs, relative to the run's parent, or an address (s3://bucket/store): "
        "several runs and machines share it.",
    )
    shard_rows: NaturalCount = Field(512, description="Sequences a shard: what a killed run can lose at most.")


class LossTerm(StageConfig):
    """One more method whose losses are added to those of `train.method`, on the same rows."""

    method: str = Field(description="A name of `thumbline losses`; it takes the same kind of rows.")
    weight: float = Field(1.0, description="Factor on its losses.", allow_inf_nan=False)
    loss: dict[str, Any] = Field({}, description="Its own hyper-parameters.")


class TrainConfig(StageConfig):
    """Which method trains the policy, and how."""

    method: str = Field("dpo", description="A name of `thumbline losses`.")
    loss: dict[str, Any] = Field({}, description="The method's own hyper-parameters, for example `beta`.")
    also: tuple[LossTerm, ...] = Field((), description="Further methods: a weighted sum of losses is trained on.")
    weighting: Literal["none", "wpo"] = Field(
        "none", description="`wpo` weighs a pair by how likely the policy is to write both of its answers (WPO)."
    )
    ld_alpha: Fraction = Field(
        1.0,
        description="Weight of tokens beyond the length of a pair's shorter answer (LD-DPO); 1: all count alike. Below "
        "1, methods with a reference need reference.token_logps.",
    )
    learning_rate: Positive = Field(1e-5, description="Peak of AdamW's learning rate.")
    epochs: Positive = Field(1.0, description="Passes over the training rows; may be a fraction.")
    max_steps: NaturalCount | None = Field(None, description="Stop after this many optimiser steps.")
    batch_rows: NaturalCount = Field(16, description="Pairs or rows an optimiser step.")
    micro_batch_rows: NaturalCount = Field(4, description="Pairs or rows a forward pass.")
    warmup_fraction: Fraction = Field(0.1, description="Share of the steps over which the learning rate rises.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="Decay after the warm-up.")
    weight_decay: float = Field(0.0, ge=0.0, description="AdamW's decoupled weight decay.")
    max_grad_norm: Positive = Field(1.0, description="Gradients are clipped to this norm.")
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="Autocast type of the forward pass; weights and optimiser stay float32."
    )
    gradient_checkpointing: bool = Field(False, description="Recompute activations in the backward pass.")
    seed: int = Field(0, description="Order of the rows.")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, or `cuda:N`.")
    validate_every: NaturalCount = Field(10, description="Optimiser steps between validation points.")
    validation_rows: int = Field(64, ge=0, description="Rows scored at a validation point; 0 for none.")
    checkpoint_every: NaturalCount = Field(20, description="Optimiser steps between checkpoints.")
    parity_rows: NaturalCount = Field(32, description="Sequences that the parity gate compares before training.")
    parity_floor: Positive = Field(
        0.1,
        description="Nats a square root of completion tokens (rounding adds up as a random walk): a mean difference a "
        "sequence below this always passes the gate. SmolLM2-135M in bfloat16 has 0.05.",
    )
    parity_multiple: Positive = Field(
        4.0, description="Above the floor, the mean difference may be this multiple of the training engine's own noise."
    )

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of all methods that are trained on."""
        return (self.method, *(term.method for term in self.also))


class PolicyConfig(StageConfig):
    """How the trained model is scored: like the reference, so that differences are the training's."""


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

    bootstrap_draws: int = Field(1000, ge=100, description="Resamples of prompt groups an interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="Mass of an interval.")
    seed: int = Field(0, description="Draws the resamples.")
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


class RunConfig(StageConfig):
    """A whole run, from logs to report."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the run's folder.")
    runs: str = Field("runs", description="Folder of all runs, relative to the working folder.")
    model: str = Field(
        min_length=1, description="A hub id, a local folder, or `demo` for the embedded SmolLM2-135M-Instruct."
    )
    revision: str | None = Field(None, description="A hub model's branch, tag or commit.")
    events: EventsConfig
    responses: ResponsesConfig = ResponsesConfig()
    unpaired: UnpairedConfig = UnpairedConfig()
    pairs: PairsConfig = PairsConfig()
    splits: SplitsConfig = SplitsConfig()
    sequences: SequencesConfig = SequencesConfig()
    reference: ReferenceConfig = ReferenceConfig()
    train: TrainConfig = TrainConfig()
    policy: PolicyConfig = PolicyConfig()
    metrics: MetricsConfig = MetricsConfig()
    report: ReportConfig = ReportConfig()

    @property
    def run_dir(self) -> Path:
        """The folder that holds this run's stages."""
        return Path(self.runs) / self.name

    @property
    def store(self) -> str:
        """Folder or address of stored log-probs."""
        return self.reference.store if "://" in self.reference.store else str(Path(self.runs) / self.reference.store)


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The run that the YAML file at `path` describes, with `key.sub=value` overrides applied.

    Input paths are read relative to the YAML file; the `runs` folder relative to the working folder.

    Raises:
        ConfigError: The file is missing or no YAML mapping, a key is unknown, or a value is out of range.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such run file.")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a run file is a mapping of keys; this one is a {type(document).__name__}.")
    document.setdefault("name", path.stem)
    for setting in overrides:
        override(document, setting)
    config = build_config(document, origin=str(path))
    names, files = list(config.splits.evaluation_sets), tuple(config.splits.evaluation_sets.values())
    sets = dict(zip(names, _resolve(files, path.parent), strict=True))
    return config.model_copy(
        update={
            "events": config.events.model_copy(update={"inputs": _resolve(config.events.inputs, path.parent)}),
            "splits": config.splits.model_copy(update={"evaluation_sets": sets}),
        }
    )


def build_config(document: dict[str, Any], *, origin: str) -> RunConfig:
    """The run that `document` describes.

    Raises:
        ConfigError: A key is unknown or a value out of range; the message lists each with its place.
    """
    try:
        return RunConfig.model_validate(document)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError(f"{origin}: {len(lines)} setting(s) do not hold:\n  " + "\n  ".join(lines)) from error


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the whole file"
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(problem["loc"][:-1])
        return f"{place}: {unknown_name('key', str(problem['loc'][-1]), fields)}"
    return f"{place}: {problem['msg']}"


def _fields_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = RunConfig
    for part in location:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def override(document: dict[str, Any], setting: str) -> None:
    """Apply one `key.sub=value` to a run's document, in place.

    Raises:
        ConfigError: It has no such form, or the key leads through a value.
    """
    key, separator, value = setting.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(f"--set {setting}: write it as key=value, for example --set train.method=kto.")
    target = document
    for part in parts[:-1]:
        child = target.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {setting}: '{part}' is a value, not a section.")
        target = child
    try:
        target[parts[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: the value is not readable as YAML.") from error


def _resolve(inputs: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    return tuple(entry if _is_address(entry) else str(folder / entry) for entry in inputs)


def _is_address(entry: str) -> bool:
    return entry.startswith("hub:") or "://" in entry or Path(entry).is_absolute()
