"""Inputs of three reports: a DPO run, a KTO run with few pairs, and an evaluation of finished scored rows.

Texts and numbers are made up and seeded; what they are made from is stated at each constant.
"""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import polars as pl

from thumbline.evaluators import EvaluationSettings, evaluate
from thumbline.pipeline.config import RunConfig, build_config
from thumbline.pipeline.report import ReportInputs
from thumbline.pipeline.storage.digests import digest_text
from thumbline.pipeline.storage.manifests import Counts, Manifest, TableRecord
from thumbline.pipeline.tables import polars_schema, validate

BETA = 0.1
VERSIONS = {"thumbline": "0.1.0", "python": "3.11.2", "torch": "2.11.0", "transformers": "5.17.0", "polars": "2.1.0"}
SCRIPT = '<script>document.title = "taken over"</script><img src=x onerror="alert(1)">'
_TOPICS = ("a kettle", "tides", "sourdough", "a bicycle chain", "sleep", "compound interest", "rain", "a haiku")
_QUESTIONS = ("Explain {} in one sentence.", "What should I know about {}?", "Give me three facts on {}.")
_GOOD = "Here is a short answer about {}: it follows from how the parts work together, step by step."
_BAD = "As I said before, {} is {} because {} is {}. I hope that this helps you with everything you need today!"


def identifier(*parts: object) -> str:
    return digest_text(*(str(part) for part in parts))


def _messages(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text, "extra": None}]


def texts(prompts: int) -> pl.DataFrame:
    """`prompt_id`, `group_id`, `split`, `prompt`, `good` and `bad`: one row a prompt, two prompts a group."""
    rows = []
    for place in range(prompts):
        topic = _TOPICS[place % len(_TOPICS)]
        question = f"{_QUESTIONS[place % len(_QUESTIONS)].format(topic)} (case {place})"
        share = (place // 2 * 7 % 20) / 20
        rows.append(
            {
                "prompt_id": identifier("prompt", place),
                "group_id": identifier("group", place // 2),
                "split": "test" if share < 0.3 else "validation" if share < 0.4 else "train",
                "prompt": _messages("user", question),
                "tools": None,
                "good": _GOOD.format(topic) + (f" {SCRIPT}" if place % 5 == 0 else ""),
                "bad": _BAD.format(topic, topic, topic, topic),
            }
        )
    return pl.DataFrame(rows)


def _typed(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    schema = polars_schema(table)
    return validate(table, frame.select(list(schema)).cast(dict(schema)))


def tables_of_texts(source: pl.DataFrame, paired: int) -> dict[str, pl.DataFrame]:
    """Unpaired rows of every text, pairs of the first `paired` prompts, and splits."""
    rows = source.with_row_index("place")
    answer = pl.struct(role=pl.lit("assistant"), content="text", extra=pl.lit(None, pl.String))
    long = pl.concat([rows.with_columns(text=side, label=pl.lit(side == "good")) for side in ("good", "bad")])
    long = long.with_columns(
        response_id=pl.Series([identifier("response", *key) for key in long.select("place", "label").iter_rows()]),
        completion=pl.concat_list(answer),
        weight=pl.lit(1.0),
        probability_desirable=pl.when("label").then(0.875).otherwise(0.125),
    )
    sides = {side: long.filter(pl.col("label") == (side == "chosen")) for side in ("chosen", "rejected")}
    pairs = (
        rows.head(paired)
        .join(sides["chosen"].select("place", chosen="completion", chosen_response_id="response_id"), on="place")
        .join(sides["rejected"].select("place", rejected="completion", rejected_response_id="response_id"), on="place")
        .with_columns(
            pair_id=pl.Series([identifier("pair", place) for place in range(paired)]),
            pair_source=pl.lit("votes"),
            margin=pl.lit(0.5),
            chosen_better_probability=0.75 + 0.2 * ((pl.col("place") % 5) / 5),
        )
    )
    return {
        "unpaired": _typed("unpaired", long),
        "pairs": _typed("pairs", pairs),
        "splits": _typed("splits", source),
    }


def scored_pairs(tables: dict[str, pl.DataFrame], *, gain: float, drop: float, seed: int) -> pl.DataFrame:
    """Held-out pairs under an untrained and a trained model: chosen moves by `gain` - `drop` nats, rejected by -`drop`.

    The log-probs are normal around -60 nats, the moves have a deviation of 12 nats.
    """
    generator = np.random.default_rng(seed)
    rows = tables["pairs"].join(tables["splits"], on="prompt_id", validate="m:1").filter(pl.col("split") == "test")
    size = rows.height
    reference = {side: -60 + 8 * generator.standard_normal(size) for side in ("chosen", "rejected")}
    moves = {
        "chosen": gain - drop + 12 * generator.standard_normal(size),
        "rejected": -drop + 12 * generator.standard_normal(size),
    }
    parts = []
    for model in ("trained", "untrained"):
        policy = {
            side: np.minimum(reference[side] + (moves[side] if model == "trained" else 0), -0.5) for side in reference
        }
        parts.append(
            rows.with_columns(
                model=pl.lit(model),
                **{f"policy_{side}_logps": pl.Series(policy[side]) for side in policy},
                **{f"reference_{side}_logps": pl.Series(reference[side]) for side in reference},
                chosen_token_count=pl.Series(generator.integers(15, 40, size)) if model == "trained" else pl.lit(20),
                rejected_token_count=pl.Series(generator.integers(15, 60, size)) if model == "trained" else pl.lit(30),
            )
        )
    # A row's token counts belong to the row, not to the model.
    counts = parts[0].select("pair_id", "chosen_token_count", "rejected_token_count")
    parts[1] = parts[1].drop("chosen_token_count", "rejected_token_count").join(counts, on="pair_id")
    columns = list(polars_schema("scored_pairs"))
    return _typed("scored_pairs", pl.concat([part.select(columns) for part in parts]))


def scored_unpaired(tables: dict[str, pl.DataFrame], *, gain: float, seed: int) -> pl.DataFrame:
    """Held-out unpaired rows under both models: desirable rows move by `gain` nats, undesirable ones by -`gain`."""
    generator = np.random.default_rng(seed)
    rows = tables["unpaired"].join(tables["splits"], on="prompt_id", validate="m:1").filter(pl.col("split") == "test")
    size = rows.height
    reference = -60 + 8 * generator.standard_normal(size)
    move = np.where(rows["label"].to_numpy(), gain, -gain) + 9 * generator.standard_normal(size)
    counts = pl.Series(generator.integers(15, 60, size))
    parts = [
        rows.with_columns(
            model=pl.lit(model),
            policy_logps=pl.Series(np.minimum(reference + (move if model == "trained" else 0), -0.5)),
            reference_logps=pl.Series(reference),
            token_count=counts,
        ).select(list(polars_schema("scored_unpaired")))
        for model in ("trained", "untrained")
    ]
    return _typed("scored_unpaired", pl.concat(parts))


def training_log(steps: int, *, final_loss: float, sides: bool, seed: int = 3) -> pl.DataFrame:
    """Curves that fall from ln 2 (DPO's loss where policy and reference are the same) to `final_loss`, with noise."""
    generator = np.random.default_rng(seed)
    rows: list[tuple[int, str, str, float]] = []
    for step in range(1, steps + 1):
        done = 1 - np.exp(-3 * step / steps)
        noise = float(generator.standard_normal())
        values = {
            "loss": np.log(2) - (np.log(2) - final_loss) * done + 0.03 * noise,
            "learning_rate": 2e-5 * min(step / (0.1 * steps), (steps - step + 1) / (0.9 * steps)),
            "grad_norm": 4 + 2 * np.exp(-step / 9) + 0.5 * noise**2,
        }
        if not sides:
            values |= {
                "desirable_rewards": 0.05 * done + 0.05 * noise,
                "undesirable_rewards": -0.06 * done + 0.05 * noise,
                "reference_point": 0.02 * done,
            }
        if sides:
            values |= {
                "accuracy": 0.5 + 0.3 * done + 0.05 * noise,
                "reward_margin": 0.9 * done + 0.08 * noise,
                "chosen_rewards": -0.25 * done + 0.05 * noise,
                "rejected_rewards": -1.15 * done + 0.05 * noise,
            }
        rows += [(step, "train", name, float(value)) for name, value in values.items()]
        if step % 10 == 0:
            kept = [name for name in values if name not in {"learning_rate", "grad_norm"}]
            rows += [(step, "validation", name, float(values[name]) * 0.97) for name in kept]
    return _typed("training_log", pl.DataFrame(rows, schema=["step", "phase", "metric", "value"], orient="row"))


def parity(rows: int = 32, seed: int = 5) -> pl.DataFrame:
    """Stored log-probs 0.05 nats around the training engine's, whose own batched noise is 0.02 nats."""
    generator = np.random.default_rng(seed)
    alone = -60 + 10 * generator.standard_normal(rows)
    frame = pl.DataFrame(
        {
            "sequence_id": [identifier("sequence", place) for place in range(rows)],
            "token_count": generator.integers(8, 120, rows),
            "stored_logps": alone + 0.05 * generator.standard_normal(rows),
            "row_logps": alone,
            "batched_logps": alone + 0.02 * generator.standard_normal(rows),
        }
    )
    return _typed("parity", frame)


def pair_yield(counts: dict[str, int]) -> pl.DataFrame:
    advice = {
        "paired": "",
        "one_response": "Sample several answers a prompt, or collect regenerations: one answer cannot make a pair.",
        "fewer_than_two_votes": "Show the rating buttons on every answer: fewer than two answers were rated.",
        "one_label_only": "All rated answers agree; KTO uses them, or set pairs.opposite_labels to false.",
        "below_margin": "The votes differ too little: collect more votes an answer, or lower pairs.min_margin.",
    }
    rows = [(outcome, counts.get(outcome, 0), text) for outcome, text in advice.items()]
    return _typed("pair_yield", pl.DataFrame(rows, schema=["outcome", "n_prompts", "advice"], orient="row"))


def rejects() -> pl.DataFrame:
    rows = [
        ("logs/2026-03.jsonl", 17, "not_json", "Expecting ',' delimiter at column 88", "{broken secret text"),
        ("logs/2026-03.jsonl", 904, "not_json", "Unterminated string", "{another secret"),
        ("logs/2026-03.jsonl", 951, "no_completion", f"the answer is empty {SCRIPT}", "{}"),
    ]
    names = ["source_file", "source_line", "reason", "detail", "raw"]
    return _typed("rejects", pl.DataFrame(rows, schema=names, orient="row"))


def manifest(
    stage: str,
    counts: Counts,
    config: dict[str, object],
    outputs: dict[str, int],
    notes: dict[str, object],
    seconds: float,
) -> Manifest:
    finished = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
    return Manifest(
        stage=stage,
        fingerprint=identifier("fingerprint", stage),
        version=1,
        config=config,
        inputs={"upstream": identifier("input", stage) * 2},
        outputs={
            name: TableRecord(file=f"{name}.parquet", rows=rows, sha256=identifier("output", name) * 2)
            for name, rows in outputs.items()
        },
        counts=counts,
        notes=notes,
        seconds=seconds,
        finished_at=finished.isoformat(timespec="seconds"),
    )


def manifests(tables: dict[str, pl.DataFrame], method: str) -> dict[str, Manifest]:
    """Manifests of a whole run whose counts add up and fit `tables`."""
    labelled, prompts = tables["unpaired"].height, tables["splits"].height
    paired = tables["pairs"].height
    responses, events, scored = labelled + 41, labelled + 41 + 63, tables["scored_unpaired"].height // 2
    counts = {
        "events": Counts(rows_in=events + 22, rows_out=events, merged=19, rejected=3),
        "responses": Counts(rows_in=events, rows_out=responses, merged=63),
        "unpaired": Counts(rows_in=responses, rows_out=labelled, rejected=41),
        "pairs": Counts(rows_in=prompts, rows_out=paired, rejected=prompts - paired),
        "splits": Counts(rows_in=prompts, rows_out=prompts),
        "sequences": Counts(rows_in=labelled, rows_out=labelled - 9, merged=5, rejected=4),
        "reference": Counts(rows_in=labelled - 9, rows_out=labelled - 9),
        "train": Counts(rows_in=paired, rows_out=paired),
        "policy": Counts(rows_in=scored, rows_out=scored),
        "metrics": Counts(rows_in=scored, rows_out=scored),
    }
    notes: dict[str, dict[str, object]] = {
        "responses": {
            "responses_with_both_votes": 12,
            "abstain_reasons": {"unrated": 30, "tied": 8, "retracted": 3},
        },
        "unpaired": {"desirable": labelled // 2, "undesirable": labelled - labelled // 2},
        "pairs": {"pairs": paired, "rows_are": "prompts"},
        "sequences": {"truncated_rows": 0},
        "train": {"method": method, "loss": {"beta": BETA}, "steps": 60, "device": "cpu", "parity": {"limit": 0.25}},
        "metrics": {"reward": "implicit", "beta": BETA},
    }
    seconds = [1.3, 0.6, 0.1, 0.2, 0.2, 4.8, 96.4, 402.7, 41.9, 3.3]
    return {
        stage: manifest(stage, made, {"method": method}, {stage: made.rows_out}, notes.get(stage, {}), spent)
        for (stage, made), spent in zip(counts.items(), seconds, strict=True)
    }


def config(name: str, method: str) -> RunConfig:
    document = {
        "name": name,
        "model": "demo",
        "events": {"inputs": ["data/sample/thumbs.jsonl"]},
        "train": {"method": method, "loss": {"beta": BETA}, "learning_rate": 2e-5},
    }
    return build_config(document, origin="test")


def metrics(pairs: pl.DataFrame, unpaired: pl.DataFrame, baseline: str = "untrained") -> pl.DataFrame:
    return evaluate(pairs, unpaired, EvaluationSettings(beta=BETA, bootstrap_draws=200, baseline=baseline))


def dpo_run(*, gain: float = 14.0, drop: float = 9.0) -> ReportInputs:
    """A DPO run of 200 prompts, of which 170 make a pair; with `gain` 0 nothing improves."""
    tables = tables_of_texts(texts(200), paired=170)
    tables["scored_pairs"] = scored_pairs(tables, gain=gain, drop=drop, seed=1)
    tables["scored_unpaired"] = scored_unpaired(tables, gain=gain / 2, seed=2)
    tables["metrics"] = metrics(tables["scored_pairs"], tables["scored_unpaired"])
    tables["training_log"] = training_log(60, final_loss=0.42, sides=True)
    tables["parity"] = parity()
    tables["pair_yield"] = pair_yield({"paired": 170, "one_response": 18, "one_label_only": 9, "below_margin": 3})
    tables["rejects"] = rejects()
    return ReportInputs(
        title="Sample thumbs log, DPO",
        run_name="quickstart",
        command="thumbline run pipeline/configs/quickstart.yaml",
        generated_at="2026-03-14 09:41 UTC",
        config=config("quickstart", "dpo"),
        manifests=manifests(tables, "dpo"),
        tables=tables,
        versions=VERSIONS,
        beta=BETA,
        notes=("The votes of this log are simulated; the data card says how.",),
    )


def kto_run() -> ReportInputs:
    """A KTO run of 240 prompts with 2 pairs, both in the training split, on which nothing improves."""
    source = texts(240).sort(pl.col("split") != "train", maintain_order=True)
    tables = tables_of_texts(source, paired=2)
    tables["scored_pairs"] = scored_pairs(tables, gain=0, drop=0, seed=1)
    tables["scored_unpaired"] = scored_unpaired(tables, gain=0.2, seed=2)
    tables["metrics"] = metrics(tables["scored_pairs"], tables["scored_unpaired"])
    tables["training_log"] = training_log(40, final_loss=0.66, sides=False)
    tables["parity"] = parity(16)
    tables["pair_yield"] = pair_yield({"paired": 2, "one_response": 231, "fewer_than_two_votes": 7})
    return ReportInputs(
        title="Volunteers' thumbs, KTO",
        run_name="volunteers",
        command="thumbline run volunteers.yaml",
        generated_at="2026-03-14 10:02 UTC",
        config=config("volunteers", "kto"),
        manifests=manifests(tables, "kto"),
        tables=tables,
        versions=VERSIONS,
        beta=BETA,
    )


def evaluate_only() -> ReportInputs:
    """Two models' scored pairs from a user's file, without texts, run file or stages."""
    tables = tables_of_texts(texts(200), paired=170)
    scored = scored_pairs(tables, gain=3, drop=1, seed=8)
    names = {"trained": "acme/helper-7b-dpo", "untrained": "acme/helper-7b"}
    scored = scored.with_columns(pl.col("model").replace_strict(names))
    empty = pl.DataFrame(schema=polars_schema("scored_unpaired"))
    given = {"scored_pairs": scored, "scored_unpaired": empty}
    given["metrics"] = metrics(scored, empty, baseline="acme/helper-7b")
    return ReportInputs(
        title="Two helpers on held-out pairs",
        run_name="scored.parquet",
        command="thumbline evaluate scored.parquet",
        generated_at="2026-03-14 11:30 UTC",
        tables=given,
        versions=VERSIONS,
        beta=BETA,
    )


def sliced_run() -> ReportInputs:
    """The DPO run sliced by a column of long names, one of which looks like markup."""
    run = dpo_run()
    names = ("a topic with quite a long name of its own, for a phone", "<b>bold</b>", "tides", "rain")
    topic = pl.col("pair_id").str.slice(0, 1).str.to_integer(base=16).mod(4)
    pairs = run.tables["scored_pairs"].with_columns(topic=topic.replace_strict(dict(enumerate(names))))
    settings = EvaluationSettings(beta=BETA, bootstrap_draws=200, slice_columns=("topic",))
    found = evaluate(pairs, run.tables["scored_unpaired"], settings)
    return dataclasses.replace(run, tables={**run.tables, "metrics": found})


def compared_runs() -> ReportInputs:
    """Two finished models with the learning curves of two runs of long names."""
    logs = {
        "acme/helper-7b-preference-optimised-2026-03-14": training_log(60, final_loss=0.42, sides=True),
        "acme/helper-7b": training_log(40, final_loss=0.6, sides=True, seed=4),
    }
    return dataclasses.replace(evaluate_only(), training_logs=logs, title="Two runs")
