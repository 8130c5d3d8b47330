"""How far work is, in words, and when it will be done."""

import pytest

from thumbline.pipeline.progress import Progress, duration


def test_the_pace_is_that_of_this_process_alone():
    now = [100.0]
    progress = Progress("training (dpo)", 110, "steps", clock=lambda: now[0])
    assert progress.seconds_left() is None
    # What a killed process had done: no pace follows from it.
    progress.advance(30)
    assert (progress.done, progress.seconds_left()) == (30, None)
    assert progress.words("train") == "train step 30 of 110"
    for _ in range(10):
        now[0] += 3.0
        progress.advance(1)
    progress.note = "loss 0.6100  margin 0.020"
    # 70 steps of 3 seconds each.
    assert progress.seconds_left() == pytest.approx(210.0)
    assert progress.words("train") == "train step 40 of 110, loss 0.6100, margin 0.020, 4 min left"
    now[0] += 60.0
    assert progress.seconds_left() == pytest.approx(150.0)
    now[0] += 600.0
    assert progress.seconds_left() == 0.0


def test_what_is_no_step_is_counted_by_its_name():
    progress = Progress("tokenising", 12_000, "prompts")
    progress.advance(1_500)
    assert progress.words("sequences") == "sequences: tokenising, 1,500 of 12,000 prompts"
    assert progress.words() == "tokenising, 1,500 of 12,000 prompts"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (89.0, "89 s"), (91.0, "2 min"), (5_000.0, "83 min"), (9_000.0, "2.5 h"), (260_000.0, "3.0 days")],
)
def test_a_time_span_has_one_word(seconds, shown):
    assert duration(seconds) == shown
