"""The stages in order, and the runner that skips what is up to date and resumes what is not.

A stage is up to date when its manifest's fingerprint is the one that its code version, its settings and the
digests of its inputs give now. A stage that runs again and writes the same bytes leaves the stages after it up
to date.
"""

from .activity import Activity, read_activity
from .checks import check_planned, check_run
from .following import follow
from .holding import held, is_run_at, open_run, see
from .locking import locked
from .outdated import consistent
from .planning import Planned, fingerprint_of, plan, read_stage, recorded
from .rehearsal import rehearse
from .rejected import Rejected, rejected, untold
from .rows import first_rows
from .running import Finished, run
from .saved import CONFIG_FILE, load_saved_config
from .stages import STAGE_NAMES, STAGES, Stage, producer_of, select, stage_named
from .standing import Standing, standing
from .telling import stage_lines

__all__ = [
    "CONFIG_FILE",
    "STAGES",
    "STAGE_NAMES",
    "Activity",
    "Finished",
    "Planned",
    "Rejected",
    "Stage",
    "Standing",
    "check_planned",
    "check_run",
    "consistent",
    "fingerprint_of",
    "first_rows",
    "follow",
    "held",
    "is_run_at",
    "load_saved_config",
    "locked",
    "open_run",
    "plan",
    "producer_of",
    "read_activity",
    "read_stage",
    "recorded",
    "rehearse",
    "rejected",
    "run",
    "see",
    "select",
    "stage_lines",
    "stage_named",
    "standing",
    "untold",
]
