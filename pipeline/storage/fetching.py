"""A stage's file from a run's address, held against what its manifest says of it."""

from pathlib import Path

from ..errors import TableError
from .digests import cached_digest
from .files import atomic_file
from .objects import Objects


def fetch(objects: Objects, name: str, path: Path, digest: str, stage: str) -> None:
    """Download a file, a second time where its bytes are others.

    Args:
        objects: What lies at the address.
        name: The file's name there.
        path: Where it goes.
        digest: What its manifest says.
        stage: Whose manifest.

    Raises:
        TableError: It is not there, or not what the stage wrote.
    """
    for last in (False, True):
        try:
            with atomic_file(path) as temporary:
                objects.get(name, temporary)
                found = cached_digest(temporary)
                if found != digest and last:
                    raise TableError(
                        f"{objects.address(name)}: its bytes are not those that stage '{stage}' wrote, by its "
                        f"manifest; it is damaged, and is not used. `thumbline run` with --from {stage} makes it again."
                    )
            if found == digest:
                return
            path.unlink()
        except FileNotFoundError as error:
            raise TableError(
                f"{objects.address(name)}: not there, though the manifest of stage '{stage}' names it. The stage may "
                f"have run again just now: try again. `thumbline run` with --from {stage} makes it again."
            ) from error
