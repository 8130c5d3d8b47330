"""Makers of small tables of sampled answers for the evaluators' tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from thumbline.evaluators import AnswerTables, EvaluationSettings, evaluate_answers

_PAIRS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("judge", "prompt_id", "group_id", "model", "baseline"), pl.String),
    **dict.fromkeys(("generation_id", "baseline_generation_id"), pl.String),
    **{"model_first": pl.Boolean, "preference": pl.Float64, "reason": pl.String},
}


def answer_tables(
    scores: Mapping[str, Sequence[Sequence[float | None]]],
    texts: Mapping[str, Sequence[Sequence[str]]] | None = None,
    *,
    groups: Sequence[str] | None = None,
    judge: str = "judge",
    tokens: int = 5,
    thumbs_scores: pl.DataFrame | None = None,
) -> AnswerTables:
    """Answers with one judge's scores: `scores[model][prompt]` are those of the prompt's answers.

    Args:
        scores: None is an answer that the judge gave no score.
        texts: The answers' texts, of the same shape; None for texts that all differ.
        groups: Prompt group of each prompt; None for one group a prompt.
        judge: The judge's name.
        tokens: Tokens of each answer, two nats each under the reference and the model itself.
        thumbs_scores: Labelled answers under the thumbs model; None for none.
    """
    count = max(len(prompts) for prompts in scores.values())
    names = list(groups or [f"g{place:03}" for place in range(count)])
    rows: list[dict[str, Any]] = []
    for model, prompts in scores.items():
        for prompt, given in enumerate(prompts):
            for sample, score in enumerate(given):
                name = f"{model}.{prompt:03}.{sample}"
                rows.append(
                    {
                        "generation_id": name,
                        "prompt_id": f"p{prompt:03}",
                        "group_id": names[prompt],
                        "model": model,
                        "sample": sample,
                        "completion": f"answer {name}" if texts is None else texts[model][prompt][sample],
                        "token_count": tokens,
                        "finish": "stop",
                        "reference_logps": -2.0 * tokens,
                        "policy_logps": -2.0 * tokens,
                        "score": score,
                    }
                )
    table = pl.DataFrame(rows, schema_overrides={"score": pl.Float64}, infer_schema_length=None)
    tables = AnswerTables(
        prompts=pl.DataFrame({"prompt_id": [f"p{place:03}" for place in range(count)], "group_id": names}),
        generations=table.drop("score"),
        judgements=table.select(
            pl.lit(judge).alias("judge"), "generation_id", "score", pl.lit("no opinion").alias("reason")
        ),
    )
    return tables if thumbs_scores is None else tables._replace(thumbs_scores=thumbs_scores)


def with_pairs(tables: AnswerTables, verdicts: Sequence[tuple[int, int, bool, float | None]]) -> AnswerTables:
    """The same answers, judged by a judge of pairs alone: `trained` against `untrained`, sample by sample.

    Args:
        tables: Answers.
        verdicts: Prompt, sample, whether the trained model's answer was shown first, and the preference for it.
    """
    rows = [
        {
            "judge": "chat",
            "prompt_id": f"p{prompt:03}",
            "group_id": f"g{prompt:03}",
            "model": "trained",
            "baseline": "untrained",
            "generation_id": f"trained.{prompt:03}.{sample}",
            "baseline_generation_id": f"untrained.{prompt:03}.{sample}",
            "model_first": first,
            "preference": preference,
            "reason": None if preference is not None else "unreadable",
        }
        for prompt, sample, first, preference in verdicts
    ]
    pairs = pl.DataFrame(rows, schema=_PAIRS)
    return tables._replace(judgements=tables.judgements.clear(), judged_pairs=pairs)


def answer_metrics(tables: AnswerTables, **settings: Any) -> pl.DataFrame:
    """The metrics of the answers at default settings, or with some others."""
    return evaluate_answers(tables, EvaluationSettings(**settings))
