"""Steps reach a tracker once and in order; a tracker that fails, or never answers, does not stop who measured them."""

import threading

from thumbline.pipeline.tracking import Delivery


class Recording:
    """A tracker in memory that fails as it is told."""

    def __init__(self, held=None, failing=()):
        self.logged, self.ended = [], None
        self._held, self._failing = held or {}, list(failing)

    def held(self, name):
        return self._held.get(name, -1)

    def log(self, step, values):
        if self._failing and self._failing.pop(0):
            raise ConnectionError("no route to host\nsecond line")
        self.logged.append((step, dict(values)))

    def close(self, *, failed):
        self.ended = failed


def delivered(tracker, steps, said=None, failed=False, **other):
    delivery = Delivery("fake", tracker, (said if said is not None else []).append, **other)
    for step in steps:
        delivery.send(step, {"train/loss": step / 10, "train/accuracy": 0.5})
    delivery.close(failed=failed)


def test_steps_come_in_order_and_the_run_is_ended():
    tracker, said = Recording(), []
    delivered(tracker, range(5), said)
    assert [step for step, _ in tracker.logged] == [0, 1, 2, 3, 4]
    assert (tracker.ended, said) == (False, [])
    delivered(failing := Recording(), [], failed=True)
    assert failing.ended is True


def test_what_the_tracker_holds_already_is_not_sent_again():
    tracker = Recording(held={"train/loss": 2, "train/accuracy": 1})
    delivered(tracker, range(4))
    assert tracker.logged == [(2, {"train/accuracy": 0.5}), (3, {"train/loss": 0.3, "train/accuracy": 0.5})]


def test_a_step_that_failed_is_delivered_later_and_that_is_said_once():
    tracker, said = Recording(failing=[False, True, True, False]), []
    delivered(tracker, range(6), said)
    assert [step for step, _ in tracker.logged] == [0, 1, 2, 3, 4, 5]
    assert said == ["fake failed (ConnectionError: no route to host); training goes on, and tries again."]


def test_what_was_never_delivered_is_counted_at_the_end():
    tracker, said = Recording(failing=[False, False] + [True] * 100), []
    delivered(tracker, range(6), said)
    assert [step for step, _ in tracker.logged] == [0, 1]
    assert said[-1] == "fake did not take the last 4 steps; they are in table training_log."
    assert len(said) == 2


def test_a_tracker_that_never_answers_is_waited_for_no_longer_than_said():
    answer, said = threading.Event(), []

    class Hanging(Recording):
        def log(self, step, values):
            answer.wait()

    delivered(Hanging(), range(3), said, patience=0.05)
    assert said == ["fake did not take the last 3 steps; they are in table training_log."]
    answer.set()
