"""Held-out accuracy and margin of the same nine pairs at several evaluation batch sizes: TRL's DPO trainer, and ours.

    python -m tests.benchmarks.bench_trl_batch_size

TRL's trainer averages each batch first and then takes the mean of the batches, so that a last batch of one row counts
as much as a batch of eight. Ours are made from stored scores, here read in shards of as many rows; `rescored` is
what forward passes of that many rows change in those scores. Both models are tiny, random and made on the spot.
Fails where ours differ in a single bit, or where the two do not agree at batches of one row, where TRL is exact.
"""

import logging
import math
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import datasets
import polars as pl
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer

from tests.tiny import CHATML, save_tiny_model
from thumbline.evaluators import EvaluationSettings, evaluate
from thumbline.pipeline.config import EngineConfig
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.hf import HFEngine

SIZES = (1, 2, 4, 8, 9)
BETA = 0.1
# TRL scores what the template writes after the end token, here nothing: then both score the same tokens.
TEMPLATE = CHATML.replace("'<|im_end|>\n'", "'<|im_end|>'")
PAIRS = [
    ("When do I plant beans?", "In May, when the soil is warm.", "Never."),
    ("How deep do peas go?", "Two inches.", "As deep as you like, it does not matter at all to anybody here."),
    ("Does kale like shade?", "It bears some shade in summer.", "Kale is kale."),
    ("Why do leeks bolt?", "Cold weeks after planting.", "They are in a hurry, as all of us are, and so they go."),
    ("Is chard hardy?", "Down to a light frost.", "Ask somebody else."),
    ("When is garlic ripe?", "When the lower leaves turn brown.", "On a Tuesday."),
    ("How often do I water onions?", "Once a week.", "Water is wet, and onions are round, and that is that."),
    ("Can basil stand cold?", "No, bring it in.", "Yes, always."),
    ("Do squashes climb?", "Some do, on a fence.", "No."),
]


class Figures(NamedTuple):
    """Mean figures of all pairs."""

    accuracy: float
    margin: float


def trl_figures(model: Path, reference: Path, size: int, folder: Path) -> Figures:
    """What TRL's DPO trainer reports of the pairs at this evaluation batch size."""
    rows = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": prompt}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
            }
            for prompt, chosen, rejected in PAIRS
        ]
    )
    settings = DPOConfig(
        output_dir=str(folder),
        per_device_eval_batch_size=size,
        beta=BETA,
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        ref_model=AutoModelForCausalLM.from_pretrained(reference),
        args=settings,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.remove_callback(PrinterCallback)
    found = trainer.evaluate()
    return Figures(found["eval_rewards/accuracies"], found["eval_rewards/margins"])


def score(model: Path, rows_a_batch: int) -> list[float]:
    """Log-probs of every chosen and every rejected answer, `rows_a_batch` in a forward pass."""
    encoder = load_encoder(model, "chat", 512, "drop")
    sides = [(prompt, answer) for prompt, *answers in PAIRS for answer in answers]
    prompts = [[{"role": "user", "content": prompt}] for prompt, _ in sides]
    sequences = [
        TokenSequence(str(place), tuple(one.prompt_token_ids), tuple(one.completion_token_ids))
        for place, one in enumerate(encoder.encode(prompts, [answer for _, answer in sides]))
    ]
    engine = HFEngine(model, EngineConfig(engine="hf", dtype="float32", batch_tokens=1_000_000))
    scores = [
        entry.logps
        for start in range(0, len(sequences), rows_a_batch)
        for entry in engine.score(sequences[start : start + rows_a_batch])
    ]
    engine.close()
    return scores


def scored_pairs(policy: list[float], reference: list[float]) -> pl.DataFrame:
    """Table `scored_pairs`; token counts play no part in what is measured here."""
    return pl.DataFrame(
        {
            "pair_id": [f"{place:02d}" for place in range(len(PAIRS))],
            "group_id": [f"{place:02d}" for place in range(len(PAIRS))],
            "model": ["trained"] * len(PAIRS),
            "policy_chosen_logps": policy[0::2],
            "policy_rejected_logps": policy[1::2],
            "reference_chosen_logps": reference[0::2],
            "reference_rejected_logps": reference[1::2],
            "chosen_token_count": [1] * len(PAIRS),
            "rejected_token_count": [1] * len(PAIRS),
        }
    )


def our_metrics(scored: pl.DataFrame, size: int, folder: Path) -> pl.DataFrame:
    """All metrics of stored scores that lie in shards of `size` rows, the last shard first."""
    folder.mkdir()
    for place, shard in enumerate(scored.iter_slices(size)):
        shard.write_parquet(folder / f"{len(scored) - place:02d}.parquet")
    stored = pl.concat(pl.read_parquet(path) for path in sorted(folder.glob("*.parquet")))
    return evaluate(stored, None, EvaluationSettings(beta=BETA, bootstrap_draws=200))


def figures(metrics: pl.DataFrame) -> Figures:
    """Accuracy and mean margin."""
    rows = {(row["evaluator"], row["metric"]): row["value"] for row in metrics.iter_rows(named=True)}
    return Figures(rows["pair_accuracy", "accuracy"], rows["reward_margin", "mean"])


def evaluate_rescored(model: Path, reference: Path, size: int) -> pl.DataFrame:
    """All metrics of scores that were computed `size` rows a forward pass."""
    return evaluate(
        scored_pairs(score(model, size), score(reference, size)),
        None,
        EvaluationSettings(beta=BETA, bootstrap_draws=200),
    )


def _quiet() -> None:
    """Leave the table alone on the terminal."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def main() -> int:
    """Measure and print; returns 1 where ours move or where the two do not agree at one row a batch."""
    _quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_tiny_model(folder / "model", template=TEMPLATE, seed=3)
        reference = save_tiny_model(folder / "reference", template=TEMPLATE, seed=0)
        reference_scores = score(reference, 1)
        stored = scored_pairs(score(model, 1), reference_scores)
        trl = {size: trl_figures(model, reference, size, folder / "trl") for size in SIZES}
        ours = {size: our_metrics(stored, size, folder / f"stored-{size}") for size in SIZES}
        again = {size: figures(evaluate_rescored(model, reference, size)) for size in SIZES}
    same = all(metrics.equals(ours[1]) for metrics in ours.values())
    agree = math.isclose(trl[1].margin, figures(ours[1]).margin, abs_tol=1e-4)
    agree = agree and math.isclose(trl[1].accuracy, figures(ours[1]).accuracy, abs_tol=1e-6)
    print(f"{len(PAIRS)} pairs, beta {BETA}")
    print("rows a batch   TRL accuracy   TRL margin   our accuracy     our margin   margin rescored, difference")
    for size in SIZES:
        mine = figures(ours[size])
        moved = again[size].margin - mine.margin
        print(
            f"{size:>12}   {trl[size].accuracy:>12.4f}   {trl[size].margin:>10.4f}   {mine.accuracy:>12.4f}   "
            f"{mine.margin:>12.9f}   {moved:>+28.1e}"
        )
    spread = max(one.accuracy for one in trl.values()) - min(one.accuracy for one in trl.values())
    print(f"TRL's accuracy moves by {spread:.4f}; ours: {'identical to the last bit' if same else 'MOVED'}")
    print(f"at one row a batch the two {'agree' if agree else 'DO NOT AGREE'}")
    return 0 if same and agree else 1


if __name__ == "__main__":
    sys.exit(main())
