"""Running stages in order: each into a folder of its own name, whole or not at all, one process a run."""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from ..config import RunConfig
from ..context import DEFAULT_SIZES, BatchSizes, Reporter, SilentReporter, StageContext
from ..errors import PipelineError
from ..storage.files import make_folder
from ..storage.manifests import Manifest, open_partial, publish, recover_published
from .planning import fingerprint_of, input_digests, json_settings, read_stage, why_run
from .saved import save_config
from .stages import STAGES, Stage, producer_of


class Finished(NamedTuple):
    """What happened to a stage."""

    stage: Stage
    action: Literal["ran", "skipped"]
    manifest: Manifest


def run(
    config: RunConfig,
    stages: Sequence[Stage] = STAGES,
    *,
    forced: bool = False,
    reporter: Reporter | None = None,
    command: str = "",
    sizes: BatchSizes = DEFAULT_SIZES,
) -> Iterator[Finished]:
    """Run `stages` in order, yielding each as it is done.

    Args:
        config: The run.
        stages: Which stages; those before the first must have finished already.
        forced: Run them whatever their fingerprints say.
        reporter: Where progress goes.
        command: The command line, kept for the report.
        sizes: How much is held at a time.

    Raises:
        PipelineError: What a stage says about its input, settings or machine; the stages before it are kept.
    """
    make_folder(config.run_dir)
    with _locked(config.run_dir):
        save_config(config, command)
        for stage in stages:
            yield _run_stage(config, stage, forced, reporter or SilentReporter(), sizes)


def _run_stage(config: RunConfig, stage: Stage, forced: bool, reporter: Reporter, sizes: BatchSizes) -> Finished:
    folder = config.run_dir / stage.name
    recover_published(folder)
    fingerprint = fingerprint_of(config, stage)
    if not forced and why_run(config, stage, fingerprint) is None:
        manifest = read_stage(config, stage)
        assert manifest is not None
        return Finished(stage, "skipped", manifest)
    context = StageContext(
        config=config,
        folder=open_partial(folder, fingerprint),
        tables={table: config.run_dir / producer_of(table).name / f"{table}.parquet" for table in stage.inputs},
        reporter=reporter,
        run_dir=config.run_dir,
        sizes=sizes,
    )
    started = time.monotonic()
    result = stage.run(context)
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
    publish(folder, manifest)
    return Finished(stage, "ran", manifest)


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold the run's lock; the system frees it when the process ends, however it ends."""
    descriptor = os.open(run_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(f"{run_dir}: another process is running this run. Wait for it, or stop it.") from None
        yield
    finally:
        os.close(descriptor)
