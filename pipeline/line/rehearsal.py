"""What a dry run finds of data that no stage has read yet: a small log is prepared aside, and that is thrown away."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ..config import RunConfig
from ..reading.inputs import expand_inputs
from .data_checks import check_data
from .planning import recorded
from .running import run
from .stages import Stage, select

# Some seconds of a core (`tests/benchmarks/bench_prepare.py`).
_MOST_BYTES: Final = 100 << 20
_LAST: Final = "splits"


def rehearse(config: RunConfig, stages: Sequence[Stage]) -> str | None:
    """Hold the logs of a run against its method, where the run's own stages have not been made.

    Args:
        config: The run; nothing is written into its folder.
        stages: Those that are asked for.

    Returns:
        A sentence where that was not done; None where it was, or where there is nothing to find out.

    Raises:
        InputError: The logs give no rows, or none that the method trains on, with the reason and the way out.
    """
    of_data = select(None, _LAST)
    if {stage.name for stage in stages} <= {stage.name for stage in of_data} or recorded(config, of_data):
        return None
    entries = config.events.inputs
    if any(":" in entry and not Path(entry).exists() for entry in entries):
        return _left("the logs lie elsewhere")
    size = sum(file.path.stat().st_size for file in expand_inputs(entries).files)
    if size > _MOST_BYTES:
        return _left(f"the logs have {size / 1e6:,.0f} MB")
    with TemporaryDirectory(prefix="thumbline-") as folder:
        aside = config.model_copy(update={"runs": folder})
        for _ in run(aside, of_data):
            pass
        check_data(aside, stages)
    return None


def _left(reason: str) -> str:
    return (
        f"Whether the data fits the method was not looked at, since {reason}: `--until {_LAST}` prepares it, and a run "
        f"stops there, before anything is scored, where it does not."
    )
