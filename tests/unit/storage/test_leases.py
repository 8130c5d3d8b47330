"""Leases on a run at an address: one at a time, taken over when it ends, and lost before anything is published."""

import json
import threading
import time

import pytest

from thumbline.pipeline.errors import BusyError, MachineError
from thumbline.pipeline.storage import patience
from thumbline.pipeline.storage.holders import holder
from thumbline.pipeline.storage.leases import Lease, Terms
from thumbline.pipeline.storage.objects import open_objects

SHORT = Terms(seconds=1.0, renewal=0.1, settling=0.05)
LONG = Terms(seconds=3600.0, renewal=600.0, settling=0.05)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "PAUSES", (0.01,))
    return open_objects(f"memory://{tmp_path.name}/runs/mine", "runs")


@pytest.fixture
def lease(store, tmp_path):
    made = []

    def new(worker, terms=SHORT, said=None):
        one = Lease(store, worker, tmp_path / "activity.json", (said if said is not None else []).append, terms)
        made.append(one)
        return one

    yield new
    for one in made:
        one.give_back()


def forget(one):
    """End as kill -9 does: nothing is renewed, and nothing given back."""
    one._stop.set()
    one._thread.join()
    one._number = 0


def test_one_holds_it_and_gives_it_back(store, lease, tmp_path):
    (tmp_path / "activity.json").write_text('{"stage": "pairs"}')
    first = lease("a")
    first.take()
    held = holder(store)
    assert held.number == 1 and held.activity == '{"stage": "pairs"}' and held.seconds_left() <= 1.0
    with pytest.raises(BusyError, match=r"memory://.*mine: another process is running this run \(process \d+ on "):
        lease("b").take()
    first.confirm()
    first.give_back()
    assert holder(store) is None
    second = lease("b")
    second.take()
    second.confirm()


def test_it_is_renewed_for_as_long_as_it_is_held(store, lease):
    first = lease("a")
    first.take()
    until = time.monotonic() + 30
    while holder(store).renewals < 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert holder(store).renewals >= 3 and holder(store).owner == first._owner
    first.confirm()


def test_one_that_ended_is_taken_over_and_said(store, lease):
    first, said = lease("a"), []
    first.take()
    forget(first)
    second = lease("b", said=said)
    second.take()
    assert holder(store).number == 2
    assert len(said) == 1 and "ended at" in said[0] and "goes on in its place" in said[0]
    assert store.entries("lock") == ["000002.json"], "the old one is deleted"


def test_a_clock_that_is_wrong_ends_nobodys_lease(store, lease):
    """By the waiting one's clock the lease has ended long ago, and its owner renews it."""
    first = lease("a", Terms(seconds=-3600.0, renewal=0.1, settling=0.05))
    first.take()
    with pytest.raises(BusyError, match="another process is running"):
        lease("b").take()


def test_the_working_folder_of_a_killed_process_need_not_wait(store, lease):
    first, said = lease("a", LONG), []
    first.take()
    forget(first)
    lease("a", LONG, said).take()
    assert holder(store).number == 2 and said == []


def test_a_lost_lease_stops_its_owner(store, lease):
    first = lease("a", Terms(seconds=0.2, renewal=600.0, settling=0.05))
    first.take()
    lease("b").take()
    first.check()
    first._renewed = -1e9
    with pytest.raises(BusyError, match=r"has lost its lease on the run \(process \d+ on .* holds it now\)"):
        first.confirm()
    with pytest.raises(BusyError, match="Nothing more is published"):
        first.check()
    first.give_back()
    assert holder(store).number == 2, "what another holds is not given back"


def test_a_lease_that_somebody_deleted_is_lost(store, lease):
    first = lease("a", LONG)
    first.take()
    store.remove(["lock/000001.json"])
    first._renewed = -1e9
    with pytest.raises(BusyError, match=r"\(it is gone\)"):
        first.confirm()


def test_of_many_who_begin_at_once_one_holds_it(store, lease):
    outcomes = []

    def begin(name):
        try:
            one = lease(name)
            one.take()
            outcomes.append("held")
        except BusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=begin, args=(str(number),)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["busy"] * 5 + ["held"]


def test_a_store_without_conditional_puts_is_said_and_settles(store, lease, monkeypatch):
    def over(name, data):
        store.write(name, data)
        return True

    monkeypatch.setattr(store, "create", over)
    first, said = lease("a", said=(said := [])), said
    first.take()
    assert len(said) == 1 and "takes no conditional puts (If-None-Match)" in said[0]
    first.confirm()
    with pytest.raises(BusyError):
        lease("b").take()


def test_a_store_that_is_out_of_reach_for_a_while_costs_nothing(store, lease, monkeypatch):
    first = lease("a")
    first.take()
    right = store.entries
    monkeypatch.setattr(store, "entries", lambda _: (_ for _ in ()).throw(MachineError("no answer")))
    time.sleep(0.3)
    first.check()
    first._renewed = -1e9
    with pytest.raises(MachineError):
        first.confirm()
    monkeypatch.setattr(store, "entries", right)
    first.confirm()


def test_what_is_no_lease_is_one_of_nobody(store, lease):
    store.write("lock/000001.json", b"not json")
    said = []
    lease("b", said=said).take()
    assert "an unknown machine" in said[0] and json.loads(store.read("lock/000002.json"))["worker"] == "b"
