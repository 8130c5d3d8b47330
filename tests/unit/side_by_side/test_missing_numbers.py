"""A number that there is not says why, with the seed and the method that it is missing of."""

from types import SimpleNamespace

from thumbline.pipeline.side_by_side.measures import _cells
from thumbline.pipeline.side_by_side.scores import Scores, reasons_of
from thumbline.pipeline.side_by_side.words import _missing
from thumbline.pipeline.sweep.measures import Value

REFUSED = "refused: 12.5% of its answers have scores outside of what the calibration saw"
SOME = Value(0.5, 0.4, 0.6, 24, 24)
NONE = Value(None, None, None, 24, 24)


def test_only_what_is_missing_and_was_explained_has_a_reason():
    found = ("predicted_thumbs_up", "rate")
    rows = {
        (*found, "dpo"): {"value": None, "reason": REFUSED},
        (*found, "kto"): {"value": 0.5, "reason": "1 of 24 answers has no score"},
        (*found, "ipo"): {"value": None, "reason": None},
    }
    assert reasons_of(rows, found, ["dpo", "kto", "ipo", "ppo"]) == {"dpo": REFUSED}


def test_the_page_names_seed_and_method_of_a_number_that_there_is_not():
    seeds = [Scores({"dpo": SOME, "kto": SOME}, {}), Scores({"dpo": NONE, "kto": SOME}, {}, {"dpo": REFUSED})]
    cells = _cells(seeds, ["dpo", "kto"], 0.95)
    assert cells["dpo"].average is None and cells["dpo"].reasons == (None, REFUSED)
    assert cells["kto"].average is not None
    arms = [SimpleNamespace(name=name, spec=SimpleNamespace(title=name.upper())) for name in ("dpo", "kto")]
    plan = SimpleNamespace(arms=arms, seeds=(0, 1), arm=lambda name: next(arm for arm in arms if arm.name == name))
    outcome = SimpleNamespace(plan=plan, measures=("thumbs_up",), cell=lambda _, arm: cells[arm])
    assert _missing(outcome) == [
        f"Predicted thumbs-up rate: none of DPO with seed 1, so none over the seeds: {REFUSED}."
    ]
