"""Who says how good an answer is: a judge a file, each a line in `registry.py`."""

from .base import Answer, AnswerPair, Judgement, JudgeSpec, PairwiseJudge, PointwiseJudge, Preference, Surroundings
from .registry import JUDGES, check_judges, judge_names, judge_spec

__all__ = [
    "JUDGES",
    "Answer",
    "AnswerPair",
    "JudgeSpec",
    "Judgement",
    "PairwiseJudge",
    "PointwiseJudge",
    "Preference",
    "Surroundings",
    "check_judges",
    "judge_names",
    "judge_spec",
]
