"""What stands on a page in small: p-values, one of several, names that break, slices of one value, names of dots."""

import dataclasses
from itertools import combinations

import pytest

from tests.report_inputs import dpo_run
from thumbline.evaluators import Metric
from thumbline.pipeline.report.data_rows import data_rows
from thumbline.pipeline.report.evaluation_parts import shown, shown_interval, telling_slices
from thumbline.pipeline.report.figures.frontier import Box, Point, Scale, _free_spot, frontier_picture
from thumbline.pipeline.report.formatting import MINUS, counted, p_value
from thumbline.pipeline.report.inputs import Missing
from thumbline.pipeline.report.page import _breakable


def metric(name, value, unit, part=None):
    row = Metric(*[None] * len(Metric._fields))
    return row._replace(metric=name, value=value, unit=unit, ci_low=-0.1, ci_high=0.2, slice=part, model="m")


def test_p_values_end_at_a_thousandth():
    assert [p_value(value) for value in (1.22e-4, 0.001, 0.0305, 1.0)] == [
        "p < 0.001",
        "p = 0.001",
        "p = 0.030",
        "p = 1.000",
    ]
    assert shown(metric("sign_flip_p", 1.22e-4, "probability")) == "< 0.001"
    assert shown(metric("sign_flip_p", 0.25, "probability")) == "0.250"
    # A probability that is no test's.
    assert shown(metric("reliability_confidence", 0.5, "probability")) == "0.500"


def test_differences_have_signs_and_points():
    row = metric("accuracy_difference", 0.05, "share")
    assert (shown(row), shown_interval(row)) == ("+5.0 pp", f"{MINUS}10.0 to +20.0 pp")
    assert shown(metric("accuracy", 0.05, "share")) == "5.0%"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("1 prompt groups better, 11 prompt groups worse", "1 prompt group better, 11 prompt groups worse"),
        ("1,001 pairs, 0.1 rows, 1 rows", "1,001 pairs, 0.1 rows, 1 row"),
    ],
)
def test_one_of_several_is_singular(said, told):
    assert counted(said) == told


def test_a_path_may_break_behind_its_slashes_and_stays_escaped():
    assert _breakable("./tiny-model") == "./<wbr>tiny-<wbr>model"
    assert _breakable("a/<b>") == "a/<wbr>&lt;b&gt;"


def test_a_slice_of_one_value_is_no_slice():
    rows = [metric("accuracy", 0.5, "share", part) for part in ("turns=1", "votes=2", "votes=3")]
    assert [row.slice for row in telling_slices(rows)] == ["votes=2", "votes=3"]


def test_names_of_near_dots_cover_neither_each_other_nor_a_dot():
    place = (180.0, 150.0)
    dots = [Box(x - 5, 145, x + 5, 155) for x in (176.0, 180.0, 186.0)]
    taken = list(dots)
    for width in (60.0, 90.0, 120.0):
        taken.append(_free_spot(place, width, taken).box)
    named = taken[3:]
    assert all(one.outside() == 0 for one in named)
    assert all(one.shared(other) == 0 for one, other in combinations(named, 2))
    assert all(one.shared(dot) == 0 for one in named for dot in dots)


def test_a_name_at_the_right_edge_stands_left_of_its_dot():
    assert _free_spot((350.0, 150.0), 80.0, []).side == "right"
    assert _free_spot((60.0, 150.0), 80.0, []).side == "left"


def test_every_point_of_a_few_is_named():
    names = ("alpha", "beta", "gamma")
    points = [Point(name, 0.01 * place, None, None, 0.5, None, None) for place, name in enumerate(names)]
    scale = Scale("cost", "share", 0.0)
    svg = frontier_picture("f", points, cost=scale, gain=scale._replace(even=0.5), caption="c").svg
    assert all(f">{name}</text>" in svg for name in names)


def test_rows_to_read_are_drawn_by_their_ids_from_each_label():
    run = dpo_run()
    rows = data_rows(run)
    assert [row.pair_id for row in rows.pairs] == run.tables["pairs"]["pair_id"].sort().to_list()[:4]
    assert [row.label for row in rows.answers] == [True, True, False, False]
    assert rows.pairs[0].prompt[0].role == "user"
    assert rows.pairs[0].chosen != rows.pairs[0].rejected
    bare = {name: frame.clear() for name, frame in run.tables.items()}
    assert isinstance(data_rows(dataclasses.replace(run, tables=bare)), Missing)
