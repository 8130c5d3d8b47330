"""Pairs and models to scored pairs: each model tokenises and scores the same texts, with the store before the engine.

A pair that one model cannot take (too long for it, or empty to its tokenizer) is left out for all: models are
compared on the same rows only.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import EngineConfig, SequencesConfig
from ..context import Reporter
from ..engines.adapters import adapter_digest, resolve_adapted
from ..engines.encoded import sequence_columns
from ..engines.encoding import encoder_for
from ..engines.noticed import count_noticed, told
from ..engines.refusals import Refusals
from ..engines.scoring import Scorer, score_frame
from ..errors import ConfigError, InputError
from ..report import Source
from ..storage.digests import digest_json
from ..tables import polars_schema
from .rows import PairRows, ReadOptions, read_pairs
from .subject import Subject

_SIDES: Final = ("chosen", "rejected")
_SHARD_ROWS: Final = 512


class ScoringOptions(NamedTuple):
    """How pairs are scored.

    Attributes:
        engine: Which engine, and its settings.
        text: Template, length and truncation.
        store: Folder of stored log-probs.
    """

    engine: EngineConfig
    text: SequencesConfig
    store: Path


class ScoredPairs(NamedTuple):
    """Pairs under every model.

    Attributes:
        frame: Table `scored_pairs` with the columns to slice by, sorted by model and pair_id.
        reference: Name of the reference model; None where there is none.
        dropped: Pairs that some model could not take, by reason.
        models: What each name stands for: digest of the weights and the adapter, engine, dtype.
        said: Sentences on what was changed or left out of the texts.
    """

    frame: pl.DataFrame
    reference: str | None
    dropped: dict[str, int]
    models: dict[str, dict[str, Any]]
    said: tuple[str, ...] = ()


class _Sides(NamedTuple):
    """One model's log-probs.

    Attributes:
        frame: pair_id, and logps and token_count of each side.
        dropped: pair_id, reason and detail of each pair that the model cannot take.
        notes: What scored.
        noticed: Answers of each name of `engines.noticed.NOTICED`.
    """

    frame: pl.DataFrame
    dropped: pl.DataFrame
    notes: dict[str, Any]
    noticed: dict[str, int]


def score_pairs(
    pairs: PairRows, models: Sequence[str], reference: str | None, options: ScoringOptions, reporter: Reporter
) -> ScoredPairs:
    """Scored pairs of every model; with a reference it is one of them, and ties on every pair.

    Args:
        pairs: The pairs.
        models: Models to evaluate: hub ids, folders, adapters, or `demo`.
        reference: The model that rewards are measured against; None for rewards without one.
        options: Engine, text and store.
        reporter: Where progress goes.

    Raises:
        ConfigError: Two models are the same.
        InputError: A model cannot be had, or no pair is left that all of them take.
    """
    names = model_names([*models, *([reference] if reference is not None else [])])
    sides = {name: _score(pairs, name, model, options, reporter) for name, model in names.items()}
    base = None if reference is None else next(name for name, model in names.items() if model == reference)
    dropped = pl.concat([part.dropped for part in sides.values()])
    left = pairs.frame.select("pair_id", "group_id", *pairs.slices).join(
        dropped.select("pair_id").unique(), on="pair_id", how="anti"
    )
    refusals = Refusals()
    refusals.add(dropped.unique("pair_id", keep="first", maintain_order=True))
    longest = options.text.max_tokens
    if left.is_empty():
        raise InputError(
            f"no pair is left that every model takes ({refusals.in_words()}).{refusals.advice(longest, 'option')}"
        )
    said = [*_told(sides, 2 * pairs.frame.height), *refusals.told("pairs left out for all models,", longest, "option")]
    frames = [_rows(left, name, sides[name], None if base is None else sides[base]) for name in sorted(names)]
    return ScoredPairs(
        pl.concat(frames),
        base,
        dict(sorted(refusals.reasons.items())),
        {name: part.notes for name, part in sides.items()},
        tuple(said),
    )


def _told(sides: dict[str, _Sides], answers: int) -> list[str]:
    """What was noticed under each model, once where they are all alike."""
    found = {name: told(part.noticed, answers, "answers") for name, part in sides.items()}
    if len({tuple(sentences) for sentences in found.values()}) == 1:
        return next(iter(found.values()))
    return [f"{name}: {sentence}" for name, sentences in found.items() for sentence in sentences]


def model_names(models: Sequence[str]) -> dict[str, str]:
    """A short name for each model: a hub id as it is, a folder's last part, or all of it where two would be alike.

    Raises:
        ConfigError: A model is named twice.
    """
    repeated = [model for model, count in Counter(models).items() if count > 1]
    if repeated:
        raise ConfigError(f"--model {repeated[0]}: named twice; a model is scored once, the reference with it.")
    short = {model: _folder_name(Path(model).resolve()) if Path(model).is_dir() else model for model in models}
    counts = Counter(short.values())
    return {(name if counts[name] == 1 else model): model for model, name in short.items()}


def _folder_name(folder: Path) -> str:
    """The last part; of `RUN/train/model`, where a run puts its model, the run's name."""
    return folder.parts[-3] if folder.parts[-2:] == ("train", "model") else folder.name


def _score(pairs: PairRows, name: str, model: str, options: ScoringOptions, reporter: Reporter) -> _Sides:
    adapted = resolve_adapted(model)
    text = options.text
    try:
        encoder = encoder_for(adapted.tokenizer_dir, text)
    except InputError as error:
        raise InputError(f"--model {name}: {error} Here: --template plain.") from error
    columns = ("pair_id", "prompt", "tools")
    parts = [pairs.frame.select(*columns, side=pl.lit(side), **_answer_of(side)) for side in _SIDES]
    long = pl.concat(parts).sort("pair_id", maintain_order=True)
    encoded = list(encoder.encode_rows(long, group="pair_id"))
    table = sequence_columns(long.select("pair_id", "side"), encoded)
    dropped = table.filter(pl.col("reason").is_not_null()).select("pair_id", "reason", "detail")
    kept = table.join(dropped.select("pair_id").unique(), on="pair_id", how="anti").drop("reason")
    sequences = kept.drop("pair_id", "side").unique("sequence_id", keep="first", maintain_order=True)
    adapter = None if adapted.adapter is None else str(adapted.adapter)
    scorer = Scorer(adapted.model_dir, options.engine.model_copy(update={"adapter": adapter}), str(options.store))
    scored = score_frame(sequences, scorer, _SHARD_ROWS, reporter, f"log-probs of {name}")
    logps = kept.select("pair_id", "side", "sequence_id").join(
        scored.frame, on="sequence_id", how="left", validate="m:1"
    )
    notes = scored.notes
    if adapted.adapter is not None:
        # The digest names the whole model: two adapters of one base are two models.
        notes = notes | {"model": digest_json([notes["model"], adapter_digest(adapted.adapter)])}
    return _Sides(_wide(logps), dropped, notes, count_noticed(table))


def _answer_of(side: str) -> dict[str, pl.Expr]:
    answer = pl.col(side).list.first().struct
    return {"completion": answer.field("content"), "completion_extra": answer.field("extra")}


def _wide(logps: pl.DataFrame) -> pl.DataFrame:
    parts = {
        side: logps.filter(pl.col("side") == side).select(
            "pair_id", pl.col("logps").alias(f"{side}_logps"), pl.col("token_count").alias(f"{side}_token_count")
        )
        for side in _SIDES
    }
    return parts["chosen"].join(parts["rejected"], on="pair_id", how="inner", validate="1:1")


def _rows(left: pl.DataFrame, name: str, policy: _Sides, reference: _Sides | None) -> pl.DataFrame:
    rows = left.join(policy.frame, on="pair_id", how="inner", validate="1:1")
    rows = rows.rename({f"{side}_logps": f"policy_{side}_logps" for side in _SIDES})
    if reference is None:
        rows = rows.with_columns(pl.lit(None, pl.Float64).alias(f"reference_{side}_logps") for side in _SIDES)
    else:
        columns = [pl.col(f"{side}_logps").alias(f"reference_{side}_logps") for side in _SIDES]
        rows = rows.join(reference.frame.select("pair_id", *columns), on="pair_id", how="inner", validate="1:1")
    # These data sets say which answer is better, not how surely: the label is taken at its word.
    rows = rows.with_columns(model=pl.lit(name), chosen_better_probability=pl.lit(1.0))
    own = list(polars_schema("scored_pairs"))
    return rows.select(*own, *(column for column in left.columns if column not in own)).sort("pair_id")


def score_subject(
    location: str,
    models: Sequence[str],
    reference: str | None,
    reading: ReadOptions,
    scoring: ScoringOptions,
    reporter: Reporter,
) -> Subject:
    """Pairs of a file or a hub data set, scored by `models`.

    Raises:
        ConfigError: An option does not hold.
        InputError: No pair can be read, a model cannot be had, or no pair is left.
    """
    pairs = read_pairs(location, reading)
    reporter.say(pairs.told())
    scored = score_pairs(pairs, models, reference, scoring, reporter)
    for sentence in scored.said:
        reporter.say(sentence)
    names = list(scored.models)
    baseline = scored.reference or (names[0] if len(names) > 1 else None)
    return Subject(
        name=Path(location).stem if Path(location).is_file() else location,
        pairs=scored.frame,
        unpaired=None,
        baseline=baseline,
        focus=next((name for name in names if name != baseline), None),
        reward="implicit" if scored.reference is not None else "mean_logps",
        slices=pairs.slices,
        sources=(Source(location, pairs.records, pairs.digest),),
        models=scored.models,
        tables={"pairs": pairs.frame.select("pair_id", "prompt", "tools", "chosen", "rejected")},
        notes=(pairs.told(), *scored.said),
    )
