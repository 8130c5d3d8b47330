"""Memory of the stages `metrics` and `report` on a made-up run, most of whose bytes are texts and token ids.

    python -m tests.benchmarks.bench_report_scale --prompts 20000

Each stage runs in a process of its own; its peak is compared with that of a process that imports the same and does no
work. Half of the prompts are held out, and each has one pair, so as many rows are scored as there are prompts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from tests.benchmarks.bench_sequences_scale import peak_mib
from thumbline.pipeline.config import build_config
from thumbline.pipeline.context import SilentReporter, StageContext, StageResult
from thumbline.pipeline.storage.digests import digest_text
from thumbline.pipeline.storage.files import write_text
from thumbline.pipeline.storage.manifests import MANIFEST, Counts, Manifest
from thumbline.pipeline.storage.tables import write_table
from thumbline.pipeline.tables import polars_schema

SIDES: Final = ("chosen", "rejected")
STAGES: Final = ("metrics", "report")
_EMPTY: Final = ("rejects", "pair_yield", "sequence_drops", "parity", "training_log")


def make_tables(folder: Path, prompts: int, words: int) -> None:
    """All that the two stages read but what `metrics` makes."""
    draw = np.random.default_rng(0)
    splits: list[dict[str, Any]] = []
    texted = ("texts", "unpaired", "pairs")
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("responses", *texted, "sequences")}
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in ("row_sequences", "reference", "policy")}
    for number in range(prompts):
        prompt_id, split = digest_text(str(number)), "test" if number % 2 else "train"
        prompt = [{"role": "user", "content": f"{number} " * words}]
        splits.append({"prompt_id": prompt_id, "group_id": prompt_id, "split": split})
        answers = {side: [{"role": "assistant", "content": f"{number} {side} " * words}] for side in SIDES}
        ids = {side: digest_text(str(number), side) for side in SIDES}
        pair = {"pair_id": prompt_id, "prompt_id": prompt_id, "prompt": prompt, "pair_source": "votes", "margin": 0.5}
        sides = {f"{side}_response_id": name for side, name in ids.items()}
        rows["pairs"].append({**pair, **answers, **sides, "chosen_better_probability": 0.9})
        for side in SIDES:
            keyed = {"response_id": ids[side], "prompt_id": prompt_id}
            own = {**keyed, "prompt": prompt}
            counted = {"n_up": 1, "n_events": 1, "exposure_weight": 1.0}
            rows["responses"].append({**keyed, "model": "m", **counted})
            rows["texts"].append({**own, "completion": answers[side][0]["content"]})
            label = {"label": side == "chosen", "weight": 1.0, "probability_desirable": 0.9}
            rows["unpaired"].append({**own, "completion": answers[side], **label})
            tokens = draw.integers(50_000, size=words).tolist()
            counts = {"prompt_token_count": words, "completion_token_count": words}
            ends = {"prompt_token_ids": tokens, "completion_token_ids": tokens, "is_truncated": False}
            rows["sequences"].append({"sequence_id": ids[side], **ends, **counts})
            keys = {"response_id": ids[side], "role": "matched", "sequence_id": ids[side], "split": split}
            scores["row_sequences"].append(keys)
            for table in ("reference", "policy"):
                logps = -float(draw.random()) * words
                scores[table].append({"sequence_id": ids[side], "logps": logps, "token_count": words})
    for name, made in {**rows, **scores, "splits": splits}.items():
        _write(folder, name, made)
    for name in _EMPTY:
        _write(folder, name, [])


def _write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    schema = polars_schema(name)
    blank = {
        column: [] if isinstance(kind, pl.List) else 0 if kind.is_integer() else None for column, kind in schema.items()
    }
    frame = pl.DataFrame([{**blank, **row} for row in rows], schema=schema)
    if name == "responses":
        frame = frame.with_columns(
            pl.col(pl.Float64).fill_null(0.5), pl.lit("desirable").cast(schema["label"]).alias("label")
        )
    frame = frame.sort("prompt_id") if "prompt_id" in frame.columns else frame.sort(frame.columns[0]) if rows else frame
    write_table(folder / f"{name}.parquet", name, frame)


def run_stage(folder: Path, name: str) -> None:
    """One stage on what lies in `folder`, or none; prints what it took."""
    from thumbline.pipeline.stages import metrics, report
    from thumbline.pipeline.training import held_out

    assert held_out
    module = {"metrics": metrics, "report": report}.get(name)
    document = {
        "name": "scale",
        "runs": str(folder),
        "model": "none",
        "events": {"inputs": ["none"]},
        "train": {"method": "dpo"},
        "metrics": {"bootstrap_draws": 200},
    }
    started = time.process_time()
    if module is not None:
        context = StageContext(
            build_config(document, origin="bench"),
            folder,
            {table: folder / f"{table}.parquet" for table in module.__dict__["INPUTS"]},
            SilentReporter(),
            folder,
        )
        _publish(folder, name, module.run(context))
    print(json.dumps([time.process_time() - started, peak_mib()]))


def _publish(folder: Path, name: str, result: StageResult) -> None:
    manifest = Manifest(
        stage=name,
        fingerprint="f",
        version=1,
        config={},
        inputs={},
        outputs=dict(result.outputs),
        counts=Counts(rows_in=1, rows_out=1),
        notes=dict(result.notes),
        seconds=0.0,
        finished_at="now",
    )
    write_text(folder / name / MANIFEST, manifest.model_dump_json())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stage:
        run_stage(Path(chosen.stage[0]), chosen.stage[1])
        return
    with tempfile.TemporaryDirectory() as name:
        make_tables(Path(name), chosen.prompts, chosen.words)
        print(f"{'stage':>8} {'CPU s':>8} {'peak MiB':>9}")
        for stage in ("none", *STAGES):
            command = [sys.executable, "-m", "tests.benchmarks.bench_report_scale", "--stage", name, stage]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, peak = json.loads(done.stdout.splitlines()[-1])
            print(f"{stage:>8} {seconds:>8.1f} {peak:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
