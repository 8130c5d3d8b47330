"""Sampled answers to what each judge says of them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..judges.asking import Judged, ask, of_run, with_prompts
from ..judges.registry import outside, what_decides
from ..storage.manifests import Counts

VERSION = 1
INPUTS = ("responses", "generation_prompts", "generations")
FILES = ("thumbs_model",)
OUTPUTS = ("judgements", "judged_pairs")


def settings(config: RunConfig) -> dict[str, Any]:
    """The judges, as far as their settings decide what they say, and how texts become the thumbs model's tokens."""
    text = config.sequences.model_dump(mode="json", include={"template", "template_options", "system"})
    thumbs = {"text": text, "dtype": config.thumbs.dtype}
    by_model = any(judge.judge == "thumbs" for judge in config.judges)
    return {"judges": [what_decides(judge) for judge in config.judges], "thumbs": thumbs if by_model else {}}


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of functions' files, packages and models that judge."""
    return outside(config.judges)


def run(context: StageContext) -> StageResult:
    """Ask each judge, write `judgements` and `judged_pairs`; empty ones where there is no answer or no judge."""
    answers = with_prompts(context.read("generations"), context.read("generation_prompts"))
    surroundings = of_run(
        context.config, context.reporter, lambda: context.read("responses", ["response_id", "n_up", "n_down"])
    )
    judged = ask(answers, context.config.judges if answers.height else (), surroundings, context.reporter)
    outputs = {
        "judgements": context.write("judgements", judged.judgements),
        "judged_pairs": context.write("judged_pairs", judged.judged_pairs),
    }
    notes = dict(judged.notes)
    if context.config.judges and answers.is_empty():
        notes["said"] = ["No answers were sampled, so no judge was asked: generations.samples says how many a prompt."]
    return StageResult(outputs=outputs, counts=_counts(answers, judged), notes=notes)


def _counts(answers: pl.DataFrame, judged: Judged) -> Counts:
    """Judgements and comparisons that there are, and those that a judge gave none of: they keep their row, and why."""
    missing = int(judged.judgements["reason"].count() + judged.judged_pairs["reason"].count())
    given = judged.judgements.height + judged.judged_pairs.height
    return Counts(rows_in=answers.height, gave=given, rows_out=given - missing, rejected=missing)
