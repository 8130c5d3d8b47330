"""Where tasks and scoring engines run: on this machine, or on a Ray cluster; Ray is imported where it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..config import RunConfig
from ..workers import LocalSpread, Spread


@contextmanager
def open_spread(config: RunConfig) -> Iterator[Spread]:
    """Where a run's settings say that its tasks run; a cluster of one's own has ended when the block has.

    Raises:
        MissingDependencyError: `scale.runner` is ray, which is not installed.
    """
    if config.scale.runner == "local":
        yield LocalSpread()
        return
    # Imported here: a run on this machine alone takes nothing of it.
    from .tasks import RaySpread

    with RaySpread(config) as spread:
        yield spread
