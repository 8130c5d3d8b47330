import pytest

from tests.architectures import PADDED, SHARED, tiny_policy
from thumbline.pipeline.training.probe import with_layout


@pytest.mark.parametrize("name", sorted(SHARED))
def test_shared_prompts_and_packing_give_what_padding_gives(name):
    for layout in ("shared", "packed"):
        choice = with_layout(tiny_policy(name), layout)
        difference = choice.findings[0].difference
        assert difference.logps < 1e-5
        assert difference.gradient < 1e-4


@pytest.mark.parametrize("name", sorted(PADDED))
def test_what_segments_would_get_wrong_is_found_and_trained_with_padding(name):
    choice = with_layout(tiny_policy(name), "auto")
    assert choice.policy.layout == "padded"
    assert type(choice.policy.model).__name__ in choice.refusal()


def test_the_lists_hold_sixteen_architectures_and_more():
    assert len(SHARED) >= 16
