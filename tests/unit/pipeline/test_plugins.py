"""What other packages add is found by name, loaded when it is used, and refused by name where it cannot be."""

from itertools import count

import pytest

from tests.other_package import write_package
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
