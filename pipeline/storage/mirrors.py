"""A run at an address: it works in a folder of this machine, and each stage is published when it is done.

Below the address lie, for each stage, `STAGE/manifest.json` and the files that it names, in a folder of their own whose
name follows from their digests. Files are uploaded first and the manifest last, so that a reader sees a stage as it was
or as it is, whole; what no manifest names any more is deleted afterwards.
"""

import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from ..errors import BusyError, PipelineError
from .attached import Source
from .begun import BEGUN, Begun
from .beside import forget_put_aside, push_files, push_folder, put_aside
from .digests import digest_json
from .fetching import fetch
from .files import make_folder, write_text
from .manifests import (
    MANIFEST,
    Manifest,
    fingerprint_in,
    manifest_of,
    manifest_text,
    missing_outputs,
    read_manifest,
    recover_published,
    stage_of_partial,
)
from .objects import Objects
from .owning import Ownership, Say
from .uploads import Progress, shown, unseen
from .working import adopt, digest_of, read_state, write_state

_CONFIG: Final = "config.yaml"
_ID_CHARACTERS: Final = 16
# A page that a person opens keeps its address.
_PLAIN: Final = frozenset({"report"})
_logger = logging.getLogger(__name__)


def content_id(manifest: Manifest) -> str:
    """Name of the folder of a stage's files at an address: another one for other files."""
    return digest_json(dict(sorted(manifest.contents.items())))[:_ID_CHARACTERS]


class Mirror:
    """A run at an address, from the process that works in its folder here or only reads there.

    Attributes:
        shown: The address, without secrets.
        runs: The address of the folder of runs, as it was given.
    """

    def __init__(self, objects: Objects, runs: str, folder: Path, stages: Sequence[str]) -> None:
        """Nothing is asked of the store yet.

        Args:
            objects: What lies at the address.
            runs: The address of the folder of runs.
            folder: The working folder, which is made where it is not there.
            stages: Names of the stages of a run, in their order.
        """
        self._objects, self._folder, self._stages = objects, folder, tuple(stages)
        self.shown, self.runs = objects.shown, runs
        self._ownership = Ownership(objects, folder)
        self._listed: dict[str, frozenset[str]] = {}
        self._begun = Begun(objects)
        self._is_behind = False
        self._progress: Progress = unseen
        make_folder(folder)
        self._state = read_state(folder)

    @contextmanager
    def leased(self, say: Say) -> Iterator[None]:
        """Hold the run against other processes, as `Ownership.leased` says."""
        self._is_behind = False
        with self._ownership.leased(self._state["worker"], say):
            try:
                yield
            finally:
                self._progress = unseen

    def check_held(self) -> None:
        """Raise BusyError where this process has lost the run to another."""
        self._ownership.check()

    def activity(self) -> tuple[str, bool]:
        """What the run's process says that it does, and whether it is alive; as it ended where none is."""
        return self._ownership.activity()

    def pull(self) -> None:
        """Take what stages say of themselves from the address; tables are fetched where they are read.

        What was finished here and has not reached the store stays, and is published by `publish_behind`. Everything
        else is taken as the store has it: what was deleted there is gone here.
        """
        names = [f"{stage}/{MANIFEST}" for stage in self._stages]
        found = self._objects.read_all([*names, _CONFIG])
        self._state = read_state(self._folder)
        self._listed.clear()
        if self._ownership.is_held:
            for stage in self._stages:
                recover_published(self._folder / stage)
        for stage, name in zip(self._stages, names, strict=True):
            self._settle(stage, found.get(name))
        self._keep_state()
        if _CONFIG in found:
            write_text(self._folder / _CONFIG, found[_CONFIG].decode("utf-8", errors="replace"))
        elif not self._ownership.is_held:
            (self._folder / _CONFIG).unlink(missing_ok=True)

    def publish_behind(self) -> None:
        """Publish what a process finished here that ended before it had uploaded all of it."""
        for stage in self._stages:
            folder = self._folder / stage
            manifest = read_manifest(folder)
            if manifest is None or self._state["seen"].get(stage) == digest_of(folder / MANIFEST):
                continue
            if missing_outputs(folder, manifest):
                shutil.rmtree(folder)
            else:
                self.publish(stage, folder, manifest)

    def publish(self, stage: str, folder: Path, manifest: Manifest) -> None:
        """Upload a stage's files, then its manifest.

        Args:
            stage: Its name.
            folder: Where its files lie.
            manifest: With the digest of each file.

        Raises:
            BusyError: The run was lost to another process; nothing is visible then.
            PipelineError: The store refuses, or fails; the next start goes on with what has not arrived.
        """
        started, place = time.monotonic(), f"{stage}/{content_id(manifest)}"
        self._ownership.confirm()
        there = self._objects.sizes(place)
        sizes = {name: (folder / name).stat().st_size for name in manifest.contents}
        todo = [name for name, size in sizes.items() if there.get(name) != size]
        with shown(self._progress, f"upload of {stage}", sum(sizes[name] for name in todo)) as advance:
            for name in todo:
                self.check_held()
                self._objects.put(folder / name, f"{place}/{name}", advance)
        text = manifest_text(manifest).encode()
        self._ownership.confirm()
        self._objects.write(f"{stage}/{MANIFEST}", text)
        self._state["seen"][stage] = sha256(text).hexdigest()
        self._keep_state()
        self._listed.pop(stage, None)
        if stage in _PLAIN:
            self.push(stage, folder, list(sizes))
        self._forget_others(stage, place)
        _logger.info(
            "%s is published at %s: %d of %d files uploaded, %.1f MB, in %.1f s",
            stage,
            self._objects.address(place),
            len(todo),
            len(sizes),
            sum(sizes[name] for name in todo) / 1e6,
            time.monotonic() - started,
        )

    def bring(self, inner: str) -> None:
        """Fetch a stage's file or folder where it is not here.

        Args:
            inner: Its path in the working folder.

        Raises:
            TableError: It is not at the address any more, or not what its stage wrote.
        """
        stage, _, wanted = inner.partition("/")
        manifest = read_manifest(self._folder / stage) if stage in self._stages and wanted else None
        if manifest is None:
            return
        for name, digest in manifest.contents.items():
            path = self._folder / stage / name
            if (name == wanted or name.startswith(f"{wanted}/")) and not path.exists():
                fetch(self._objects, f"{stage}/{content_id(manifest)}/{name}", path, digest, stage)

    def holds(self, inner: str) -> bool:
        """Whether a stage's file, or one below it, is at the address; a stage's own files are listed once."""
        stage, _, wanted = inner.partition("/")
        manifest = read_manifest(self._folder / stage) if stage in self._stages else None
        if manifest is None or self._state["seen"].get(stage) != digest_of(self._folder / stage / MANIFEST):
            return False
        if stage not in self._listed:
            self._listed[stage] = frozenset(self._objects.sizes(f"{stage}/{content_id(manifest)}"))
        named = [name for name in manifest.contents if name == wanted or name.startswith(f"{wanted}/")]
        return bool(named) and self._listed[stage].issuperset(named)

    def source(self, inner: str) -> Source | None:
        """Where a stage's folder lies at the address; None where none of that name was published."""
        stage, _, wanted = inner.partition("/")
        manifest = read_manifest(self._folder / stage) if stage in self._stages and wanted else None
        if manifest is None:
            return None
        begin = f"{wanted}/"
        files = {
            name.removeprefix(begin): digest for name, digest in manifest.contents.items() if name.startswith(begin)
        }
        return Source(self.shown, stage, f"{stage}/{content_id(manifest)}/{wanted}", files) if files else None

    def push(self, folder: str, source: Path, names: Sequence[str]) -> None:
        """Upload files under their own names; see `beside.push_files`."""
        self._ownership.confirm()
        push_files(self._objects, folder, source, names)

    def push_folder(self, name: str) -> None:
        """Upload a folder of the working folder, and delete what lies there under other names."""
        self._ownership.confirm()
        push_folder(self._objects, self._folder / name, name)

    def set_aside(self, name: str) -> bool:
        """Give what lies there beside the stages, or a stage's page, another name, and take the stage's manifest away.

        Returns:
            Whether anything lay there.
        """
        self._ownership.confirm()
        if name in self._stages:
            self._objects.remove([f"{name}/{MANIFEST}"])
            self._state["seen"].pop(name, None)
            self._keep_state()
        return put_aside(self._objects, name, flat=name in self._stages)

    def forget_aside(self, name: str) -> None:
        """Delete what was put aside."""
        forget_put_aside(self._objects, name)

    def keep_begun(self, folder: Path, step: int) -> None:
        """Publish what a stage has begun; a store that does not take it stops nothing, which is said once.

        Raises:
            BusyError: The run was lost to another process.
        """
        fingerprint = fingerprint_in(folder)
        if not self._ownership.is_held or fingerprint is None:
            return
        try:
            self._begun.publish(stage_of_partial(folder), folder, fingerprint, step, self.check_held)
        except BusyError:
            raise
        except PipelineError as error:
            if not self._is_behind:
                self._ownership.say(f"{error} Until then a machine that is lost takes its checkpoints along.")
            self._is_behind = True

    def bring_begun(self, folder: Path, step: int) -> int | None:
        """Fetch what another machine has begun, and how far it was; None where what is here is as far, or further."""
        fingerprint = fingerprint_in(folder)
        if fingerprint is None:
            return None
        return self._begun.fetch(stage_of_partial(folder), folder, fingerprint, step)

    def report(self, progress: Progress) -> None:
        """Show large uploads by this from now on."""
        self._progress = progress

    def _settle(self, stage: str, theirs: bytes | None) -> None:
        folder, seen = self._folder / stage, self._state["seen"]
        ours = (folder / MANIFEST).read_bytes() if (folder / MANIFEST).is_file() else None
        now = None if theirs is None else sha256(theirs).hexdigest()
        if ours is not None and manifest_of(ours) is not None and theirs != ours and now == seen.get(stage):
            # Finished here since, and not published.
            return
        if theirs is None and folder.exists():
            shutil.rmtree(folder)
        elif theirs is not None and theirs != ours:
            adopt(folder, theirs)
        if now is None:
            seen.pop(stage, None)
        else:
            seen[stage] = now

    def _forget_others(self, stage: str, place: str) -> None:
        """Delete files that no manifest names any more: of the stage as it was, or of what was not done when it was."""
        kept = place.partition("/")[2]
        names = self._objects.entries(stage)
        if BEGUN in names:
            self._begun.forget(stage)
        for name in names:
            if name != kept and len(name) == _ID_CHARACTERS and "." not in name:
                self._objects.remove([f"{stage}/{name}/{one}" for one in self._objects.sizes(f"{stage}/{name}")])

    def _keep_state(self) -> None:
        write_state(self._folder, self._state, self.shown)
