"""A run at an address: it works in a folder of this machine, and each stage is published when it is done.

Below the address lie, for each stage, `STAGE/manifest.json` and the files that it names, in a folder of their own whose
name follows from their digests. Files are uploaded first and the manifest last, so that a reader sees a stage as it was
or as it is, whole; what no manifest names any more is deleted afterwards.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from ..errors import PipelineError, TableError
from . import leases
from .digests import cached_digest, digest_json
from .files import atomic_file, make_folder, write_text
from .holders import holder
from .leases import Lease
from .manifests import MANIFEST, Manifest, manifest_of, manifest_text, missing_outputs, read_manifest, recover_published
from .objects import Objects
from .set_aside import aside
from .working import adopt, digest_of, read_state, write_state

# How the last process ended, where that was not well.
ENDED: Final = "activity.json"
_ACTIVITY: Final = ".activity.json"
_CONFIG: Final = "config.yaml"
_ID_CHARACTERS: Final = 16
# A page that a person opens keeps its address.
_PLAIN: Final = frozenset({"report"})
_logger = logging.getLogger(__name__)
Say = Callable[[str], None]


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
        self._lease: Lease | None = None
        self._listed: dict[str, frozenset[str]] = {}
        make_folder(folder)
        self._state = read_state(folder)

    @contextmanager
    def leased(self, say: Say) -> Iterator[None]:
        """Hold the run against other processes; the lock of the working folder is held already.

        Args:
            say: Told of what a person should know.

        Raises:
            BusyError: Another process runs it.
        """
        lease = Lease(self._objects, self._state["worker"], self._folder / _ACTIVITY, say, leases.TERMS)
        try:
            lease.take()
            self._lease = lease
            try:
                yield
            finally:
                self._keep_ending()
        finally:
            self._lease = None
            lease.give_back()

    def check_held(self) -> None:
        """Raise BusyError where this process has lost the run to another."""
        if self._lease is not None:
            self._lease.check()

    def pull(self) -> None:
        """Take what stages say of themselves from the address; tables are fetched where they are read.

        What was finished here and has not reached the store stays, and is published by `publish_behind`. Everything
        else is taken as the store has it: what was deleted there is gone here.
        """
        names = [f"{stage}/{MANIFEST}" for stage in self._stages]
        found = self._objects.read_all([*names, _CONFIG])
        self._state = read_state(self._folder)
        self._listed.clear()
        if self._lease is not None:
            for stage in self._stages:
                recover_published(self._folder / stage)
        for stage, name in zip(self._stages, names, strict=True):
            self._settle(stage, found.get(name))
        self._keep_state()
        if _CONFIG in found:
            write_text(self._folder / _CONFIG, found[_CONFIG].decode("utf-8", errors="replace"))
        elif self._lease is None:
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
        self._confirm()
        there = self._objects.sizes(place)
        sizes = {name: (folder / name).stat().st_size for name in manifest.contents}
        todo = [name for name, size in sizes.items() if there.get(name) != size]
        for name in todo:
            self.check_held()
            self._objects.put(folder / name, f"{place}/{name}")
        text = manifest_text(manifest).encode()
        self._confirm()
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
                self._fetch(f"{stage}/{content_id(manifest)}/{name}", path, digest, stage)

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

    def push(self, folder: str, source: Path, names: Sequence[str]) -> None:
        """Upload files under their own names, in place of those that lie there.

        Args:
            folder: Below the address; empty for the run's own files.
            source: Where they lie here.
            names: Relative to both.
        """
        self._confirm()
        for name in names:
            self._objects.put(source / name, f"{folder}/{name}" if folder else name)

    def push_folder(self, name: str) -> None:
        """Upload a folder of the working folder, and delete what lies there under other names."""
        source = self._folder / name
        names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        self.push(name, source, [one for one in names if not one.startswith(".")])
        self._objects.remove([f"{name}/{one}" for one in self._objects.sizes(name) if one not in names])

    def set_aside(self, name: str) -> bool:
        """Give what lies there beside the stages, or a stage's page, another name, and take the stage's manifest away.

        Returns:
            Whether anything lay there.
        """
        self._confirm()
        if name in self._stages:
            self._objects.remove([f"{name}/{MANIFEST}"])
            self._state["seen"].pop(name, None)
            self._keep_state()
        before = aside(Path(name)).as_posix()
        if Path(name).suffix:
            moves = [(name, before)]
        else:
            own = [one for one in self._objects.sizes(name) if "/" not in one or name not in self._stages]
            moves = [(f"{name}/{one}", f"{before}/{one}") for one in own]
        moved = False
        for old, new in moves:
            try:
                self._objects.copy(old, new)
            except FileNotFoundError:
                continue
            self._objects.remove([old])
            moved = True
        return moved

    def forget_aside(self, name: str) -> None:
        """Delete what was put aside."""
        before = aside(Path(name)).as_posix()
        if Path(name).suffix:
            self._objects.remove([before])
        else:
            self._objects.remove([f"{before}/{one}" for one in self._objects.sizes(before)])

    def activity(self) -> tuple[str, bool]:
        """What the run's process says that it does, and whether it is alive; as it ended where none is."""
        now = holder(self._objects)
        if now is not None:
            began = {"process": now.process, "host": now.host, "started_at": now.since, "updated_at": now.since}
            return now.activity or json.dumps(began), now.seconds_left() > 0
        ended = self._objects.read(ENDED)
        return "" if ended is None else ended.decode("utf-8", errors="replace"), False

    def _keep_ending(self) -> None:
        """Publish how the process ends that runs this; nothing where it ends well."""
        path = self._folder / _ACTIVITY
        try:
            self.check_held()
            if path.is_file():
                self._objects.write(ENDED, path.read_bytes())
            else:
                self._objects.remove([ENDED])
        except PipelineError as error:
            # What ended the run is said already.
            _logger.info("How the run ended is not published: %s", error)

    def _confirm(self) -> None:
        if self._lease is not None:
            self._lease.confirm()

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

    def _fetch(self, name: str, path: Path, digest: str, stage: str) -> None:
        for last in (False, True):
            try:
                with atomic_file(path) as temporary:
                    self._objects.get(name, temporary)
                    found = cached_digest(temporary)
                    if found != digest and last:
                        raise TableError(
                            f"{self._objects.address(name)}: its bytes are not those that stage '{stage}' wrote, by "
                            f"its manifest; it is damaged, and is not used. `thumbline run` with --from {stage} "
                            f"makes it again."
                        )
                if found == digest:
                    return
                path.unlink()
            except FileNotFoundError as error:
                raise TableError(
                    f"{self._objects.address(name)}: not there, though the manifest of stage '{stage}' names it. The "
                    f"stage may have run again just now: try again. `thumbline run` with --from {stage} makes it again."
                ) from error

    def _forget_others(self, stage: str, place: str) -> None:
        """Delete files that no manifest names any more: of the stage as it was, or of an upload that ended half way."""
        kept = place.partition("/")[2]
        for name in self._objects.entries(stage):
            if name != kept and len(name) == _ID_CHARACTERS and "." not in name:
                self._objects.remove([f"{stage}/{name}/{one}" for one in self._objects.sizes(f"{stage}/{name}")])

    def _keep_state(self) -> None:
        write_state(self._folder, self._state, self.shown)
