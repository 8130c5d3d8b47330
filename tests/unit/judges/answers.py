"""Answers to be judged, as the stage joins them, and somebody's own judge."""

from typing import Any

import polars as pl

from thumbline.pipeline.identity import prompt_id
from thumbline.pipeline.judges import Answer
from thumbline.pipeline.storage.digests import digest_text
from thumbline.pipeline.tables import polars_schema


def messages(text: str) -> list[dict[str, Any]]:
    """One question."""
    return [{"role": "user", "content": text, "extra": None}]


def id_of_prompt(text: str) -> str:
    """The id that the line gives a question."""
    schema = {"prompt": polars_schema("generation_prompts")["prompt"]}
    identifier: str = (
        pl.DataFrame({"prompt": [messages(text)]}, schema=schema).select(prompt_id(pl.col("prompt"))).item()
    )
    return identifier


def answer(prompt: str, completion: str, **other: Any) -> Answer:
    """One answer; its id follows from its texts."""
    return Answer(
        digest_text(prompt, completion), id_of_prompt(prompt), messages(prompt), None, completion, (1, 2), (3,)
    )._replace(**other)


def answers_table(said: dict[str, dict[str, list[str]]]) -> pl.DataFrame:
    """What the stage asks judges of: `said[prompt][model]` are a model's answers, sample by sample."""
    rows = [
        {
            "generation_id": digest_text(prompt, model, str(sample)),
            "prompt_id": id_of_prompt(prompt),
            "group_id": id_of_prompt(prompt),
            "model": model,
            "sample": sample,
            "prompt": messages(prompt),
            "tools": None,
            "completion": completion,
            "prompt_token_ids": [1, 2],
            "completion_token_ids": [3],
        }
        for prompt, models in said.items()
        for model, completions in models.items()
        for sample, completion in enumerate(completions)
    ]
    kinds = {**polars_schema("generation_prompts"), **polars_schema("generations")}
    return pl.DataFrame(rows, schema={name: kinds[name] for name in rows[0]})
