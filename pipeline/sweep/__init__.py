"""One run trained under many settings, over one stored reference: chosen on the validation split, tested once."""

from .grid import Axis, parse_axis
from .outcome import FinalResult, Outcome, trial_table
from .page import write_outcome
from .plan import BEST, Plan, Setting, Trial, plan_sweep
from .running import BEST_FILE, run_sweep
from .shared import Done, check_shared
from .trials import TrialResult, failure_of, is_done

__all__ = [
    "BEST",
    "BEST_FILE",
    "Axis",
    "Done",
    "FinalResult",
    "Outcome",
    "Plan",
    "Setting",
    "Trial",
    "TrialResult",
    "check_shared",
    "failure_of",
    "is_done",
    "parse_axis",
    "plan_sweep",
    "run_sweep",
    "trial_table",
    "write_outcome",
]
