"""Somebody else's package adds a loss, a log format and an evaluator, and a run uses all three."""

import json
import os
import subprocess
import sys

import polars as pl
import pytest

from tests.line.conftest import write_config
from tests.other_package import write_package
from thumbline.pipeline.storage.manifests import read_manifest

pytestmark = pytest.mark.slow  # a process of its own for each question, which imports everything

POINTS = {
    "thumbline.losses": {"theirs": "their_package:LOSS"},
    "thumbline.importers": {"their_log": "their_package:IMPORTER"},
    "thumbline.evaluators": {"their_tokens": "their_package:EVALUATOR"},
}
CODE = '''
"""The smallest of each."""
import dataclasses
from thumbline.evaluators.estimands import Source
from thumbline.evaluators.types import EvaluatorSpec
from thumbline.losses.dpo import dpo, DPOConfig
from thumbline.losses.registry import LOSSES
from thumbline.pipeline.importers.base import RawEvent, has_columns, row_importer

LOSS = dataclasses.replace(LOSSES["dpo"], title="Theirs", when="Never.")

def events(row):
    yield RawEvent([{"role": "user", "content": row["q"]}], row["a"], row["thumb"], user_id=row["who"])

IMPORTER = row_importer(
    "their_log", "Rows of q, a, who and thumb.", detect=has_columns({"q", "a", "thumb"}), parse=events
)

def drafts(scores, settings):
    sources = [(one, Source("their_tokens", 1, one.model, one.groups)) for one in scores]
    return [source.mean("tokens", one.chosen_token_counts, "tokens") for one, source in sources]

EVALUATOR = EvaluatorSpec("pairs", drafts, 1, "tokens", "Tokens of the better answer.")
'''


def thumbline(site, *arguments, ok=True):
    command = [sys.executable, "-m", "thumbline", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "COLUMNS": "250"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_log, tiny_model):
    """The folder of the package, the run file, and the run's folder."""
    folder = tmp_path_factory.mktemp("plugins")
    site = write_package(folder / "site", "their_package", POINTS, CODE)
    votes = {"thumbs_up": "up", "thumbs_down": "down"}
    rows = [json.loads(text) for text in small_log.read_text().splitlines() if text.startswith('{"')]
    log = folder / "log.jsonl"
    lines = [
        {"q": row["prompt"], "a": row["response"], "who": row["user_id"], "thumb": votes[row["feedback"]]}
        for row in rows
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = write_config(
        folder, log, tiny_model, events={"format": "auto"}, train={"method": "theirs", "max_steps": 2}
    )
    thumbline(site, "run", config)
    return site, config, folder / "runs" / "run"


def test_each_of_the_three_is_used(run):
    _, _, folder = run
    assert read_manifest(folder / "events").notes["formats"].keys() == {"their_log"}
    assert read_manifest(folder / "train").notes["method"] == "theirs"
    metrics = pl.read_parquet(folder / "metrics" / "metrics.parquet")
    assert metrics.filter(pl.col("evaluator") == "their_tokens").height > 0


def test_lists_say_where_a_plugin_comes_from(run):
    site, _, _ = run
    assert "their_package 1.0" in thumbline(site, "losses")
    assert "their_package 1.0" in thumbline(site, "formats")


@pytest.mark.soak
def test_a_run_is_up_to_date_until_the_package_has_another_version(run):
    site, config, _ = run
    assert "Nothing to do" in thumbline(site, "run", config)
    newer = write_package(site.with_name("newer"), "their_package", POINTS, CODE, version="1.1")
    planned = thumbline(newer, "run", config, "--dry-run")
    assert "changed input thumbline.importers:their_log" in planned
    later = thumbline(newer, "run", config, "--dry-run", "--set", "events.format=their_log", "--from", "train")
    assert "asked for" in later


@pytest.mark.soak
def test_a_stage_depends_on_the_package_that_it_uses(run):
    _, _, folder = run
    assert read_manifest(folder / "train").inputs["thumbline.losses:theirs"] == "their_package 1.0"
    used = read_manifest(folder / "metrics").inputs
    assert used["thumbline.losses:theirs"] == used["thumbline.evaluators:their_tokens"] == "their_package 1.0"
    assert not [name for name in read_manifest(folder / "pairs").inputs if ":" in name]


@pytest.mark.parametrize("name, told", [("losses", "losses plugin 'theirs'"), ("formats", "importers plugin")])
def test_a_broken_package_does_not_hide_the_rest_of_a_list(tmp_path, name, told):
    site = write_package(tmp_path, "their_package", POINTS, "raise RuntimeError('broken')")
    listed = thumbline(site, name).replace("\n", " ")
    assert "DPO" in listed or "thumbs_jsonl" in listed
    assert told in " ".join(listed.split())


def test_a_broken_package_stops_what_would_use_it(tmp_path, run):
    _, config, _ = run
    site = write_package(tmp_path, "their_package", POINTS, "raise RuntimeError('broken')")
    told = " ".join(thumbline(site, "run", config, "--from", "train", ok=False).split())
    assert "of their_package 1.0 does not load (RuntimeError: broken). Repair or uninstall" in told
