"""Evaluation of anything at hand: runs, scored rows, and pairs that models still have to score."""

from pipeline.evaluation.request import Gate, Request, check_gate, check_request, read_request, track
from pipeline.evaluation.rows import ReadOptions
from pipeline.evaluation.scoring import ScoringOptions

__all__ = [
    "Gate",
    "ReadOptions",
    "Request",
    "ScoringOptions",
    "check_gate",
    "check_request",
    "read_request",
    "track",
]
