"""A round from the start or from where it was: answers, what is said of them, new rows, and the run that they train."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import polars as pl

from ..config import EventsConfig
from ..context import Reporter, SilentReporter, StageContext
from ..engines.generating import AnswerModel, write
from ..engines.models import resolve_model
from ..errors import ConfigError, InputError
from ..judges.asking import ask, of_run, with_prompts
from ..judges.registry import outside, what_decides
from ..line import Finished, check_run, locked, read_stage, run, select, stage_named
from ..line.running import tables_of
from ..storage.digests import digest_file, digest_json
from ..storage.documents import read_document, write_document
from ..storage.files import free_place, make_folder, remove_temporary, write_text
from ..storage.parquet import read_parquet, write_parquet
from ..storage.tables import read_table
from ..sweep.running import run_file
from ..training.asked import asking, asking_settings, drawn, held_out_prompts
from ..training.trained import trained_model
from .plan import ROUND_FILE, ROWS_FILE, THUMBS, RoundPlan
from .rows import Rows, best_and_worst, lines, log_rows, pair_rows, pairs_of_votes, rated, unrated_rows, usable, voted

ANSWERS_FILE: Final = "answers.parquet"
# Holds the digest of that.
HANDED_OUT: Final = "handed_out.json"
RUN_FILE: Final = "run.yaml"
# The split whose prompts are answered: what is held out stays so.
SPLIT: Final = "train"
_READ: Final = ("generation_id", "prompt_id", "prompt", "tools", "completion", "finish", "value")


class Made(NamedTuple):
    """The round's new rows.

    Attributes:
        rows: How many pairs, or rated answers or votes.
        what: What they are: `pairs`, `rated answers` or `votes`.
        answers: How many answers there were.
        prompts: To how many prompts.
        left_out: What gave no row, by reason.
        said: What a person should read.
        found: Whether they were there already.
    """

    rows: int
    what: str
    answers: int
    prompts: int
    left_out: dict[str, int]
    said: list[str]
    found: bool = False


class HandedOut(NamedTuple):
    """Answers that wait for people's votes.

    Attributes:
        file: Where they are.
        answers: How many.
        prompts: To how many prompts.
    """

    file: Path
    answers: int
    prompts: int


class _Sampled(NamedTuple):
    """Answers with their prompts; `value` is null until somebody judged. What sampling said."""

    frame: pl.DataFrame
    said: list[str]


Step: TypeAlias = Made | HandedOut | Finished


def run_round(
    plan: RoundPlan,
    *,
    votes: Path | None = None,
    votes_from: Path | None = None,
    until: str | None = None,
    reporter: Reporter | None = None,
    command: str = "",
) -> Iterator[Step]:
    """Make the round's rows and train on them, yielding what was made and then each stage as it is done.

    What is done is found again: killed anywhere, the same call goes on.

    Args:
        plan: What to do.
        votes: Hand the answers out in this file, and stop.
        votes_from: Take people's votes on answers that were handed out from this file.
        until: Name of the last stage; None for all.
        reporter: Where progress goes.
        command: The command line, kept with the run.

    Raises:
        PipelineError: What sampling, a judge, or a stage says; or that no row could be made.
    """
    reporter = reporter or SilentReporter()
    stages = select(None, until)
    make_folder(plan.folder)
    with locked(plan.config.run_dir):
        remove_temporary(plan.folder)
        if votes is not None:
            yield _hand_out(plan, votes, reporter)
            return
        yield _made(plan, votes_from, reporter)
        write_text(plan.folder / RUN_FILE, run_file(plan.config, f"Round {plan.number} after {plan.previous.name}"))
    check_run(plan.config, stages)
    yield from run(plan.config, stages, reporter=reporter, command=command, source=plan.previous.run_dir)


def _made(plan: RoundPlan, votes_from: Path | None, reporter: Reporter) -> Made:
    """The round's rows: those that are there, or made now."""
    key = digest_json({"key": _key(plan), "votes": None if votes_from is None else digest_file(votes_from)})
    file, rows_file = plan.folder / ROUND_FILE, plan.folder / ROWS_FILE
    document = read_document(file)
    if document is not None and rows_file.is_file():
        # Keys of a file that an older version wrote may be damaged: the rows are made again.
        with suppress(KeyError, TypeError):
            if document["key"] == key and document["rows"] == digest_file(rows_file):
                return Made(**document["made"])._replace(found=True)
    if votes_from is None:
        sampled = _sampled(plan, reporter)
        rows, said = _judged(plan, sampled, reporter)
        what = "pairs" if plan.is_paired else "rated answers"
    else:
        sampled = _Sampled(_handed_out(plan), [])
        rows, said = _voted(plan, votes_from, sampled.frame), []
        what = "pairs" if plan.is_paired else "votes"
    made = Made(
        rows.made,
        what,
        sampled.frame.height,
        sampled.frame["prompt_id"].n_unique(),
        rows.left_out,
        [*sampled.said, *said],
    )
    if not rows.made:
        raise InputError(_why_nothing(made, plan))
    write_text(rows_file, lines(rows.rows))
    _record(plan, key, digest_file(rows_file), made)
    return made


def _voted(plan: RoundPlan, votes_from: Path, answers: pl.DataFrame) -> Rows:
    """Pairs, or the votes themselves, of a file of people's votes."""
    votes = voted(EventsConfig(inputs=(str(votes_from),)), answers)
    if plan.is_paired:
        rows, more = pairs_of_votes(votes.frame, plan.wanted.margin)
        count = rows["comparison_id"].n_unique()
    else:
        rows, more, count = (
            votes.frame.select("generation_id", "vote", "comparison_id", "user_id"),
            {},
            votes.frame.height,
        )
    texts = answers.select("generation_id", "prompt", "tools", "completion")
    kept = rows.drop("prompt_id", strict=False)
    return Rows(list(log_rows(kept, texts, plan.label)), count, votes.left_out | more)


def _record(plan: RoundPlan, key: str, rows: str, made: Made) -> None:
    document = {
        "round": plan.number,
        "previous": os.path.relpath(plan.previous.run_dir, plan.config.run_dir),
        "key": key,
        "rows": rows,
        "judge": None if plan.judge is None else plan.judge.called,
        "made": made._replace(found=False)._asdict(),
    }
    write_document(plan.folder / ROUND_FILE, document)


def _key(plan: RoundPlan) -> str:
    """Digest of all that the rows depend on: the model, how it is asked, and who judges."""
    stages = [read_stage(plan.previous, stage_named(name)) for name in ("splits", "sequences", "train")]
    judges = [] if plan.judge is None else [plan.judge]
    thumbs = read_stage(plan.previous, stage_named("thumbs")) if plan.judge is not None else None
    own = plan.wanted
    return digest_json(
        {
            "stages": [None if one is None else one.fingerprint for one in (*stages, thumbs)],
            "asking": asking_settings(plan.asked),
            "judges": [what_decides(one) for one in judges],
            "outside": dict(outside(judges)),
            "rows": [own.prompts, own.margin, own.keep_cut, plan.is_paired],
        }
    )


def _sampled(plan: RoundPlan, reporter: Reporter) -> _Sampled:
    """What the previous run's model answers to prompts that it was trained on."""
    asked = plan.asked
    context = StageContext(asked, plan.folder, tables_of(asked, stage_named("generations")), reporter, asked.run_dir)
    every = held_out_prompts(context, SPLIT)
    if every.is_empty():
        raise InputError(f"next-round: no prompt of the {SPLIT} split has a row with a sequence.")
    prompts = drawn(every, plan.wanted.prompts or every.height, asked.generations.seed)
    trained = trained_model(asked)
    model = AnswerModel(plan.label, trained.folder, trained.engine, resolve_model(asked.model, asked.revision))
    written = write(prompts, model, asking(asked), reporter)
    answers = written.frame.select("generation_id", "prompt_id", "group_id", "model", "sample", "completion", *_IDS)
    frame = with_prompts(answers, prompts).with_columns(value=pl.lit(None, pl.Float64))
    return _Sampled(frame.sort("prompt_id", "sample"), written.said)


_IDS: Final = ("completion_token_ids", "finish")


def _judged(plan: RoundPlan, sampled: _Sampled, reporter: Reporter) -> tuple[Rows, list[str]]:
    """Pairs, or rated answers, by what the judge says."""
    assert plan.judge is not None
    votes = plan.previous.run_dir / "responses" / "responses.parquet"

    def counted() -> pl.DataFrame:
        return read_table(votes, "responses", ["response_id", "n_up", "n_down"])

    found = ask(sampled.frame, [plan.judge], of_run(plan.previous, reporter, counted), reporter)
    said = list(found.notes["said"])
    values = found.judgements.select("generation_id", value="score")
    if plan.judge.judge == THUMBS and not plan.judge.options.get("model"):
        values, sentence = _as_rates(values, plan)
        said += [] if sentence is None else [sentence]
    frame = sampled.frame.drop("value").join(values, on="generation_id", how="left", validate="1:1")
    kept, left_out = usable(frame, keep_cut=plan.wanted.keep_cut)
    if plan.is_paired:
        pairs, more = best_and_worst(kept, plan.wanted.margin)
        rows, count = pair_rows(pairs), pairs.height
    else:
        pairs, more = rated(kept, plan.wanted.margin)
        rows, count = pairs.with_columns(comparison_id=pl.lit(None, pl.String)), pairs.height
    texts = frame.select("generation_id", "prompt", "tools", "completion")
    chosen = rows.select("generation_id", "vote", "comparison_id")
    return Rows(list(log_rows(chosen, texts, plan.label)), count, left_out | more), said


def _as_rates(values: pl.DataFrame, plan: RoundPlan) -> tuple[pl.DataFrame, str | None]:
    """Thumbs-up rates of the thumbs model's scores; and a sentence where it was not calibrated."""
    # It loads torch, which a dry run should not wait for.
    from ..engines.thumbs_model import read_calibration

    curve = read_calibration(plan.previous.run_dir / "thumbs" / "thumbs_model")
    scores = values["value"].to_numpy()
    if curve is None:
        rates, said = (
            1 / (1 + np.exp(-scores)),
            "next-round: the thumbs model was not calibrated; its scores are read as log-odds.",
        )
    else:
        rates, said = curve.rate(scores), None
    missing = pl.col("value").is_null()
    return values.with_columns(value=pl.when(~missing).then(pl.Series("value", rates))), said


def _hand_out(plan: RoundPlan, file: Path, reporter: Reporter) -> HandedOut:
    """Write the answers for people to vote on, and keep what they are."""
    sampled = _sampled(plan, reporter)
    kept, _ = usable(sampled.frame.with_columns(value=pl.lit(0.0)), keep_cut=plan.wanted.keep_cut)
    if kept.is_empty():
        raise InputError(
            f"next-round: none of the {sampled.frame.height:,} answers is whole and not empty, so there is nothing to "
            f"vote on. Raise --max-new-tokens, or take cut answers too: --keep-cut."
        )
    write_parquet(plan.folder / ANSWERS_FILE, kept.select(_READ))
    write_document(plan.folder / HANDED_OUT, {"answers": digest_file(plan.folder / ANSWERS_FILE)})
    write_text(free_place(file), lines(unrated_rows(kept, plan.label)))
    return HandedOut(file, kept.height, kept["prompt_id"].n_unique())


def _handed_out(plan: RoundPlan) -> pl.DataFrame:
    path = plan.folder / ANSWERS_FILE
    if not path.is_file():
        raise ConfigError(
            f"--votes-from: no answers were handed out for {plan.config.name}; write them first with --votes FILE."
        )
    kept = plan.folder / HANDED_OUT
    # Older versions kept no digest.
    if kept.is_file() and (read_document(kept) or {}).get("answers") != digest_file(path):
        raise InputError(
            f"{path}: not the answers that were handed out, by {kept.name} beside it; one of the two was damaged or "
            "changed, and votes would go to other texts. Hand them out again with --votes FILE."
        )
    return read_parquet(path)


def _why_nothing(made: Made, plan: RoundPlan) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in made.left_out.items())
    advice = "Lower --margin, raise --samples or --temperature"
    if made.left_out.get("cut"):
        advice += ", raise --max-new-tokens or take cut answers too (--keep-cut)"
    return (
        f"next-round: {made.answers:,} answers to {made.prompts:,} prompts gave no {made.what} "
        f"({reasons or 'no reason is known'}). {advice}."
    )
