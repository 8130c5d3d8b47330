"""Methods trained side by side on one reference, and how much they learn from how many annotations."""

from .arms import Plan
from .curve import check_rows, plan_curve
from .curve_outcome import WITHIN, Curve, curve_of
from .curve_page import write_curve
from .methods import plan_methods
from .outcome import Outcome, outcome_of
from .page import write_outcome
from .running import ArmTrial, run_arms

__all__ = [
    "WITHIN",
    "ArmTrial",
    "Curve",
    "Outcome",
    "Plan",
    "check_rows",
    "curve_of",
    "outcome_of",
    "plan_curve",
    "plan_methods",
    "run_arms",
    "write_curve",
    "write_outcome",
]
