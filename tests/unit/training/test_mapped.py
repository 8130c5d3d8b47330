"""Rows whose token ids lie in a file are the rows that the tables say."""

from hashlib import sha256
from itertools import count

import numpy as np
import polars as pl
import pytest

from thumbline.pipeline.engines.feeding import blocks_of
from thumbline.pipeline.errors import TrainingError
from thumbline.pipeline.tables import polars_schema
from thumbline.pipeline.training.layouts import padded
from thumbline.pipeline.training.mapped import Stored, pair_rows, unpaired_rows
from thumbline.pipeline.training.rows import TrainingSequence


def name_of(text):
    return sha256(text.encode()).hexdigest()[:32]


def sequences_of(numbers):
    draws = {number: np.random.default_rng(number) for number in numbers}
    tokens = {n: [draw.integers(900, size=draw.integers(1, 9)).tolist() for _ in "pc"] for n, draw in draws.items()}
    rows = [(name_of(f"s{n}"), prompt, end, len(prompt), len(end)) for n, (prompt, end) in tokens.items()]
    return pl.DataFrame(rows, schema=polars_schema("sequences"), orient="row").sort("sequence_id")


def reference_of(sequences):
    logps = -pl.int_range(1, pl.len() + 1).cast(pl.Float64)
    return sequences.select("sequence_id", logps=logps, token_count="completion_token_count")


@pytest.fixture
def sequences():
    return sequences_of(range(40))


@pytest.fixture
def stored(sequences, tmp_path):
    paths = count()

    def make(reference=None, table=sequences):
        blocks = None if reference is None else blocks_of(reference, 7)
        return Stored(blocks_of(table, 7), blocks, tmp_path / "scratch" / f"{next(paths)}.tokens")

    return make


def matched_of(numbers):
    return pl.DataFrame(
        {"response_id": [name_of(f"r{n}") for n in numbers], "sequence_id": [name_of(f"s{n}") for n in numbers]}
    )


def pairs_of(sides):
    return pl.DataFrame(
        {
            "pair_id": [name_of(f"pair {side}") for side in sides],
            "chosen_response_id": [name_of(f"r{chosen}") for chosen, _ in sides],
            "rejected_response_id": [name_of(f"r{rejected}") for _, rejected in sides],
            "chosen_better_probability": [0.5 + 0.01 * place for place, _ in enumerate(sides)],
        }
    )


def expected(sequences, reference):
    """The sequences as Python numbers, by id."""
    logps = {} if reference is None else dict(reference.select("sequence_id", "logps").iter_rows())
    return {name: (tuple(prompt), tuple(end), logps.get(name)) for name, prompt, end, *_ in sequences.iter_rows()}


def plain(sequence):
    return (
        tuple(map(int, sequence.prompt_token_ids)),
        tuple(map(int, sequence.completion_token_ids)),
        sequence.reference_logps,
    )


@pytest.mark.parametrize("with_reference", [True, False])
def test_pairs_are_those_of_the_tables(sequences, stored, with_reference):
    sides = [(0, 1), (2, 1), (9, 30), (4, 5)]
    reference = reference_of(sequences) if with_reference else None
    # The sequence of response 5 was dropped, and its pair with it.
    rows = pair_rows(pairs_of(sides), matched_of([n for n in range(40) if n != 5]), stored(reference))
    known = expected(sequences, reference)
    assert len(rows) == 3
    assert [row.row_id for row in rows] == sorted(name_of(f"pair {side}") for side in sides[:3])
    by_id = {name_of(f"pair {side}"): (place, side) for place, side in enumerate(sides)}
    for row in rows:
        place, side = by_id[row.row_id]
        assert row.chosen_better_probability == 0.5 + 0.01 * place
        for sequence, number in zip(row.sequences, side, strict=True):
            assert sequence.sequence_id == name_of(f"s{number}")
            assert plain(sequence) == known[sequence.sequence_id]
            assert sequence.length == sum(map(len, known[sequence.sequence_id][:2]))


def test_unpaired_rows_may_have_no_partner(sequences, stored):
    unpaired = pl.DataFrame(
        {
            "response_id": [name_of(f"r{n}") for n in (3, 8)],
            "label": [True, False],
            "weight": [1.0, 0.5],
            "probability_desirable": [0.9, 0.1],
        }
    )
    roles = [("matched", 3, 3), ("matched", 8, 8), ("mismatched", 3, 20)]
    row_sequences = pl.DataFrame(
        [(name_of(f"r{response}"), role, name_of(f"s{number}"), "train") for role, response, number in roles],
        schema=polars_schema("row_sequences"),
        orient="row",
    )
    reference = reference_of(sequences)
    found = unpaired_rows(unpaired, row_sequences, stored(reference))
    rows, known = {row.row_id: row for row in found}, expected(sequences, reference)
    assert (rows[name_of("r3")].label, rows[name_of("r8")].weight) == (True, 0.5)
    assert plain(rows[name_of("r3")].mismatched) == known[name_of("s20")]
    assert plain(rows[name_of("r8")].matched) == known[name_of("s8")]
    assert rows[name_of("r8")].mismatched is None
    assert found.table["label"].sum() == 1


def test_rows_are_a_sequence(stored):
    rows = pair_rows(pairs_of([(0, 1), (2, 3), (4, 5)]), matched_of(range(9)), stored())
    assert [row.row_id for row in rows[1:]] == [rows[1].row_id, rows[-1].row_id]
    assert rows[np.int64(2)].row_id == rows[-1].row_id
    with pytest.raises(IndexError):
        rows[3]
    none = pair_rows(pairs_of([(0, 1)]).clear(), matched_of(range(9)), stored())
    assert (len(none), list(none)) == (0, [])


def test_a_batch_of_mapped_sequences_is_that_of_numbers(sequences, stored):
    (row,) = pair_rows(pairs_of([(7, 8)]), matched_of(range(9)), stored())
    numbers = [TrainingSequence(one.sequence_id, *plain(one)) for one in row.sequences]
    for mapped, known in zip(padded(row.sequences).completions, padded(numbers).completions, strict=True):
        assert mapped.equal(known) and mapped.dtype == known.dtype


def test_weights_and_log_probs_of_tokens_are_those_of_the_tables(sequences, stored):
    sides = [(0, 1), (2, 1), (9, 30)]
    counts = sequences["completion_token_count"].to_list()
    tokens = [(-np.random.default_rng(n).random(count).astype(np.float32)).tolist() for n, count in enumerate(counts)]
    reference = reference_of(sequences).with_columns(token_logps=pl.Series(tokens, dtype=pl.List(pl.Float32)))
    known = dict(reference.select("sequence_id", "token_logps").iter_rows())
    weighed = pairs_of(sides).with_columns(weight=pl.Series([0.25, 0.5, 0.75]))
    rows = pair_rows(weighed, matched_of(range(40)), stored(reference)._replace(token_logps=True))
    weights = dict(weighed.select("pair_id", "weight").iter_rows())
    assert {row.row_id: row.weight for row in rows} == weights
    for row in rows:
        for sequence in row.sequences:
            assert sequence.reference_token_logps.tolist() == known[sequence.sequence_id]
    plain_rows = pair_rows(pairs_of(sides), matched_of(range(40)), stored(reference))
    assert {row.weight for row in plain_rows} == {1.0}
    assert plain_rows[0].chosen.reference_token_logps is None


def test_too_few_log_probs_of_tokens_are_refused(sequences, stored):
    reference = reference_of(sequences).with_columns(token_logps=pl.lit([-1.0], dtype=pl.List(pl.Float32)))
    lacking = stored(reference)._replace(token_logps=True)
    with pytest.raises(TrainingError, match="40 log-probs of single tokens are stored, and the rows have .* reference"):
        pair_rows(pairs_of([(n, n + 1) for n in range(0, 40, 2)]), matched_of(range(40)), lacking)


def test_log_probs_that_are_missing_or_of_other_tokens_are_refused(sequences, stored):
    reference = reference_of(sequences)
    first, second = name_of("s0"), name_of("s1")
    missing = reference.filter(pl.col("sequence_id") != first)
    with pytest.raises(TrainingError, match=f"1 of 2 sequences have no reference log-prob .*first: {first}"):
        pair_rows(pairs_of([(0, 1)]), matched_of(range(9)), stored(missing))
    longer = pl.when(pl.col("sequence_id") == second).then(99).otherwise(pl.col("token_count"))
    with pytest.raises(TrainingError, match=f"1 of 2 sequences .*first: {second}.*reference stage"):
        pair_rows(pairs_of([(0, 1)]), matched_of(range(9)), stored(reference.with_columns(token_count=longer)))


def test_a_sequence_that_no_table_has_is_refused(sequences, stored):
    fewer = sequences.filter(pl.col("sequence_id") != name_of("s0"))
    with pytest.raises(TrainingError, match="1 of 2 sequences of the rows are not in the table.*sequences stage"):
        pair_rows(pairs_of([(0, 1)]), matched_of(range(9)), stored(table=fewer))
