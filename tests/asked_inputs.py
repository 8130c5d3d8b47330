"""A DPO run whose model was asked: sampled answers, two judges, the thumbs model's rates, all made up by hand.

What varies is a `Story`: which way the first judge leans, what the answers cost, what the audit says.
"""

import dataclasses
from typing import NamedTuple

import polars as pl

from tests.report_inputs import SCRIPT, dpo_run, identifier
from thumbline.evaluators import METRICS_SCHEMA
from thumbline.pipeline.config import build_config
from thumbline.pipeline.report import ReportInputs
from thumbline.pipeline.tables import polars_schema

FIRST, SECOND = "criterion", "thumbs"
_PROMPTS, _SAMPLES = 40, 2


class Story(NamedTuple):
    """What judges and texts say; an interval is the value with `_HALF` to each side."""

    wins: float = 0.73
    wins_p: float = 0.001
    second: float = 0.68
    stranger: float = 1.02
    longer: float = 0.97
    repetition: float = 0.004
    empty: float = 0.0
    predicted: float | None = 0.053
    length_controlled: float = 0.71


_HALF = 0.03


def row(evaluator, metric, value, *, model="trained", other=None, judge=None, unit="share", half=_HALF, reason=None):
    """One metric, with an interval of `half` to each side; none where `half` is None."""
    bounded = value is not None and half is not None
    low, high = (value - half, value + half) if bounded else (None, None)
    return (evaluator, 1, metric, model, other, None, value, low, high, 160, 40, unit, reason, None, judge)


def metrics(story: Story) -> pl.DataFrame:
    """The answers' rows of table `metrics`."""
    against = {"other": "untrained"}
    rows = []
    for judge, wins in ((FIRST, story.wins), (SECOND, story.second)):
        of = {"judge": judge, **against}
        p_value = story.wins_p if judge == FIRST else 0.001
        rows += [
            row("win_rate", "win_rate", wins, **of),
            row("win_rate", "wins", wins - 0.05, **of),
            row("win_rate", "ties", 0.1, **of),
            row("win_rate", "losses", 0.95 - wins, **of),
            row("win_rate", "length_controlled_win_rate", story.length_controlled, **of),
            row(
                "win_rate", "win_rate_p", p_value, unit="p", half=None, reason="28 prompt groups better, 9 worse", **of
            ),
            row("judge_score", "mean_score", 0.52, model="untrained", judge=judge),
            row("judge_score", "mean_score", 0.52 + 2 * (wins - 0.5), judge=judge),
            row("judge_score", "unjudged", 0.01, judge=judge),
            row("judge_score", "score_difference", 2 * (wins - 0.5), **of),
            row("judge_score", "score_difference_p", p_value, unit="p", half=None, **of),
        ]
    nats, tokens = 2.21, 60.0
    for name, before, after, unit in (
        ("reference_nats_per_token", nats, nats * story.stranger, "nats"),
        ("tokens", tokens, tokens * story.longer, "tokens"),
        ("repetition", 0.02, 0.02 + story.repetition, "share"),
        ("empty", 0.0, story.empty, "share"),
    ):
        rows += [
            row("answer_text", name, before, model="untrained", unit=unit, half=None),
            row("answer_text", name, after, unit=unit),
            row("answer_text", f"{name}_difference", after - before, unit=unit, **against),
        ]
    rows += [
        row("answer_text", "reference_nats_per_token_ratio", story.stranger, unit="ratio", **against),
        row("answer_text", "tokens_ratio", story.longer, unit="ratio", **against),
        row("answer_text", "kl_per_token", 0.11, unit="nats"),
    ]
    rate = story.predicted
    of = {"judge": SECOND}
    refused = "31% of the new answers are shorter than any that the calibration saw" if rate is None else None
    rows += [
        row("predicted_thumbs_up", "rate", None if rate is None else 0.66, model="untrained", reason=refused, **of),
        row("predicted_thumbs_up", "rate", None if rate is None else 0.66 + rate, reason=refused, **of),
        row("predicted_thumbs_up", "rate_difference", rate, reason=refused, **of, **against),
        row("predicted_thumbs_up", "audit_scores", 0.02, half=None, **of),
        row("thumbs_model", "auc", 0.78, model="thumbs"),
        row("thumbs_model", "length_only_auc", 0.61, model="thumbs"),
        row("thumbs_model", "auc_over_length", 0.17, model="thumbs"),
    ]
    return pl.DataFrame(rows, schema=METRICS_SCHEMA, orient="row")


def answers() -> dict[str, pl.DataFrame]:
    """Prompts, answers and the first judge's scores: the trained answer to prompt 7 loses by most, 0.9 to 0.1."""
    prompts, generations, judgements = [], [], []
    for place in range(_PROMPTS):
        prompt_id = identifier("asked", place)
        text = [{"role": "user", "content": f"Explain tide {place}. {SCRIPT if place == 7 else ''}", "extra": None}]
        prompts.append({"prompt_id": prompt_id, "prompt": text})
        for model in ("untrained", "trained"):
            for sample in range(_SAMPLES):
                name = identifier("answer", place, model, sample)
                words = f"{model} answer {sample} on tide {place}: " + "it rises and it falls. " * (place % 5 + 1)
                if place == 7 and model == "trained":
                    words = f"{SCRIPT} \u202eturned\x1b[31m " + "x" * 2_000
                score = 0.5 + 0.01 * (1 if model == "trained" else -1)
                if place == 7:
                    score = 0.1 if model == "trained" else 0.9
                generations.append(
                    (name, prompt_id, model, sample, words, 20 + place, "length" if place == 7 else "stop")
                )
                judgements.append((FIRST, name, score, None))
    names = ["generation_id", "prompt_id", "model", "sample", "completion", "token_count", "finish"]
    judged = {name: polars_schema("judgements")[name] for name in ("judge", "generation_id", "score", "reason")}
    return {
        "generation_prompts": pl.DataFrame(prompts),
        "generations": pl.DataFrame(generations, schema=names, orient="row"),
        "judgements": pl.DataFrame(judgements, schema=judged, orient="row"),
        "judged_pairs": pl.DataFrame(schema=polars_schema("judged_pairs")),
    }


def thumbs_scores(rows: int = 200) -> pl.DataFrame:
    """Test answers whose observed rate is their predicted one: of every bin of 20 as many thumbs up as it says."""
    place = pl.int_range(rows, eager=True)
    predicted = (place // 20 * 2 + 1) / 20
    frame = pl.DataFrame(
        {
            "response_id": [identifier("thumb", number) for number in range(rows)],
            "split": ["test"] * rows,
            "probability": predicted,
            "label": (place % 20) < (predicted * 20).round(0),
            "weight": [1.0] * rows,
        }
    )
    return frame.with_columns(probability_desirable=pl.col("label").cast(pl.Float64))


def asked_run(story: Story | None = None, *, gain: float = 14.0, drop: float = 9.0) -> ReportInputs:
    """The DPO run of `dpo_run`, asked."""
    run = dpo_run(gain=gain, drop=drop)
    tables = answers()
    assert run.config is not None
    document = run.config.model_dump(mode="json", exclude_unset=True)
    document |= {"generations": {"samples": _SAMPLES}, "thumbs": {"method": "reward_bce"}}
    document["judges"] = [{"judge": "example:criterion", "name": FIRST}, {"judge": "thumbs"}]
    found = pl.concat([run.tables["metrics"].select(list(METRICS_SCHEMA)), metrics(story or Story())])
    return dataclasses.replace(
        run,
        config=build_config(document, origin="test"),
        tables={**run.tables, **tables, "thumbs_scores": thumbs_scores(), "metrics": found},
        answers=tables["generations"],
        prompts=tables["generation_prompts"],
    )
