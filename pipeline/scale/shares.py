"""How a cluster is shared out among scoring engines."""

from typing import Any, NamedTuple, Protocol

from ..config import ScaleConfig
from ..errors import ConfigError
from .cluster import Size


class Place(Protocol):
    """A cluster, connected to when it is first asked for."""

    @property
    def ray(self) -> Any:
        """The library."""

    @property
    def size(self) -> Size:
        """What the cluster has."""


class Share(NamedTuple):
    """What engines take.

    Attributes:
        engines: How many at a time.
        gpus: Of each.
        cpus: Of each.
    """

    engines: int
    gpus: float
    cpus: float


def share_of(scale: ScaleConfig, tensor_parallel_size: int, size: Size) -> Share:
    """What engines take of a cluster, where the settings leave it open.

    Args:
        scale: The settings.
        tensor_parallel_size: GPUs that share one model.
        size: What the cluster has.

    Raises:
        ConfigError: One of this machine's own has fewer GPUs than an engine takes.
    """
    gpus = scale.engine_gpus
    if gpus is None:
        gpus = float(tensor_parallel_size) if size.gpus else 0.0
    if scale.address is None and gpus > size.gpus:
        raise ConfigError(
            f"scale.engine_gpus: an engine takes {gpus:g} GPUs, and this machine has {size.gpus:g}. Lower it, or "
            "name a cluster that has more: scale.address."
        )
    cpus = scale.engine_cpus
    if cpus is None:
        # As many as one alone would use: the number of threads may show in a number's last digits.
        cpus = 1.0 if gpus else min(size.cpus_of_one, max(1.0, size.cpus // (scale.engines or 1)))
    fits = size.gpus // gpus if gpus else size.cpus // cpus
    return Share(scale.engines or max(1, int(fits)), gpus, cpus)
