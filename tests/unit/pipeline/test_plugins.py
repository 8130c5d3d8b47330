"""What other packages add is found by name, loaded when it is used, and refused by name where it cannot be."""

from itertools import count

import polars as pl
import pytest

from tests.evaluator_rows import PLAIN, scored_pairs
from tests.other_package import write_package
from thumbline import plugins
from thumbline.evaluators import EvaluationError, evaluate
from thumbline.losses import loss_config, loss_spec
from thumbline.losses.registry import method_names
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.importers.registry import detect_format, importer, importer_names
from thumbline.plugins import PluginError, Plugins, origins

GROUPS = (f"thumbline.test_{number}" for number in count())


@pytest.fixture
def group():
    """A group of this test's own: what was found in one is kept."""
    return next(GROUPS)


@pytest.fixture
def add(tmp_path, monkeypatch, group):
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name, points, code="", **more: write_package(tmp_path, name, {group: points}, code, **more)


def test_a_plugin_is_found_by_its_name_and_loaded_when_it_is_asked_for(add, group):
    add("other_one", {"mine": "other_one:SPEC"}, "SPEC = 7")
    plugins = Plugins(group, int, ["own"])
    assert plugins.names() == ["mine"]
    assert plugins.get("mine") == 7
    assert plugins.get("own") is None
    assert plugins.origin("mine") == "other_one 1.0"


def test_listing_loads_nothing(add, group):
    add("other_broken", {"mine": "other_broken:SPEC"}, "raise RuntimeError('not when listed')")
    assert Plugins(group, int, ()).names() == ["mine"]
    assert origins(group) == {f"{group}:mine": "other_broken 1.0"}


def test_a_stage_depends_on_the_plugins_that_it_names(add, group):
    add("other_two", {"a": "other_two:A", "b": "other_two:B"}, version="2.1")
    assert origins(group, ["b", "own"]) == {f"{group}:b": "other_two 2.1"}
    assert origins(group, ["own"]) == {}


def test_a_plugin_that_does_not_load_names_itself(add, group):
    add("other_raises", {"mine": "other_raises:SPEC"}, "import a_module_that_is_not_there")
    said = "plugin 'mine' of other_raises 1.0 does not load (ModuleNotFoundError: No module named 'a_module"
    with pytest.raises(PluginError) as error:
        Plugins(group, int, ()).get("mine")
    assert said in str(error.value)


def test_a_plugin_of_another_kind_is_refused(add, group):
    add("other_kind", {"mine": "other_kind:SPEC"}, "SPEC = 'text'")
    with pytest.raises(PluginError, match="of other_kind 1.0: other_kind:SPEC is a str, not a int"):
        Plugins(group, int, ()).get("mine")


def test_a_name_of_our_own_is_refused(add, group):
    add("other_clash", {"own": "other_clash:SPEC"}, "SPEC = 1")
    with pytest.raises(PluginError, match="of other_clash 1.0: thumbline has its own 'own'. Rename"):
        Plugins(group, int, ["own"]).get("own")


def test_a_name_that_two_packages_take_is_refused(add, group):
    add("other_first", {"mine": "other_first:SPEC"}, "SPEC = 1")
    add("other_second", {"mine": "other_second:SPEC"}, "SPEC = 2")
    with pytest.raises(PluginError, match="two packages take one name. Uninstall one") as error:
        Plugins(group, int, ()).get("mine")
    assert "other_first 1.0" in str(error.value) and "other_second 1.0" in str(error.value)


def test_a_package_that_lies_twice_on_the_path_is_one(add, group, tmp_path, monkeypatch):
    add("other_twice", {"mine": "other_twice:SPEC"}, "SPEC = 1")
    write_package(tmp_path / "again", "other_twice", {group: {"mine": "other_twice:SPEC"}}, "SPEC = 2")
    monkeypatch.syspath_prepend(str(tmp_path / "again"))
    assert Plugins(group, int, ()).get("mine") == 2


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package for the groups that the registries look in, as if it had been there from the start."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, kind, points, code=""):
        write_package(tmp_path, name, {f"thumbline.{kind}": points}, code)
        plugins._points.cache_clear()

    yield install
    monkeypatch.undo()
    plugins._points.cache_clear()


def test_a_broken_loss_does_not_touch_the_others(installed):
    installed("broken_loss", "losses", {"theirs": "broken_loss:SPEC"}, "raise RuntimeError('no')")
    assert loss_spec("dpo").paired
    assert "theirs" in method_names()
    with pytest.raises(ValueError, match="losses plugin 'theirs' of broken_loss 1.0 does not load"):
        loss_config("theirs", {})


def test_a_loss_of_a_name_that_is_ours_is_refused(installed):
    installed("takes_dpo", "losses", {"dpo": "takes_dpo:SPEC"}, "SPEC = None")
    with pytest.raises(ValueError, match="of takes_dpo 1.0: thumbline has its own 'dpo'"):
        loss_spec("dpo")
    assert loss_spec("kto").paired is False


def test_a_broken_evaluator_stops_an_evaluation_that_would_run_it(installed):
    installed("broken_evaluator", "evaluators", {"theirs": "broken_evaluator:SPEC"}, "SPEC = 1")
    rows = scored_pairs([1.0, -1.0, 0.5])
    with pytest.raises(EvaluationError, match="evaluators plugin 'theirs' of broken_evaluator 1.0: .* not a Evaluator"):
        evaluate(rows, None, PLAIN)
    alone = evaluate(rows, None, PLAIN, ["pair_accuracy"])
    assert alone.filter(pl.col("metric") == "accuracy")["value"].to_list() == [pytest.approx(2 / 3)]


def test_a_broken_format_stops_detection_and_no_format_that_is_named(installed, tmp_path):
    installed("broken_format", "importers", {"theirs": "broken_format:SPEC"}, "raise RuntimeError('no')")
    path = tmp_path / "log.jsonl"
    path.write_text('{"prompt": "p", "response": "r", "feedback": "up"}\n')
    assert importer_names()[0] == "theirs"
    assert importer("trl").name == "trl"
    with pytest.raises(ConfigError, match="importers plugin 'theirs' of broken_format 1.0 does not load"):
        detect_format(path)


def test_a_format_is_named_as_its_entry_point(installed):
    code = (
        "from thumbline.pipeline.importers.base import has_columns, row_importer\n"
        "SPEC = row_importer('other', 'Rows.', detect=has_columns({'q'}), parse=lambda row: [])"
    )
    installed("misnamed", "importers", {"theirs": "misnamed:SPEC"}, code)
    with pytest.raises(ConfigError, match="importers plugin 'theirs' of misnamed 1.0: its spec is named 'other'"):
        importer("theirs")
