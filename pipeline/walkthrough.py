"""The whole line in one script, to be read from top to bottom: every table, from a raw log to a verdict.

    python -m thumbline.pipeline.walkthrough          # the sample log and the demo model, in a checkout
    python -m thumbline.pipeline.walkthrough MODEL    # another model: a folder or a hub id

The stages' own functions are called, without folders, fingerprints and manifests: see `line` for what a run adds.
A few prompts and steps are enough to see each table, and far too few for a verdict.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl

from .api.evaluating import evaluate
from .config import EngineConfig, EventsConfig, PairsConfig, ResponsesConfig, SplitsConfig, TrainConfig, UnpairedConfig
from .engines.base import TokenSequence
from .engines.encoded import sequence_columns
from .engines.encoding import load_encoder
from .engines.feeding import Blocks
from .engines.hf import HFEngine
from .engines.models import resolve_model
from .evidence.slices import response_facts
from .stages import events, metrics, pairs, policy, responses, sequences, splits, unpaired
from .training.checkpoints import save_model
from .training.mapped import Stored, pair_rows
from .training.methods import terms
from .training.objective import Objective
from .training.policy import load_policy
from .training.trainer import Trainer

SAMPLE_LOG: Final = Path(__file__).resolve().parents[1] / "data" / "sample" / "thumbs.jsonl"

Tables = dict[str, pl.DataFrame]


# %% Data: what people clicked becomes rows to train on. No model is needed for any of this.
def prepare(log: Path) -> Tables:
    """Tables from `events` to `splits`."""
    tables: Tables = {}

    # One row a feedback event, whatever logged it. What could not be read is in `rejects`, with the reason.
    read = events.ingest(EventsConfig(inputs=[str(log)]))
    tables["events"], tables["rejects"] = read.events, read.rejects

    # One row an answer: its votes counted, and what they say. Too little evidence: the label is `abstain`.
    votes = ResponsesConfig()
    answers = responses.transform(read.events.lazy(), votes)
    tables["responses"] = answers.responses.collect()

    # KTO takes labelled answers as they are.
    tables["unpaired"] = unpaired.transform(tables["responses"].lazy(), UnpairedConfig()).collect()

    # DPO takes two answers to one prompt. `pair_yield` says what became of each prompt.
    chosen = PairsConfig()
    paired = pairs.transform(tables["responses"].lazy(), answers.comparisons, chosen, votes)
    tables["pairs"], tables["pair_yield"] = paired.pairs.collect(), paired.pair_yield.collect()

    # One split for both kinds of rows, by groups of prompts: none of them is trained on and tested.
    rows = pl.concat([tables[kind].select("prompt_id") for kind in ("unpaired", "pairs")])
    told, met = tables["responses"].lazy(), tables["events"].lazy()
    tables["splits"] = splits.transform(told, met, rows.lazy(), SplitsConfig()).collect()
    return tables


def few(tables: Tables, prompts: int) -> Tables:
    """The tables with some prompts that have a pair, half of them in the test split: a walk, not a run."""
    paired = tables["splits"].join(tables["pairs"], on="prompt_id", how="semi")
    kept = pl.concat(paired.filter(pl.col("split") == name).head(prompts // 2) for name in ("train", "test"))
    narrowed = {name: tables[name].join(kept, on="prompt_id", how="semi") for name in ("unpaired", "pairs", "splits")}
    return tables | narrowed


# %% Token ids: text is tokenised here and nowhere else.
def encode(tables: Tables, model: Path) -> Tables:
    """Tables `sequences` and `row_sequences`: each (prompt, answer) once, and which row stands on which."""
    rows = sequences.rows_to_encode(tables["unpaired"], tables["pairs"], tables["splits"], train_on="pairs")
    encoder = load_encoder(model, "chat", 512, "keep_end")
    rows = rows.sort("prompt_id", "response_id")
    encoded = list(encoder.encode_rows(rows, group="prompt_id"))
    made = sequences.transform(sequence_columns(rows.select("response_id", "role", "split"), encoded))
    return {"sequences": made.sequences, "row_sequences": made.row_sequences}


# %% Scoring: token ids in, log-probs of the answers out. A run asks its store first, and may take vLLM.
def score(rows: pl.DataFrame, model: Path) -> pl.DataFrame:
    """`sequence_id`, `logps` (nats, summed over the answer) and `token_count`."""
    columns = ("sequence_id", "prompt_token_ids", "completion_token_ids")
    wanted = [TokenSequence(name, tuple(prompt), tuple(answer)) for name, prompt, answer in rows.select(columns).rows()]
    engine = HFEngine(model, EngineConfig(engine="hf", dtype="float32"))
    try:
        scores = engine.score(wanted)
    finally:
        engine.close()
    return pl.DataFrame([(one.sequence_id, one.logps, one.token_count) for one in scores], _SCORED, orient="row")


_SCORED: Final = {"sequence_id": pl.String, "logps": pl.Float64, "token_count": pl.Int64}


# %% Training: from stored reference log-probs, so that one model is in memory and not two.
def train(tables: Tables, model: Path, folder: Path, steps: int) -> pl.DataFrame:
    """The training log; the trained model is in `folder / "model"`."""
    config = TrainConfig(
        method="dpo", learning_rate=1e-4, max_steps=steps, epochs=float(steps), batch_rows=4, micro_batch_rows=4,
        dtype="float32", device="cpu",
    )  # fmt: skip
    in_train = tables["splits"].filter(pl.col("split") == "train")
    kept = tables["pairs"].join(in_train, on="prompt_id", how="semi")
    stored = Stored(_blocks(tables["sequences"]), _blocks(tables["reference"]), folder / "train.tokens")
    rows = pair_rows(kept, tables["row_sequences"].select("response_id", "sequence_id"), stored)
    untrained = load_policy(model, device="cpu", dtype="float32", gradient_checkpointing=False)
    objective = Objective(tuple(terms(config, len(rows), len(rows))), config.micro_batch_rows)
    trainer = Trainer(untrained, objective, config, rows, (), folder)
    log = trainer.run(lambda _: None)
    save_model(untrained, model, folder / "model")
    return pl.DataFrame(log, orient="row")


def _blocks(table: pl.DataFrame) -> Blocks:
    def blocks(columns: list[str]) -> Iterator[pl.DataFrame]:
        yield table.select(columns)

    return blocks


# %% The line.
def walk(log: Path, model: str, folder: Path, *, prompts: int = 8, steps: int = 3) -> Tables:
    """Every table of a short walk down the line, in its order; the verdict is the only row of the last.

    Args:
        log: A log of any known format.
        model: A folder, a hub id, or `demo`.
        folder: Where the trained model goes.
        prompts: Prompts that are trained on and tested.
        steps: Optimiser steps.
    """
    tables = few(prepare(log), prompts)
    untrained = resolve_model(model)
    tables |= encode(tables, untrained)
    tables["reference"] = score(tables["sequences"], untrained)
    tables["training_log"] = train(tables, untrained, folder, steps)

    # The trained model scores the held-out sequences alone.
    held_out = policy.transform(tables["row_sequences"].lazy(), mismatched=False).collect()
    tables["policy"] = score(tables["sequences"].join(held_out, on="sequence_id", how="semi"), folder / "model")

    # Rewards are differences of stored log-probs; so are all numbers, whatever the batch size was.
    facts = {"responses": response_facts(tables["responses"])}
    scored = metrics.transform(tables | facts)
    tables["scored_pairs"] = scored.pairs
    judged = evaluate(scored.pairs)
    tables["metrics"] = judged.metrics
    tables["verdict"] = pl.DataFrame({"verdict": [judged.verdict]})
    return tables


def main() -> None:
    """Walk the sample log down the line, and show the head of every table."""
    with (
        tempfile.TemporaryDirectory(prefix="thumbline-") as place,
        pl.Config(tbl_rows=4, tbl_cols=8, fmt_str_lengths=60),
    ):
        tables = walk(SAMPLE_LOG, (sys.argv[1:] or ["demo"])[0], Path(place))
        for name, table in tables.items():
            sys.stdout.write(f"\n{name}: {table.height:,} rows\n{table.head(3)}\n")
        sys.stdout.write(f"\n{tables['verdict'].item()}\n")


if __name__ == "__main__":
    main()
