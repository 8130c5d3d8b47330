"""Votes to a thumbs model: trained on the training split, calibrated on the validation split.

Held-out answers are scored by the model as it lies on disk, as whoever judges with it will score answers.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from thumbline.evaluators.rate_calibration import Calibration, fit_calibration, why_not_calibrated

from ..config import RunConfig, ThumbsConfig
from ..context import StageContext, StageResult
from ..engines.adapters import adapter_digest, resolve_adapter
from ..engines.base import TokenSequence
from ..engines.loading import loading
from ..engines.models import model_digest, resolve_model, tokenizer_digest
from ..engines.scoring import scratch_folder
from ..errors import ConfigError, InputError
from ..evidence.slices import script_of
from ..storage.manifests import Counts
from ..tables import polars_schema
from ..training.reward.kinds import thumbs_kinds

if TYPE_CHECKING:
    from ..engines.thumbs_model import ThumbsModel
    from ..training.checkpoints import LogRow

VERSION = 1
INPUTS = ("unpaired", "pairs", "splits", "sequences", "row_sequences")
MODEL = "thumbs_model"
FOLDERS = (MODEL,)
OUTPUTS = ("thumbs_log", "thumbs_scores")

_READ: Final = ("response_id", "prompt_id", "completion", "label", "probability_desirable", "weight")
_TOKENS: Final = ("sequence_id", "prompt_token_ids", "completion_token_ids")
# Sequences that are scored between two steps of the progress bar.
_BLOCK_ROWS: Final = 512


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the untrained model and its adapter, or of the thumbs model that is there already."""
    if not config.thumbs.is_on:
        return {}
    model_dir = resolve_model(config.model, config.revision)
    digests = {"untrained_model": model_digest(model_dir), "tokenizer": tokenizer_digest(model_dir)}
    if config.thumbs.model is not None:
        return digests | {"thumbs_model": model_digest(resolve_model(config.thumbs.model))}
    if config.reference.adapter is not None:
        digests["adapter"] = adapter_digest(resolve_adapter(config.reference.adapter))
    return digests


def run(context: StageContext) -> StageResult:
    """Train, calibrate, write `thumbs_model`, `thumbs_log` and `thumbs_scores`; or empty tables."""
    config = context.config.thumbs
    if not config.is_on:
        empty = {table: context.write(table, pl.DataFrame(schema=polars_schema(table))) for table in OUTPUTS}
        return StageResult(outputs=empty, counts=Counts(rows_in=0, rows_out=0))
    with scratch_folder(context.folder) as scratch:
        made = _trained(context, scratch) if config.model is None else _taken(context, Path(config.model))
    rows, token_ids = held_out_rows(context)
    scored = rows.join(_scores(context, token_ids), on="sequence_id", how="inner", validate="m:1")
    calibration = calibrated(scored.filter(pl.col("split") == "validation"), config)
    said = [*made.said, *([calibration] if isinstance(calibration, str) else [])]
    for sentence in said:
        context.reporter.say(sentence)
    curve = None if isinstance(calibration, str) else calibration
    _write_calibration(context.folder / MODEL, curve)
    log = pl.DataFrame(made.log, schema=polars_schema("thumbs_log"), orient="row")
    return StageResult(
        outputs={
            "thumbs_log": context.write("thumbs_log", log),
            "thumbs_scores": context.write("thumbs_scores", with_rates(scored, curve)),
        },
        files={MODEL: _digest(context.folder / MODEL)},
        counts=made.counts,
        notes={**made.notes, "calibration": _facts(calibration, config), "held_out": scored.height, "said": said},
    )


class _Made(NamedTuple):
    """A thumbs model in the stage's folder.

    Attributes:
        log: Table `thumbs_log`.
        counts: Training rows.
        notes: Facts for the report.
        said: Sentences that a person should read.
    """

    log: "list[LogRow]"
    counts: Counts
    notes: dict[str, Any]
    said: list[str]


def _trained(context: StageContext, scratch: Path) -> _Made:
    # Imported here, so that a run without a thumbs model does not wait for torch and transformers.
    from ..engines.thumbs_model import product_dtype
    from ..training.checkpoints import remove_checkpoints
    from ..training.policy import choose_device
    from ..training.reward.model import load_reward_policy
    from ..training.reward.objective import RewardObjective
    from ..training.reward.rows import evenly, loop_settings, require_rows, thumbs_rows
    from ..training.reward.saving import save_thumbs_model
    from ..training.speed import SpeedMeter
    from ..training.stored import of_split
    from ..training.trainer import Trainer
    from ..training.watching import Onlooker

    config, adapter = context.config.thumbs, context.config.reference.adapter
    kinds, rows = thumbs_kinds(context.config), thumbs_rows(context, "train", scratch)
    require_rows(rows, kinds)
    model_dir = resolve_model(context.config.model, context.config.revision)
    dtype = product_dtype(config.dtype, choose_device(config.device))
    choice = load_reward_policy(
        model_dir,
        adapter=None if adapter is None else resolve_adapter(adapter),
        device=config.device,
        dtype=dtype,
        seed=config.seed,
        layers=config.layers,
    )
    settings, policy = loop_settings(config), choice.policy
    trainer = Trainer(
        policy,
        RewardObjective(config.micro_batch_rows),
        settings,
        rows,
        evenly(thumbs_rows(context, "validation", scratch), settings.validation_rows),
        context.folder,
        watch=Onlooker(context.reporter, [], SpeedMeter(policy, None)),
    )
    with context.reporter.progress(f"thumbs model ({config.method})", trainer.total_steps(), "steps") as advance:
        log = trainer.run(advance)
    said = save_thumbs_model(policy, model_dir, context.folder / MODEL)
    remove_checkpoints(context.folder)
    in_split = sum(of_split(context, "train", (), kind).height for kind in kinds)
    notes = {
        "method": config.method,
        "trained_on": {kind: of_split(context, "train", (), kind).height for kind in kinds},
        "steps": trainer.total_steps(),
        "device": str(policy.device),
        "dtype": dtype,
        "layout": choice.notes(),
    }
    return _Made(log, Counts(rows_in=in_split, rows_out=len(rows), rejected=in_split - len(rows)), notes, said)


def _taken(context: StageContext, model: Path) -> _Made:
    """A thumbs model that is there already, copied; its token ids must be the run's."""
    from transformers import AutoTokenizer

    source, own = resolve_model(str(model)), resolve_model(context.config.model, context.config.revision)
    with loading(f"thumbs.model: no tokenizer can be loaded from {source} or {own}", InputError):
        vocabularies = [AutoTokenizer.from_pretrained(folder).get_vocab() for folder in (source, own)]
    if vocabularies[0] != vocabularies[1]:
        raise ConfigError(
            f"thumbs.model: the tokenizer in {source} gives other token ids than that of the run's model, {own}; take "
            f"a thumbs model of the same kind, or train one with thumbs.method."
        )
    shutil.rmtree(context.folder / MODEL, ignore_errors=True)
    shutil.copytree(source, context.folder / MODEL)
    return _Made([], Counts(rows_in=0, rows_out=0), {"method": "taken", "model": str(model)}, [])


def held_out_rows(context: StageContext) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labelled rows of the validation and test splits that have a sequence, without texts, and those sequences."""
    held_out = pl.col("split") != "train"
    splits = context.read("splits", ["prompt_id", "group_id", "split"], held_out)
    matched = context.read("row_sequences", ["response_id", "sequence_id"], held_out & (pl.col("role") == "matched"))
    parts = [
        part.join(splits, on="prompt_id", how="inner", validate="m:1")
        .join(matched, on="response_id", how="inner", validate="1:1")
        # The answer's own, as that of sampled answers is.
        .with_columns(script=script_of(pl.col("completion").list.first().struct.field("content")))
        .drop("completion")
        for part in context.read_parts("unpaired", _READ)
    ]
    rows = pl.concat(parts)
    wanted = rows.select("sequence_id").unique()
    blocks = context.blocks("sequences")([*_TOKENS, "completion_token_count"])
    return rows, pl.concat([block.join(wanted, on="sequence_id", how="semi") for block in blocks]).sort("sequence_id")


def _scores(context: StageContext, sequences: pl.DataFrame) -> pl.DataFrame:
    """`sequence_id`, `score` and `token_count` of each sequence, under the model as it was written."""
    from ..engines.thumbs_model import open_thumbs_model

    config = context.config.thumbs
    model = open_thumbs_model(context.folder / MODEL, config.device, config.dtype)
    try:
        with context.reporter.progress("thumbs model's scores", sequences.height, "answers") as advance:
            scores = [score for part in _by_block(model, sequences) for score in _told(part, advance)]
    finally:
        model.close()
    return sequences.select("sequence_id", token_count="completion_token_count").with_columns(
        score=pl.Series(scores, dtype=pl.Float64)
    )


def _told(scores: list[float], advance: Any) -> list[float]:
    advance(len(scores))
    return scores


def _by_block(model: "ThumbsModel", sequences: pl.DataFrame) -> Iterator[list[float]]:
    for part in sequences.select(_TOKENS).iter_slices(_BLOCK_ROWS):
        entries = [TokenSequence(name, tuple(prompt), tuple(answer)) for name, prompt, answer in part.iter_rows()]
        yield model.scores(entries)


def calibrated(rows: pl.DataFrame, config: ThumbsConfig) -> Calibration | str:
    """What makes a thumbs-up rate of a score; a sentence where these rows are too few to say.

    It is fitted on labels as they are voted, not on `probability_desirable`: that is drawn towards one half by what was
    believed before a vote, and rates would be with it.

    Args:
        rows: Of the validation split: score, label and weight.
        config: Kind of the curve.
    """
    scores, weights = rows["score"].to_numpy(), rows["weight"].to_numpy()
    labels = rows["label"].cast(pl.Float64).to_numpy()
    reason = why_not_calibrated(labels, weights)
    if reason is not None:
        return (
            f"thumbs: no calibration, so that no rate is predicted: of the validation split {reason}. Enlarge "
            f"splits.validation."
        )
    return fit_calibration(scores, labels, weights, config.calibration)


def with_rates(rows: pl.DataFrame, calibration: Calibration | None) -> pl.DataFrame:
    """Table `thumbs_scores`.

    Args:
        rows: Scored rows of both splits.
        calibration: What makes a rate of a score; None leaves rates out.
    """
    rates = None if calibration is None else np.clip(calibration.rate(rows["score"].to_numpy()), 0.0, 1.0)
    probability = pl.lit(None, pl.Float64) if rates is None else pl.Series(rates, dtype=pl.Float64)
    columns = list(polars_schema("thumbs_scores", optional=True))
    return rows.with_columns(probability=probability).select(columns).sort("response_id")


def _write_calibration(folder: Path, calibration: Calibration | None) -> None:
    from ..engines.thumbs_model import CALIBRATION_FILE

    # A model that was there already may have brought one, which was fitted on another log.
    (folder / CALIBRATION_FILE).unlink(missing_ok=True)
    if calibration is not None:
        (folder / CALIBRATION_FILE).write_text(calibration.to_json(), encoding="utf-8")


def _digest(folder: Path) -> str:
    from ..engines.thumbs_model import thumbs_digest

    return thumbs_digest(folder)


def _facts(calibration: Calibration | str, config: ThumbsConfig) -> dict[str, Any]:
    if isinstance(calibration, str):
        return {"kind": config.calibration, "reason": calibration}
    return {
        "kind": calibration.kind,
        "rows": calibration.rows,
        "lowest_score": calibration.lowest,
        "highest_score": calibration.highest,
    }
