"""Which rows a step takes, in which order, and how it is cut into forward passes."""

import numpy as np
import pytest

from tests.unit.training.test_trainer import config, model_dir, objective, pairs, policy_of, unpaired
from thumbline.pipeline.training.batches import Order, labels_of, micro_batches, rows_in_steps, step_rows
from thumbline.pipeline.training.layouts import computed_tokens
from thumbline.pipeline.training.rows import PairRow, TrainingSequence, UnpairedRow
from thumbline.pipeline.training.trainer import Trainer

__all__ = ["model_dir"]


def steps_of(order, count):
    return [order.of_step(step).tolist() for step in range(count)]


@pytest.mark.parametrize(("desirable", "batch_rows"), [(30, 16), (50, 16), (90, 16), (7, 8), (90, 12), (1, 4)])
def test_each_step_holds_both_classes_in_the_datas_ratio_to_within_one_row(desirable, batch_rows):
    labels = np.arange(100) < desirable
    for epoch in range(3):
        whole = 100 // batch_rows
        first = epoch * -(-100 // batch_rows)
        order = Order(100, batch_rows, 5, labels)
        counts = [int(labels[order.of_step(first + step)].sum()) for step in range(whole)]
        expected = desirable * batch_rows / 100
        assert all(abs(count - expected) <= 1 for count in counts), counts


def test_a_plain_shuffle_does_not():
    labels = np.arange(100) < 30
    counts = [int(labels[rows].sum()) for rows in steps_of(Order(100, 16, 5), 6)]
    assert max(abs(count - 4.8) for count in counts) > 1


@pytest.mark.parametrize("labels", [None, np.arange(103) % 4 == 0, np.ones(103, dtype=bool)])
def test_every_row_is_seen_once_an_epoch_and_another_order_the_next(labels):
    order = Order(103, 10, 1, labels)
    first, second = steps_of(order, 22)[:11], steps_of(order, 22)[11:]
    for epoch in (first, second):
        assert sorted(number for step in epoch for number in step) == list(range(103))
    assert first != second
    assert first != steps_of(Order(103, 10, 2, labels), 11)


def test_a_resumed_run_takes_the_rows_that_an_undisturbed_one_takes():
    labels = np.arange(20) % 3 == 0
    calm = steps_of(Order(20, 8, 4, labels), 9)
    assert [Order(20, 8, 4, labels).of_step(step).tolist() for step in range(9)] == calm


def test_an_epochs_order_is_drawn_once(monkeypatch):
    drawn, draw = [], Order._draw
    monkeypatch.setattr(Order, "_draw", lambda self, epoch: drawn.append(epoch) or draw(self, epoch))
    steps_of(Order(20, 4, 0), 12)
    assert drawn == [0, 1, 2]


def test_a_training_draws_an_epochs_order_once(model_dir, tmp_path, monkeypatch):
    drawn, draw = [], Order._draw
    monkeypatch.setattr(Order, "_draw", lambda self, epoch: drawn.append(epoch) or draw(self, epoch))
    settings = config(epochs=2, batch_rows=2)
    Trainer(policy_of(model_dir), objective("dpo", 2), settings, pairs(6), [], tmp_path).run(lambda _: None)
    assert drawn == [0, 1]


def test_stratifying_moves_unpaired_rows_and_leaves_pairs_as_they_are():
    rows = unpaired(12)
    assert step_rows(rows, 0, 4, 0, "label") != step_rows(rows, 0, 4, 0, "none")
    assert sum(row.label for row in step_rows(rows, 0, 6, 0, "label")) == 4
    assert step_rows(pairs(12), 0, 4, 0, "label") == step_rows(pairs(12), 0, 4, 0, "none")
    assert labels_of(pairs(3)) is None
    assert labels_of([]) is None


@pytest.mark.parametrize("stratify", ["label", "none"])
def test_a_training_takes_the_rows_of_the_order_that_is_set(model_dir, tmp_path, stratify, monkeypatch):
    rows, taken = unpaired(12), []
    from thumbline.pipeline.training import step as stepping

    monkeypatch.setattr(stepping, "take_step", lambda *args: taken.append(args[3]) or {"loss": 1.0})
    settings = config(method="kto", stratify=stratify, epochs=1, validation_rows=0)
    Trainer(policy_of(model_dir), objective("kto", 2), settings, rows, [], tmp_path).run(lambda _: None)
    assert taken == [step_rows(rows, step, 4, settings.seed, stratify) for step in range(3)]


def test_rows_of_the_first_steps_are_counted_over_epochs():
    assert [rows_in_steps(steps, 10, 4) for steps in range(7)] == [0, 4, 8, 10, 14, 18, 20]


def row(number, prompt, completion):
    ids = tuple(range(5, 5 + prompt + completion))
    return UnpairedRow(
        f"{number:032x}", TrainingSequence(str(number), ids[:prompt], ids[prompt:], -1.0), None, True, 1.0, 1.0
    )


def sizes(parts):
    return [[one.matched.length for one in part] for part in parts]


def test_a_part_holds_as_many_rows_as_both_limits_allow():
    rows = [row(n, 2, length - 2) for n, length in enumerate((10, 9, 5, 5, 5, 4))]
    # Padded: 2 rows of 10, then 4 of 5 at most.
    assert sizes(micro_batches(rows, 9, 20)) == [[10, 9], [5, 5, 5, 4]]
    assert sizes(micro_batches(rows, 3, 20)) == [[10, 9], [5, 5, 5], [4]]
    assert sizes(micro_batches(rows, 3)) == [[10, 9, 5], [5, 5, 4]]


def test_padding_counts_and_packed_rows_only_themselves():
    rows = [row(n, 2, length - 2) for n, length in enumerate((10, 4, 3, 3))]
    assert sizes(micro_batches(rows, 9, 20, "padded")) == [[10, 4], [3, 3]]
    assert sizes(micro_batches(rows, 9, 20, "packed")) == [[10, 4, 3, 3]]


def test_a_shared_prompt_counts_once():
    prompt = tuple(range(5, 15))
    made = [TrainingSequence(str(n), prompt, (n + 5, n + 6), -1.0) for n in range(4)]
    rows = [PairRow(str(n), made[2 * n], made[2 * n + 1], 1.0, 1.0) for n in range(2)]
    assert len(micro_batches(rows, 9, 30, "packed")) == 2  # 24 tokens a pair
    assert len(micro_batches(rows, 9, 30, "shared")) == 1  # 10 + 4 x 2 for both
    assert computed_tokens(made, "shared") == 18


def test_a_row_above_the_budget_is_a_part_by_itself():
    rows = [row(n, 2, length - 2) for n, length in enumerate((30, 28, 4, 4))]
    assert sizes(micro_batches(rows, 9, 10)) == [[30], [28], [4, 4]]


def test_a_mismatched_partner_takes_no_share_of_the_budget():
    rows = unpaired(2)
    assert rows[0].mismatched is not None
    tokens = computed_tokens([one.matched for one in rows], "padded")
    assert len(micro_batches(rows, 9, tokens)) == 1
    assert len(micro_batches(rows, 9, tokens - 1)) == 2


def test_no_row_is_lost_whatever_the_limits():
    rows = unpaired(17)
    for tokens in (1, 12, 25, 60, None):
        parts = micro_batches(rows, 5, tokens)
        assert sorted(one.row_id for part in parts for one in part) == [one.row_id for one in rows]
