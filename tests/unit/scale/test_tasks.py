"""Tasks in flight: as many as are asked for while the caller works, and what they give in the order of their items."""

import pytest

from thumbline.pipeline.scale.tasks import _in_order


class Tasks:
    """In Ray's place: a task has ended when it was waited for, or when the caller took its time."""

    def __init__(self, first_to_end=0):
        self.first_to_end = first_to_end
        self.running, self.ended, self.cancelled, self.most = [], [], [], 0

    def submit(self, item):
        self.running.append(item)
        self.most = max(self.most, len(self.running))
        return item

    def end(self):
        self.ended += self.running
        self.running = []

    def wait(self, tasks, num_returns, timeout=None):
        assert set(tasks) == {*self.running, *self.ended}
        if not self.ended and timeout is None:
            self.ended.append(self.running.pop(self.first_to_end))
        return self.ended[:num_returns], []

    def get(self, task):
        self.ended.remove(task)
        if task == 7:
            raise ValueError("item 7")
        return task

    def cancel(self, task, force):
        self.cancelled.append(task)


def test_results_come_in_order_and_errors_in_their_place():
    # The last that was begun is the first to end.
    tasks = Tasks(first_to_end=-1)
    found = list(_in_order(tasks, tasks.submit, range(20), 3))
    assert [outcome.result for outcome in found] == [number if number != 7 else None for number in range(20)]
    assert [str(outcome.error) for outcome in found if outcome.error is not None] == ["item 7"]
    assert tasks.most == 3 and not tasks.cancelled


def test_what_ended_while_the_caller_worked_is_followed_by_others_at_once():
    tasks = Tasks()
    for number, _ in enumerate(_in_order(tasks, tasks.submit, range(20), 3)):
        # Later, as many results wait as may.
        if 0 < number < 4:
            assert len(tasks.running) == 3
        tasks.end()


@pytest.mark.parametrize("given", [1, 4])
def test_tasks_that_nobody_waits_for_are_ended(given):
    tasks = Tasks()
    outcomes = _in_order(tasks, tasks.submit, range(20), 3)
    for _ in range(given):
        next(outcomes)
    outcomes.close()
    assert set(tasks.cancelled) == {*tasks.running, *tasks.ended} and tasks.cancelled
