"""Settings of the stages from logs to splits."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..hiding import PUBLIC_USER_KEY
from .base import Fraction, NaturalCount, OptionText, Positive, StageConfig, Unit
from .places import FilePath, FilePattern


class EventsConfig(StageConfig):
    """Where the raw logs are and how to read them."""

    inputs: tuple[FilePattern, ...] = Field(
        min_length=1, description="Files, folders, globs, or one `hub:ID` data set; relative to the run file."
    )
    format: str = Field("auto", description="A name of `thumbline formats`, or `auto` to detect it per file.")
    options: dict[str, OptionText] = Field(
        {},
        description="Importer options, for example a column mapping, a hub data set's `split` or a file's `encoding`.",
    )
    added: tuple[FilePath, ...] = Field(
        (),
        description="Further logs, each told by its own fields whatever `format` and `options` say of `inputs`: what "
        "`thumbline next-round` adds.",
    )
    user_key: str = Field(
        PUBLIC_USER_KEY,
        min_length=1,
        description="Key of the hash (BLAKE2b) that pseudonymises user ids; keep your own one secret.",
    )
    most_rejected: Annotated[Fraction, Unit("share of rows")] = Field(
        0.5,
        description="Stop after this stage where more than this share of the rows, or a whole file, is rejected; 1: go "
        "on whatever is rejected, as long as an event is left.",
    )
    max_line_bytes: Annotated[NaturalCount, Unit("bytes")] = Field(
        16 * 1024 * 1024, description="Bytes; a longer line is rejected."
    )
    workers: Annotated[NaturalCount | None, Unit("processes")] = Field(
        None, description="Processes that read; unset: one a core. The tables are the same."
    )
    unit_bytes: Annotated[NaturalCount, Unit("bytes")] = Field(
        64 * 1024 * 1024, description="Bytes of a file that one worker reads at a time; what it holds grows with it."
    )
    partition_bytes: Annotated[NaturalCount, Unit("bytes")] = Field(
        48 * 1024 * 1024, description="Bytes of input that are sorted at a time; what sorting holds grows with it."
    )


class ResponsesConfig(StageConfig):
    """How votes become a label."""

    prior_up: Annotated[Positive, Unit("votes")] = Field(
        1.0, description="Beta prior: thumbs-up seen before the first vote."
    )
    prior_down: Annotated[Positive, Unit("votes")] = Field(
        1.0, description="Beta prior: thumbs-down seen before the first vote."
    )
    min_confidence: Annotated[float, Unit("probability")] = Field(
        0.5,
        ge=0.5,
        lt=1.0,
        description="Label only where the posterior probability of the label is above this; else abstain.",
    )
    interval: Annotated[float, Unit("probability")] = Field(
        0.9, gt=0.0, lt=1.0, description="Mass of the credible interval stored beside it."
    )
    half_life_days: Annotated[Positive | None, Unit("days")] = Field(
        None, description="Days after which a vote counts half, against the log's newest event; unset: age is ignored."
    )
    reliability: Literal["none", "one_label", "dawid_skene"] = Field(
        "none",
        description="What a rater's votes weigh: 1; less for raters of one label only; or the estimated difference of "
        "the rates of up votes on good and on bad answers.",
    )
    one_label_votes: Annotated[NaturalCount, Unit("votes")] = Field(
        10, description="Votes from which a rater of one label only is told as one."
    )
    one_label_weight: Annotated[Fraction, Unit("factor")] = Field(
        0.0, description="Weight of such a rater's votes under `one_label`."
    )
    reliability_prior: Annotated[Positive, Unit("votes")] = Field(
        4.0, description="Under `dawid_skene`: votes that the pooled rates count for in each rater's own rates."
    )
    exposure: Literal["none", "propensity", "position"] = Field(
        "none",
        description="Weigh rows by the inverse of the logged chance to be shown, or of the estimated chance to be "
        "rated at the logged position.",
    )
    exposure_clip: Annotated[float, Unit("factor")] = Field(
        10.0, ge=1.0, description="Largest weight of an event by its exposure."
    )
    min_prompt_chars: Annotated[int, Unit("characters")] = Field(
        0, ge=0, description="Characters of all the prompt's messages; fewer: dropped."
    )
    max_prompt_chars: Annotated[NaturalCount | None, Unit("characters")] = Field(
        None, description="Characters of the prompt; more: dropped."
    )
    min_completion_chars: Annotated[int, Unit("characters")] = Field(
        0, ge=0, description="Characters of the completion; fewer: dropped."
    )
    max_completion_chars: Annotated[NaturalCount | None, Unit("characters")] = Field(
        None, description="Characters of the completion; more: dropped."
    )
    languages: tuple[str, ...] = Field(
        (), description="ISO 639-1 codes of completions to keep; none: all. Needs the extra `screening`."
    )
    language_confidence: Annotated[Fraction, Unit("probability")] = Field(
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
    min_weight: Annotated[float, Unit("factor")] = Field(
        0.0, ge=0.0, description="A product of weights below this is raised to it."
    )
    max_weight: Annotated[Positive, Unit("factor")] = Field(
        10.0, description="A product of weights above this is cut to it."
    )

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
    min_margin: Annotated[Fraction, Unit("probability")] = Field(
        0.1, description="Smallest difference of the two posterior means."
    )
    opposite_labels: bool = Field(True, description="Chosen must be desirable and rejected undesirable.")
    max_per_prompt: Annotated[NaturalCount, Unit("pairs")] = Field(
        4, description="At most this many vote pairs a prompt, largest margin first."
    )
    weights: Literal["none", "margin", "confidence"] = Field(
        "none",
        description="A pair's weight in the loss: 1; its margin; or 2 P(chosen is better) - 1; in column `weight`.",
    )
    same_model: bool = Field(False, description="Only pair two responses of the same model.")
    model: str | None = Field(
        None, description="Only pair responses of this model, for data of the policy itself; unset: of any."
    )
    comparisons: bool = Field(True, description="Also take explicit comparisons as pairs.")
    comparison_kinds: tuple[Literal["preference", "arena", "ranking", "edit", "regenerate"], ...] = Field(
        ("preference", "arena", "ranking", "edit", "regenerate"), description="Which comparisons: what stands behind."
    )
    comparison_prior: Annotated[Positive, Unit("wins")] = Field(
        1.0, description="Beta prior of a comparison: wins of each side seen before the first."
    )
    max_similarity: Annotated[Fraction, Unit("share of characters")] = Field(
        0.95,
        description="Skip a pair whose texts are more alike than this: 1 - edits / characters, by insertions and "
        "deletions. 1: only texts equal up to case and punctuation are skipped, as edits always are. Texts that differ "
        "in white space alone never are.",
    )
    group_prompts: Literal["none", "normalised", "near_duplicate"] = Field(
        "none",
        description="Pair answers across prompts equal up to case and punctuation, or nearly the same by MinHash "
        "(needs the extra `neardup`).",
    )
    group_similarity: Annotated[float, Unit("Jaccard similarity")] = Field(
        0.8,
        gt=0.0,
        lt=1.0,
        description="Jaccard similarity of character 5-grams from which prompts are near-duplicates.",
    )


class SplitsConfig(StageConfig):
    """Which prompt groups train and which are held out."""

    validation: Annotated[Fraction, Unit("share of rows")] = Field(
        0.1, description="Share of the rows used for curves during training."
    )
    test: Annotated[Fraction, Unit("share of rows")] = Field(
        0.2, description="Share of the rows that only the evaluation sees."
    )
    method: Literal["hash", "time"] = Field(
        "hash",
        description="Place a group by a hash of its name, or by the time of its last event: the newest are the test.",
    )
    group_by: Literal["prompt", "prompt_and_conversation", "prompt_conversation_and_user"] = Field(
        "prompt_and_conversation",
        description="What must not cross splits: prompts equal after normalisation; conversations; users. A prompt "
        "that many conversations or users share keeps its oldest ones together, not all.",
    )
    near_duplicates: bool = Field(
        False, description="Keep near-duplicate prompts together and audit near leaks. Needs the extra `neardup`."
    )
    near_similarity: Annotated[float, Unit("Jaccard similarity")] = Field(
        0.8, gt=0.0, lt=1.0, description="Jaccard similarity of character 5-grams from which texts are near-duplicates."
    )
    evaluation_sets: dict[str, FilePath] = Field(
        {},
        description="Name to file (.parquet or .jsonl with a `prompt`), relative to the run file: the audit counts "
        "what overlaps with them.",
    )
    salt: str = Field("thumbline", description="Changes which group lands where.")

    @model_validator(mode="after")
    def _leave_rows_to_train(self) -> Self:
        if self.validation + self.test >= 1.0:
            raise ValueError(f"validation + test is {self.validation + self.test:g}: nothing is left to train on")
        return self
