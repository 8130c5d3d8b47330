"""Running stages in order: each into a folder of its own name, whole or not at all, one process a run."""

import logging
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from ..config import RunConfig
from ..context import DEFAULT_SIZES, BatchSizes, Reporter, SilentReporter, StageContext
from ..ingest.refusing import refusal
from ..scale import open_spread
from ..storage.attached import report_there
from ..storage.files import remove_temporary
from ..storage.kept import changed_files, check_kept, check_kept_folder
from ..storage.manifests import (
    Manifest,
    link_stage,
    missing_outputs,
    open_partial,
    publish,
    read_manifest,
    recover_published,
)
from ..storage.set_aside import forget_aside
from ..troubles import in_words
from ..workers import Spread
from .activity import followed
from .data_checks import check_data
from .holding import held
from .locking import locked
from .outdated import REPORT, outdate
from .planning import fingerprint_of, input_digests, json_settings, read_stage, why_run
from .saved import save_config
from .stages import STAGES, Stage, producer_of
from .together import Together

_logger = logging.getLogger(__name__)


class Finished(NamedTuple):
    """What happened to a stage; whether an error that says why nothing comes after it is raised next."""

    stage: Stage
    action: Literal["ran", "skipped", "taken"]
    manifest: Manifest
    stops: bool = False


def run(
    config: RunConfig,
    stages: Sequence[Stage] = STAGES,
    *,
    forced: bool = False,
    reporter: Reporter | None = None,
    command: str = "",
    sizes: BatchSizes = DEFAULT_SIZES,
    source: Path | None = None,
    spread: Spread | None = None,
) -> Generator[Finished, None, None]:
    """Run `stages` in order, yielding each as it is done.

    Args:
        config: The run.
        stages: Which stages; those before the first must have finished already.
        forced: Run them whatever their fingerprints say.
        reporter: Where progress goes.
        command: The command line, kept for the report.
        sizes: How much is held at a time.
        source: Folder of another run. A stage that it has finished with the same fingerprint is taken from there: its
            files are linked, not copied.
        spread: Where tasks of a stage run that do not depend on each other; no table shows it. None: what
            `config.scale` says, from here on and until the last stage has been taken.

    Raises:
        PipelineError: What a stage says about its input, settings or machine; the stages before it are kept.
        InputError: The logs gave no event, or more of them was rejected than `events.most_rejected` allows, or no row
            that the method trains on. The stages so far are kept.
    """
    reporter = reporter or SilentReporter()
    with (
        in_words(folder=config.run_dir),
        held(config, reporter.say),
        followed(config.run_dir, reporter) as told,
        nullcontext(spread) if spread is not None else open_spread(config) as chosen,
        closing(Together(config, stages, forced=forced)) as together,
    ):
        report_there(config.run_dir, told.progress)
        remove_temporary(config.run_dir)
        save_config(config, command)
        whole = StageContext(config, config.run_dir, {}, told, config.run_dir, sizes, spread=chosen)
        for stage in stages:
            recover_published(config.run_dir / stage.name)
            fingerprint = fingerprint_of(config, stage)
            found = None if forced else _found(config, stage, fingerprint, source, told)
            finished = found or _run_stage(whole, stage, fingerprint, together)
            error = refusal(finished.manifest, config.events.most_rejected) if stage.name == "events" else None
            yield finished._replace(stops=error is not None)
            if error is not None:
                raise error
            if stage.name == "splits":
                check_data(config, stages)


def _found(
    config: RunConfig, stage: Stage, fingerprint: str, source: Path | None, reporter: Reporter
) -> Finished | None:
    """The stage where it is up to date, or another run has finished just the same; None where it has to run."""
    if why_run(config, stage, fingerprint) is None:
        manifest = read_stage(config, stage)
        assert manifest is not None
        return Finished(stage, "skipped", manifest)
    if source is None or not (source / stage.name).is_dir():
        return None
    with locked(source):
        folder = source / stage.name
        theirs = read_manifest(folder)
        if theirs is None or theirs.fingerprint != fingerprint:
            return None
        if missing_outputs(folder, theirs) or changed_files(folder, theirs):
            return None
        outdate(config.run_dir, read_stage(config, stage), theirs, reporter)
        link_stage(folder, config.run_dir / stage.name)
    return Finished(stage, "taken", theirs)


def tables_of(config: RunConfig, stage: Stage) -> dict[str, Path]:
    """Where the tables lie that a stage reads."""
    return {
        table: config.run_dir / producer_of(table).name / f"{table}.parquet"
        for table in stage.reads(config)
        if table in producer_of(table).outputs
    }


def _run_stage(whole: StageContext, stage: Stage, fingerprint: str, together: Together) -> Finished:
    config, reporter = whole.config, whole.reporter
    folder, tables = config.run_dir / stage.name, tables_of(config, stage)
    _check_inputs(config, stage, tables)
    together.adopt(stage, fingerprint)
    context = replace(whole, folder=open_partial(folder, fingerprint), tables=tables, fingerprint=fingerprint)
    _logger.info("%s begins: version %d, fingerprint %s, in %s", stage.name, stage.version, fingerprint, context.folder)
    started = time.monotonic()
    with reporter.stage(stage.name), in_words(stage.name, config.run_dir):
        result = together.run(stage, context)
    result.counts.check(stage.name)
    manifest = Manifest(
        stage=stage.name,
        fingerprint=fingerprint,
        version=stage.version,
        config=json_settings(stage, config),
        inputs=input_digests(config, stage),
        outputs=dict(result.outputs),
        files=dict(result.files),
        counts=result.counts,
        notes=dict(result.notes),
        seconds=round(time.monotonic() - started, 3),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    outdate(config.run_dir, read_stage(config, stage), manifest, reporter)
    published = publish(folder, manifest)
    if stage.name == REPORT:
        forget_aside(folder)
    return Finished(stage, "ran", published)


def _check_inputs(config: RunConfig, stage: Stage, tables: Mapping[str, Path]) -> None:
    """Refuse what a stage would read of others where it is not what they wrote.

    Raises:
        TableError: A table, or a file of a model, was changed.
    """
    for path in tables.values():
        check_kept(path)
    for name in set(stage.reads(config)) - set(tables):
        check_kept_folder(config.run_dir / producer_of(name).name / name)
