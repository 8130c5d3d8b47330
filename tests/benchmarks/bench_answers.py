"""Seconds and peak memory of all metrics of many sampled answers.

    python -m tests.benchmarks.bench_answers --answers 100000 --draws 1000

Two models' answers of about 80 words, judged by a judge of single answers, the thumbs model and a judge of pairs in
both orders, with a calibration on labelled answers. Prints one JSON object: answers, draws, seconds by the clock and of
the processor (all threads), peak resident memory of the whole process, metrics made.
"""

import argparse
import json
import resource
import time

import numpy as np
import polars as pl
from scipy import special

from thumbline.evaluators import AnswerTables, EvaluationSettings, evaluate_answers

_ID = "{:032x}"
_WORDS = 3_000


def tables_of(answers: int, samples: int, votes: int, seed: int = 0) -> AnswerTables:
    """Tables of `answers` answers in all, of two models with `samples` a prompt, and twice `votes` labelled ones."""
    generator = np.random.default_rng(seed)
    prompts = answers // (2 * samples)
    ids = pl.Series([_ID.format(number) for number in range(prompts)])
    groups = pl.Series([_ID.format(number) for number in generator.integers(prompts, size=prompts)])
    words = np.array([f"w{number}" for number in range(_WORDS)])
    lengths = generator.poisson(80, size=answers)
    texts = [
        " ".join(words[part])
        for part in np.split(generator.integers(_WORDS, size=lengths.sum()), lengths.cumsum()[:-1])
    ]
    place = np.arange(answers)
    prompt = place // samples % prompts
    trained = place >= answers // 2
    generations = pl.DataFrame(
        {
            "generation_id": [_ID.format(number) for number in place],
            "prompt_id": ids[prompt],
            "group_id": groups[prompt],
            "model": np.where(trained, "trained", "untrained"),
            "sample": place % samples,
            "completion": texts,
            "token_count": lengths + 1,
            "finish": np.where(generator.random(answers) < 0.05, "length", "stop"),
            "reference_logps": -2.2 * lengths - 0.1,
            "policy_logps": -2.0 * lengths - 0.1,
            "script": ["latin"] * answers,
        }
    )
    scores = generator.normal(size=answers) + generator.normal(size=prompts)[prompt] + 0.3 * trained
    judged = generations.select("generation_id", reason=pl.lit(None, pl.String))
    judgements = pl.concat(
        [
            judged.select(judge=pl.lit(judge), generation_id="generation_id", score=pl.Series(of), reason="reason")
            for judge, of in (("criterion", (scores > 0).astype(np.float64)), ("thumbs", scores))
        ]
    )
    first = generations.head(answers // 2)
    pairs = pl.concat(
        [
            pl.DataFrame(
                {
                    "judge": ["chat"] * first.height,
                    "prompt_id": first["prompt_id"],
                    "group_id": first["group_id"],
                    "model": ["trained"] * first.height,
                    "baseline": ["untrained"] * first.height,
                    "generation_id": generations["generation_id"].tail(first.height),
                    "baseline_generation_id": first["generation_id"],
                    "model_first": [shown] * first.height,
                    "preference": generator.choice([0.0, 0.5, 1.0], first.height),
                    "reason": pl.Series([None] * first.height, dtype=pl.String),
                }
            )
            for shown in (True, False)
        ]
    )
    return AnswerTables(
        prompts=pl.DataFrame({"prompt_id": ids, "group_id": groups, "turns": generator.integers(1, 5, prompts)}),
        generations=generations,
        judgements=judgements,
        judged_pairs=pairs,
        thumbs_scores=_votes(votes, generator),
    )


def _votes(count: int, generator: np.random.Generator) -> pl.DataFrame:
    scores = generator.normal(size=2 * count) * 2
    up = (generator.random(2 * count) < special.expit(scores)).astype(np.float64)
    return pl.DataFrame(
        {
            "response_id": [_ID.format(number) for number in range(2 * count)],
            "group_id": [_ID.format(number // 2) for number in range(2 * count)],
            "split": ["validation"] * count + ["test"] * count,
            "probability_desirable": up,
            "weight": np.ones(2 * count),
            "score": scores,
            "probability": special.expit(scores),
            "token_count": generator.poisson(80, 2 * count) + 1,
            "script": ["latin"] * 2 * count,
        }
    )


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=4, help="Answers a prompt and model.")
    parser.add_argument("--votes", type=int, default=2_000, help="Labelled answers of a split.")
    parser.add_argument("--draws", type=int, default=1000)
    chosen = parser.parse_args()
    tables = tables_of(chosen.answers, chosen.samples, chosen.votes)
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = EvaluationSettings(bootstrap_draws=chosen.draws, slice_columns=("turns",))
    started, worked = time.perf_counter(), time.process_time()
    metrics = evaluate_answers(tables, settings, "thumbs")
    result = {
        "answers": chosen.answers,
        "judges": 3,
        "votes": chosen.votes,
        "draws": chosen.draws,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "peak_gb_before": round(made / 1024**2, 2),
        "metrics": metrics.height,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
