"""Seconds and peak memory of win rates and ratings from many judged pairs.

    python -m tests.benchmarks.bench_ratings --pairs 100000 --models 20 --groups 20000 --draws 1000

Prints one JSON object: pairs, models, prompts, draws, seconds by the clock and of the processor, peak resident memory
of the whole process, metrics made.
"""

import argparse
import json
import os
import resource
import time

import numpy as np
import polars as pl

from thumbline.evaluators import EvaluationSettings, evaluate_judged


def judged_pairs(size: int, models: int, groups: int, seed: int = 0) -> pl.DataFrame:
    """`size` verdicts on two of `models` models each, with ties, orders and lengths."""
    generator = np.random.default_rng(seed)
    strength = generator.normal(size=models)
    first = generator.integers(models, size=size)
    second = (first + generator.integers(1, models, size=size)) % models
    chance = 1 / (1 + np.exp(strength[second] - strength[first]))
    preference = np.where(generator.random(size) < 0.15, 0.5, generator.random(size) < chance)
    names = pl.Series([f"model {place:03}" for place in range(models)])
    return pl.DataFrame(
        {
            "group_id": pl.Series([f"{number:032x}" for number in range(groups)])[
                generator.integers(groups, size=size)
            ],
            "model_a": names[first],
            "model_b": names[second],
            "preference": preference,
            "a_first": generator.random(size) < 0.5,
            "length_a": generator.integers(20, 4000, size),
            "length_b": generator.integers(20, 4000, size),
        }
    )


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--groups", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=1000)
    chosen = parser.parse_args()
    rows = judged_pairs(chosen.pairs, chosen.models, chosen.groups)
    settings = EvaluationSettings(bootstrap_draws=chosen.draws)
    started, worked = time.perf_counter(), time.process_time()
    metrics = evaluate_judged(rows, settings)
    result = {
        "pairs": chosen.pairs,
        "models": chosen.models,
        "groups": chosen.groups,
        "draws": chosen.draws,
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "metrics": metrics.height,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
