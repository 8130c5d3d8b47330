"""The care of a store of log-probs: what it holds, whether the numbers still come out, and what nobody refers to."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from ..config import RunConfig
from ..errors import ConfigError
from ..storage.kept import trusted_manifest
from ..storage.manifests import partial_dir
from ..storage.tables import iter_table
from .rows import Request, named_sequences

if TYPE_CHECKING:
    from ..engines.upkeep import References, Verification

_SCORED_STAGES: Final = ("reference", "policy")
_ASKED: Final = "generations"


def references_of(runs: Path) -> "References":
    """What the runs in a folder refer to; finished ones under their keys, others under any.

    Raises:
        ConfigError: There is no run.
    """
    from ..engines.upkeep import References, sorted_ids

    folders = sorted(path.parent for path in runs.glob("*/config.yaml"))
    if not folders:
        raise ConfigError(f"{runs}: no run here, so nothing would be kept. Name the folder of your runs with --runs.")
    by_key: dict[str, list[pl.Series]] = {}
    by_any_key: list[Path] = []
    for folder in folders:
        for stage in _SCORED_STAGES:
            key = _store_key(folder / stage)
            if key is not None:
                by_key.setdefault(key, []).extend(_ids(folder / stage / f"{stage}.parquet"))
        for key, ids in _of_answers(folder):
            by_key.setdefault(key, []).append(ids)
        if _store_key(folder / "reference") is None or any(
            partial_dir(folder / name).exists() for name in (*_SCORED_STAGES, _ASKED)
        ):
            by_any_key.append(folder / "sequences" / "sequences.parquet")
    unfinished = [path for path in by_any_key if path.is_file()]
    return References(
        {key: sorted_ids(ids) for key, ids in by_key.items()},
        sorted_ids(ids for path in unfinished for ids in (*_ids(path), *_prompts(path))),
        frozenset(key for folder in folders for key in _of_other_templates(folder)),
    )


def _of_answers(folder: Path) -> Iterator[tuple[str, pl.Series]]:
    """Each key that a run's sampled answers and their log-probs lie under, with their prompts or sequences."""
    from ..engines.encoded import prompt_digests, sequence_ids

    notes = _asked_notes(folder)
    if not notes:
        return
    columns = ["prompt_id", "model", "completion_token_ids"]
    answers = pl.concat(iter_table(folder / _ASKED / "generations.parquet", "generations", columns))
    path = folder / _ASKED / "generation_prompts.parquet"
    prompts = pl.concat(iter_table(path, "generation_prompts", ["prompt_id", "prompt_token_ids"]))
    rows = answers.join(prompts, on="prompt_id", how="left", validate="m:1")
    if notes["reference_key"] is not None:
        yield notes["reference_key"], rows.select(sequence_ids()).to_series()
    for label, model in notes["models"].items():
        own = rows.filter(pl.col("model") == label)
        yield model["store_key"], prompts.select(prompt_digests()).to_series()
        yield model["scored_under"], own.select(sequence_ids()).to_series()


def _of_other_templates(folder: Path) -> Iterator[str]:
    """Keys of models that wrote the prompts by templates of their own, which no table holds."""
    for model in _asked_notes(folder).get("models", {}).values():
        if model["renders"]:
            yield from (model["store_key"], model["scored_under"])


def _asked_notes(folder: Path) -> Mapping[str, Any]:
    """Notes of a stage that sampled; none where it did not."""
    manifest = trusted_manifest(folder / _ASKED)
    return manifest.notes if manifest is not None and "models" in manifest.notes else {}


def _store_key(stage_dir: Path) -> str | None:
    manifest = trusted_manifest(stage_dir)
    return None if manifest is None else manifest.notes.get("store_key")


def _ids(path: Path) -> Iterator[pl.Series]:
    for block in iter_table(path, path.stem, ["sequence_id"]):
        yield block["sequence_id"]


def _prompts(path: Path) -> Iterator[pl.Series]:
    """The names that answers to a run's prompts have in the store."""
    from ..engines.encoded import prompt_digests

    for block in iter_table(path, path.stem, ["prompt_token_ids"]):
        yield block.select(prompt_digests()).to_series()


class Swept(NamedTuple):
    """What `gc` found.

    Attributes:
        files: Files that nothing refers to.
        rows: Sequences in them.
        size: Bytes.
    """

    files: int
    rows: int
    size: int


def sweep(store: str, runs: Path, older_than_hours: float, *, delete: bool) -> Swept:
    """Find, and delete where asked to, the files of a store that no run refers to.

    Args:
        store: Folder or address.
        runs: Folder whose runs count.
        older_than_hours: Files written more recently are kept.
        delete: Delete them; else only count.
    """
    from ..engines.upkeep import garbage
    from ..storage.folders import open_folder

    folder, references = open_folder(store), references_of(runs)
    before = datetime.now(UTC) - timedelta(hours=older_than_hours)
    unused = list(garbage(folder, references, before.timestamp()))
    for entry in unused if delete else []:
        folder.remove(entry.path)
    return Swept(len(unused), sum(entry.rows for entry in unused), sum(entry.size for entry in unused))


def verify_run(config: RunConfig, rows: int, seed: int) -> "Verification":
    """Score a sample of a run's sequences again and compare with the store.

    Raises:
        InputError: The run has no sequences yet.
    """
    from ..engines.models import resolve_model
    from ..engines.scoring import Scorer, scratch_folder
    from ..engines.upkeep import verify

    table = config.run_dir / "sequences" / "sequences.parquet"
    scorer = Scorer(resolve_model(config.model, config.revision), config.reference, config.store)
    with scratch_folder(config.run_dir) as scratch:
        return verify(lambda columns: iter_table(table, "sequences", columns), scorer, rows, seed, scratch)


def verify_rows(request: Request, rows: int, seed: int) -> "Verification":
    """Score a sample of a user's own rows again and compare with the store."""
    from ..engines.feeding import blocks_of
    from ..engines.scoring import Scorer, scratch_folder
    from ..engines.upkeep import verify

    named, model_dir = named_sequences(request)
    scorer = Scorer(model_dir, request.engine, request.store)
    with TemporaryDirectory() as folder, scratch_folder(Path(folder)) as scratch:
        return verify(blocks_of(named), scorer, rows, seed, scratch)


def store_facts(store: str) -> list[Mapping[str, Any]]:
    """One row a key of a store: what it is of, and how much is there."""
    from ..engines.upkeep import survey
    from ..storage.folders import open_folder

    return [
        {
            "key": facts.name[:8],
            "model": facts.parts.get("model", "?")[:8],
            "engine": facts.parts.get("engine", "?"),
            "route": facts.parts.get("route", "?"),
            "dtype": facts.parts.get("dtype", "?"),
            "shards": facts.shards,
            "sequences": facts.rows,
            "tokens": facts.tokens,
            "bytes": facts.size,
            "broken": len(facts.broken),
        }
        for facts in survey(open_folder(store))
    ]
