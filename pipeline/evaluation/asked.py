"""Models that score pairs asked for answers of their own to the same prompts, and judges asked of those answers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import GenerationsConfig, JudgeConfig
from ..context import Reporter
from ..engines.encoding import encoder_for
from ..engines.generating import AnswerModel, Asking, generate, other_model
from ..engines.scoring import Scorer
from ..errors import ConfigError, InputError, unknown_name
from ..identity import prompt_id
from ..judges.asking import ask, with_prompts
from ..judges.base import Surroundings
from ..judges.registry import check_judges, judge_spec
from ..tables import polars_schema
from ..training.asked import drawn
from .scoring import ScoringOptions, model_names
from .subject import Subject

_SHARD_ROWS: Final = 512
# What a prompt is written with to find where an answer to it would begin.
_PROBE: Final = "Yes."


class AnswerOptions(NamedTuple):
    """How models are asked.

    Attributes:
        generations: Samples, and how they are drawn.
        judges: Who judges them; the first decides the verdict.
    """

    generations: GenerationsConfig
    judges: tuple[JudgeConfig, ...]


def judge_sections(judges: Sequence[str], options: Sequence[str]) -> list[dict[str, Any]]:
    """Judges as the section `judges` of a run file states them.

    Args:
        judges: Their names.
        options: `NAME=VALUE`, of the judge that has an option of this name, or `JUDGE.NAME=VALUE`.

    Raises:
        ConfigError: A judge or an option is unknown, or two judges have one of this name. No value is repeated: it
            may be a secret.
    """
    known = {judge: list(judge_spec(judge).options.model_fields) for judge in judges}
    stated: dict[str, dict[str, str]] = {judge: {} for judge in judges}
    for entry in options:
        name, sign, value = entry.partition("=")
        of, _, option = name.rpartition(".")
        if not sign or not option:
            raise ConfigError("--judge-option: say NAME=VALUE, such as model=FOLDER.")
        takers = [judge for judge in judges if option in known[judge] and of in {"", judge}]
        if not takers:
            every = list(dict.fromkeys(one for judge in judges for one in known[judge]))
            raise ConfigError(f"--judge-option: {unknown_name('option', name, every or ['none'])}")
        if len(takers) > 1:
            raise ConfigError(
                f"--judge-option {name}: {' and '.join(takers)} have one of this name; say {takers[0]}.{name}=VALUE."
            )
        stated[takers[0]][option] = value
    return [{"judge": judge, "options": stated[judge]} for judge in judges]


def check_answers(answers: AnswerOptions, models: int) -> None:
    """Refuse judges that could not judge these answers, before any model is loaded.

    Args:
        answers: How models are asked.
        models: How many there are, the reference with them.

    Raises:
        ConfigError: A judge is unknown, its options do not hold, it needs a run's log, or another model's answers.
    """
    for judge in answers.judges:
        if judge.judge == "votes":
            raise ConfigError("evaluate: --judge votes looks answers up in the log of a run, and here is none.")
        if judge_spec(judge.judge).pairwise and models == 1:
            raise ConfigError(
                f"evaluate: --judge {judge.called} compares two models' answers; give another --model, or --reference."
            )
    check_judges(answers.judges)


def ask_models(
    subject: Subject,
    models: Sequence[str],
    answers: AnswerOptions,
    scoring: ScoringOptions,
    baseline: str,
    reporter: Reporter,
) -> Subject:
    """The subject with answers of its models to the prompts of its pairs, and what judges say of them, as tables.

    All answers are scored under the baseline; a judge of two answers compares the others' with its.

    Args:
        subject: What `score_subject` gives.
        models: What it was scored by, the reference with them, as the user names them.
        answers: How they are asked.
        scoring: Engine, text, and the store that keeps answers too.
        baseline: Name of the model that others are compared with; where there is but one, of none.
        reporter: Where progress goes.

    Raises:
        EngineError: A model cannot be sampled from or scored.
        InputError: A model takes none of the prompts.
        PipelineError: A judge cannot go on.
    """
    named = {name: other_model(name, model, scoring.engine) for name, model in model_names(models).items()}
    base = named.get(baseline) or next(iter(named.values()))
    every = _prompts(subject)
    prompts = drawn(every, answers.generations.prompts, answers.generations.seed)
    rows, refused = _tokenised(prompts, base, scoring)
    scorer = Scorer(base.model_dir, base.engine, str(scoring.store))
    how = Asking(answers.generations, scoring.text, scorer, base.tokenizer_dir, _SHARD_ROWS)
    made = generate(rows, [named[name] for name in sorted(named)], how, reporter)
    asked = with_prompts(made.frame, rows)
    judged = ask(asked, answers.judges, _surroundings(scoring, reporter), reporter, baseline=base.label)
    # Here a setting is an option.
    sampled = [sentence.replace("generations.max_new_tokens", "--max-new-tokens") for sentence in made.said]
    said = [_told(answers, rows.height, every.height, base.label), *refused, *sampled, *judged.notes["said"]]
    for sentence in said:
        reporter.say(sentence)
    tables = {
        "generation_prompts": rows,
        "generations": made.frame,
        "judgements": judged.judgements,
        "judged_pairs": judged.judged_pairs,
    }
    return dataclasses.replace(
        subject,
        tables={**subject.tables, **tables},
        judges=tuple(judge.called for judge in answers.judges),
        notes=(*subject.notes, *said),
    )


def _prompts(subject: Subject) -> pl.DataFrame:
    """Each prompt of the scored pairs once, with what its pairs are sliced by where they agree on it."""
    assert subject.pairs is not None, "a subject that was scored here has pairs"
    scored = subject.pairs.select("pair_id", "group_id", *subject.slices).unique("pair_id")
    pairs = subject.tables["pairs"].join(scored, on="pair_id", how="inner", validate="1:1").sort("pair_id")
    agreed = [pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()).alias(name) for name in subject.slices]
    return (
        pairs.with_columns(prompt_id=prompt_id(pl.col("prompt"), pl.col("tools")))
        .group_by("prompt_id", maintain_order=True)
        .agg(pl.col("group_id", "prompt", "tools").first(), *agreed)
        .sort("prompt_id")
    )


def _tokenised(prompts: pl.DataFrame, base: AnswerModel, scoring: ScoringOptions) -> tuple[pl.DataFrame, list[str]]:
    """Prompts with the token ids by which the baseline reads them, and a sentence on those that it does not take."""
    encoder = encoder_for(base.tokenizer_dir, scoring.text)
    asking = prompts.select("prompt_id", "prompt", "tools", completion=pl.lit(_PROBE))
    encoded = list(encoder.encode_rows(asking, group="prompt_id"))
    ids = [list(entry.prompt_token_ids) for entry in encoded]
    kind = polars_schema("generation_prompts")["prompt_token_ids"]
    table = prompts.with_columns(pl.Series("prompt_token_ids", ids, dtype=kind))
    taken = table.filter(pl.Series([entry.drop_reason is None for entry in encoded], dtype=pl.Boolean))
    if taken.is_empty():
        raise InputError(f"--samples: {base.label} takes none of the {prompts.height:,} prompts.")
    lost = prompts.height - taken.height
    return taken, [
        f"{base.label} takes {lost:,} of {prompts.height:,} prompts not: no answers to them."
    ] if lost else []


def _surroundings(scoring: ScoringOptions, reporter: Reporter) -> Callable[[JudgeConfig], Surroundings]:
    """What judges may look at: no run's log or thumbs model."""

    def made(judge: JudgeConfig) -> Surroundings:
        replies = f"{scoring.store}-replies"
        return Surroundings(judge.called, reporter, text=scoring.text, replies=replies, dtype="auto")

    return made


def _told(answers: AnswerOptions, prompts: int, every: int, baseline: str) -> str:
    """How answers were sampled, for the page."""
    how = answers.generations
    judges = ", ".join(judge.called for judge in answers.judges) or "nobody"
    drawn_of = f"{prompts:,} prompts" if prompts == every else f"{prompts:,} of {every:,} prompts"
    return (
        f"Each model was asked for {how.samples:,} answers to each of {drawn_of}, of {how.max_new_tokens:,} tokens at "
        f"most, at temperature {how.temperature:g}; scored under {baseline}, judged by {judges}."
    )
