"""The next round: answers of a trained model, judged or voted on, as new rows that it is trained on again."""

from .outcome import PAGE_FOLDER, write_rounds
from .plan import ROUND, RoundPlan, Wanted, plan_round, rounds_before
from .rows import VOTED
from .running import SPLIT, HandedOut, Made, run_round

__all__ = [
    "PAGE_FOLDER",
    "ROUND",
    "SPLIT",
    "VOTED",
    "HandedOut",
    "Made",
    "RoundPlan",
    "Wanted",
    "plan_round",
    "rounds_before",
    "run_round",
    "write_rounds",
]
