"""Seconds and peak memory of every evaluator on many scored rows.

    python -m tests.benchmarks.bench_evaluators --pairs 1000000 --groups 400000 --draws 1000

Prints one JSON object: rows, draws, seconds by the clock and of the processor (all threads), peak resident memory of
the whole process, metrics made.
"""

import argparse
import json
import os
import resource
import time

import numpy as np
import polars as pl

from thumbline.evaluators import EvaluationSettings, evaluate

# Ids as long as the pipeline's own.
_ID = "{:032x}"


def scored_rows(size: int, groups: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`size` scored pairs and as many unpaired rows, each for an untrained and a trained model."""
    generator = np.random.default_rng(seed)
    group = generator.integers(groups, size=size)
    ids = pl.Series([_ID.format(place) for place in generator.permutation(size)])
    group_ids = pl.Series([_ID.format(number) for number in range(groups)])[group]
    counts = {side: generator.integers(5, 400, size) for side in ("chosen", "rejected")}
    reference = {side: -counts[side] * generator.gamma(9, 0.2, size) for side in counts}
    ease = generator.standard_normal(groups)[group]
    # One column of few values, and one of many that are cut into ranges.
    turns, votes = pl.Series(generator.integers(1, 7, size)), pl.Series(generator.poisson(20, size))
    parts_pairs, parts_unpaired = [], []
    for model, moved in (("untrained", 0.0), ("trained", 1.0)):
        move = {
            "chosen": moved * (4 + 3 * ease + 9 * generator.standard_normal(size)),
            "rejected": moved * (-2 + 9 * generator.standard_normal(size)),
        }
        parts_pairs.append(
            pl.DataFrame({"pair_id": ids, "group_id": group_ids}).with_columns(
                model=pl.lit(model),
                **{f"policy_{side}_logps": pl.Series(reference[side] + move[side]) for side in counts},
                **{f"reference_{side}_logps": pl.Series(reference[side]) for side in counts},
                **{f"{side}_token_count": pl.Series(counts[side]) for side in counts},
                chosen_better_probability=pl.lit(0.8),
                turns=turns,
                votes=votes,
            )
        )
        parts_unpaired.append(
            pl.DataFrame({"response_id": ids, "group_id": group_ids}).with_columns(
                model=pl.lit(model),
                label=pl.Series(ease + generator.standard_normal(size) > 0),
                policy_logps=pl.Series(reference["chosen"] + move["chosen"]),
                reference_logps=pl.Series(reference["chosen"]),
                token_count=pl.Series(counts["chosen"]),
                turns=turns,
                votes=votes,
            )
        )
    labels = parts_unpaired[0]["label"]
    return pl.concat(parts_pairs), pl.concat([part.with_columns(label=labels) for part in parts_unpaired])


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=400_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--unpaired", action="store_true", help="Also as many unpaired rows.")
    parser.add_argument("--slices", action="store_true", help="Also by turns and by votes.")
    chosen = parser.parse_args()
    pairs, unpaired = scored_rows(chosen.pairs, chosen.groups)
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = EvaluationSettings(
        bootstrap_draws=chosen.draws, slice_columns=("turns", "votes") if chosen.slices else ()
    )
    started, worked = time.perf_counter(), time.process_time()
    metrics = evaluate(pairs, unpaired if chosen.unpaired else None, settings)
    result = {
        "pairs": chosen.pairs,
        "unpaired": chosen.pairs if chosen.unpaired else 0,
        "models": 2,
        "groups": chosen.groups,
        "draws": chosen.draws,
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        "peak_gb_before": round(made / 1024**2, 2),
        "metrics": metrics.height,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
