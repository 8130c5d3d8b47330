"""Methods trained side by side on one reference, and how much they learn from how many annotations."""

from .arms import Plan
from .methods import plan_methods
from .outcome import Outcome, outcome_of
from .page import write_outcome
from .running import ArmTrial, check_arms, run_arms

__all__ = [
    "ArmTrial",
    "Outcome",
    "Plan",
    "check_arms",
    "outcome_of",
    "plan_methods",
    "run_arms",
    "write_outcome",
]
