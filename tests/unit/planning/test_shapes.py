import torch

from thumbline.pipeline.planning.ledger import Ledger
from thumbline.pipeline.planning.shapes import Shapes


def test_integers_are_real_and_floats_take_no_memory():
    with Shapes(Ledger()):
        ids = torch.arange(5)
        huge = torch.zeros(2**20, 2**20) + 1.0
        taken = huge[ids]
    assert ids.tolist() == [0, 1, 2, 3, 4]
    assert taken.shape == (5, 2**20)


def test_a_mask_of_real_values_says_how_many_places_a_shape_has():
    with Shapes(Ledger()):
        mask = torch.tensor([True, False, True])
        assert torch.zeros(3, 4)[mask].shape == (2, 4)


def test_flops_of_a_product_are_two_a_multiplication():
    shapes = Shapes(Ledger())
    with shapes:
        torch.zeros(3, 5) @ torch.zeros(5, 7)
    assert shapes.flops == 2 * 3 * 5 * 7


def test_what_is_checked_of_a_shape_is_fine():
    with Shapes(Ledger()):
        value = torch.zeros(3) + 1.0
        assert float(value.sum()) == 0.0
        assert value.isfinite().tolist() == [True, True, True]
        assert not bool((value != value[0]).any())


def test_the_ledger_knows_the_peak_and_what_it_was_for():
    ledger = Ledger()
    ledger.phase = "step"
    with Shapes(ledger):
        kept = torch.zeros(100)
        ledger.kind = "working"
        gone = torch.zeros(50)
        del gone
        ledger.kind = "head"
        small = torch.zeros(10)
    assert ledger.peaks["step"] == {"weights": 400, "working": 200}
    assert kept.shape != small.shape


def test_a_view_is_counted_once():
    ledger = Ledger()
    with Shapes(ledger):
        whole = torch.zeros(10, 10)
        part = whole[:5].view(-1)
    assert ledger.peaks["loading"].total() == 400
    assert part.numel() == 50
