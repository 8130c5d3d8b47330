"""Evaluation of anything at hand: runs, scored rows, and pairs that models still have to score."""

from .asked import AnswerOptions, judge_sections
from .request import Gate, Request, check_gate, check_request, is_judged_request, read_request, track
from .rows import ReadOptions
from .scoring import ScoringOptions

__all__ = [
    "AnswerOptions",
    "Gate",
    "ReadOptions",
    "Request",
    "ScoringOptions",
    "check_gate",
    "check_request",
    "is_judged_request",
    "judge_sections",
    "read_request",
    "track",
]
