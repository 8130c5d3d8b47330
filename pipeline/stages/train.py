"""Training rows and stored reference log-probs to a trained model: no reference model is ever loaded.

Before the first step the parity gate compares stored log-probs with the untrained policy's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import polars as pl

from thumbline.plugins import origins

from ..config import RunConfig, TrainConfig
from ..context import StageContext, StageResult
from ..engines.adapters import adapter_digest, merge_adapter, resolve_adapter
from ..engines.models import model_digest, resolve_model
from ..engines.scoring import scratch_folder
from ..errors import ConfigError, TrainingError
from ..storage.manifests import Counts
from ..tables import polars_schema

if TYPE_CHECKING:
    from ..training.mapped import MappedRows
    from ..training.rows import Row

VERSION = 1
INPUTS = ("pairs", "unpaired", "splits", "sequences", "row_sequences", "reference")
OUTPUTS = ("training_log", "parity")
MODEL = "model"

_PAIR_COLUMNS: Final = ("pair_id", "chosen_response_id", "rejected_response_id", "chosen_better_probability")
_UNPAIRED_COLUMNS: Final = ("response_id", "label", "weight", "probability_desirable")


def settings(config: RunConfig) -> dict[str, Any]:
    """The stage's own settings; how often a checkpoint is kept changes nothing."""
    return config.train.model_dump(mode="json", exclude={"checkpoint_every"})


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the untrained model, and of the adapter that it begins with; the packages that add its methods."""
    digests = {"untrained_model": model_digest(resolve_model(config.model, config.revision))}
    if config.reference.adapter is not None:
        digests["adapter"] = adapter_digest(resolve_adapter(config.reference.adapter))
    return digests | origins("thumbline.losses", config.train.methods)


def check_methods(config: TrainConfig) -> None:
    """Refuse methods that are unknown, set out of range, or cannot be trained as the configuration says.

    Raises:
        ConfigError: Names the method and what to change.
    """
    from thumbline.losses import loss_spec, takes_whole_steps

    try:
        whole = [
            name
            for name, settings in [(config.method, config.loss), *((term.method, term.loss) for term in config.also)]
            if takes_whole_steps(name, settings)
        ]
    except (ValueError, TypeError) as error:
        raise ConfigError(f"train: {error}") from error
    paired = loss_spec(config.method).paired
    for term in map(loss_spec, (term.method for term in config.also)):
        if term.paired != paired:
            kinds = ("pairs", "unpaired rows") if paired else ("unpaired rows", "pairs")
            raise ConfigError(
                f"train.also: {config.method} takes {kinds[0]} and {term.title} {kinds[1]}; add up one kind."
            )
        if term.step_statistic is not None:
            raise ConfigError(
                f"train.also: {term.title} keeps a reference point of its own over a step; make it train.method."
            )
    if whole and config.micro_batch_rows < config.batch_rows:
        raise ConfigError(
            f"train: the loss of {whole[0]} as set compares the rows of a step with each other; set "
            f"train.micro_batch_rows to train.batch_rows ({config.batch_rows}), so that a step is one forward pass."
        )


def run(context: StageContext) -> StageResult:
    """Read rows and log-probs, gate, train, and write the model, `training_log` and `parity`."""
    with scratch_folder(context.folder) as scratch:
        return _train(context, scratch)


def _train(context: StageContext, scratch: Path) -> StageResult:
    # Imported here, so that a run that skips training does not wait for torch and transformers.
    from thumbline.losses import Term, loss_spec

    from ..training import checkpoints, parity
    from ..training.objective import Objective
    from ..training.policy import load_policy
    from ..training.trainer import Trainer

    config = context.config.train
    spec = loss_spec(config.method)
    rows = {split: _rows(context, split, scratch, paired=spec.paired) for split in ("train", "validation")}
    if not rows["train"]:
        raise TrainingError(
            f"train: the training split holds no {'pair' if spec.paired else 'unpaired row'} with token ids. "
            f"Look at the yield of pairs and the drops of sequences in `thumbline status`, or choose another method."
        )
    model_dir = resolve_model(context.config.model, context.config.revision)
    policy = load_policy(
        model_dir, device=config.device, dtype=config.dtype, gradient_checkpointing=config.gradient_checkpointing
    )
    if context.config.reference.adapter is not None:
        # The policy begins where the reference stands.
        merge_adapter(policy.model, resolve_adapter(context.config.reference.adapter))
    sample = parity.sample_of(rows["train"], config.parity_rows)
    compared = parity.compare(policy, sample.sequences, config.micro_batch_rows)
    gate = parity.judge(compared, config, sample.pairs)
    parity.enforce(gate, config.dtype)
    objective = Objective(
        spec,
        _loss_config(config, rows["train"]),
        config.micro_batch_rows,
        tuple(Term(term.method, term.weight, term.loss) for term in config.also),
    )
    validation = rows["validation"][: config.validation_rows]
    trainer = Trainer(policy, objective, config, rows["train"], validation, context.folder)
    with context.reporter.progress(f"training ({config.method})", trainer.total_steps(), "steps") as advance:
        log = trainer.run(advance)
    checkpoints.save_model(policy, model_dir, context.folder / MODEL)
    checkpoints.remove_checkpoint(context.folder)
    table = pl.DataFrame(log, schema=polars_schema("training_log"), orient="row")
    in_split = _of_split(context, "train", (), paired=spec.paired).height
    return StageResult(
        outputs={
            "training_log": context.write("training_log", table),
            "parity": context.write("parity", compared.sort("sequence_id")),
        },
        files={MODEL: model_digest(context.folder / MODEL)},
        counts=Counts(rows_in=in_split, rows_out=len(rows["train"]), rejected=in_split - len(rows["train"])),
        notes={
            "method": config.method,
            "loss": asdict(objective.config),
            "also": [term.model_dump() for term in config.also],
            "steps": trainer.total_steps(),
            "device": str(policy.device),
            "parity": gate.notes(),
            "validation_rows": len(validation),
        },
    )


def _rows(context: StageContext, split: str, scratch: Path, *, paired: bool) -> "MappedRows[Row]":
    """Training rows of one split, with stored reference log-probs; token ids stay in a file under `scratch`."""
    from ..training.mapped import Stored, pair_rows, unpaired_rows

    blocks = context.blocks("row_sequences")(["response_id", "role", "sequence_id", "split"])
    row_sequences = pl.concat([block.filter(pl.col("split") == split) for block in blocks])
    stored = Stored(context.blocks("sequences"), context.blocks("reference"), scratch / f"{split}.tokens")
    kept = _of_split(context, split, _PAIR_COLUMNS if paired else _UNPAIRED_COLUMNS, paired=paired)
    if paired:
        matched = row_sequences.filter(pl.col("role") == "matched").select("response_id", "sequence_id")
        return cast("MappedRows[Row]", pair_rows(kept, matched, stored))
    return cast("MappedRows[Row]", unpaired_rows(kept, row_sequences, stored))


def _of_split(context: StageContext, split: str, columns: Sequence[str], *, paired: bool) -> pl.DataFrame:
    """Columns of the pairs or unpaired rows of one split; no text is read."""
    prompts = context.read("splits").filter(pl.col("split") == split).select("prompt_id")
    rows = context.read_columns("pairs" if paired else "unpaired", ["prompt_id", *columns])
    return rows.join(prompts, on="prompt_id", how="semi")


def _loss_config(config: TrainConfig, rows: "MappedRows[Row]") -> Any:
    """The method's hyper-parameters, with the class counts of the training rows where it weighs classes."""
    from thumbline.losses import loss_config

    settings = dict(config.loss)
    if config.method == "kto":
        desirable = int(rows.table["label"].sum())
        settings = {"n_desirable": desirable, "n_undesirable": len(rows) - desirable} | settings
    return loss_config(config.method, settings)
