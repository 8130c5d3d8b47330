"""Every setting of the stages from responses to splits changes a table: there is no knob that nothing reads."""

import importlib.util

import polars as pl
import pytest

from tests.conftest import event, events_table
from thumbline.pipeline.config import PairsConfig, ResponsesConfig, SplitsConfig, UnpairedConfig
from thumbline.pipeline.evidence.leakage import leak_keys
from thumbline.pipeline.stages import pairs, responses, splits, unpaired

LONG = "Plant the beans in the middle of May, they like warm soil and a wall to climb on."
QUESTION = "Which vegetables should I plant in May if my garden is small and rather shady in the afternoon"
OPTIONAL = {"screening": ("py3langid", "detect_secrets", "phonenumbers", "stdnum"), "neardup": ("rensa",)}


def compared(prompt, votes, name, kind, models=("m1", "m1"), texts=("x", "y")):
    return [
        event(prompt, text, vote, user=None, comparison_id=name, comparison_kind=kind, model=model, at=50)
        for text, vote, model in zip(texts, votes, models, strict=True)
    ]


def log():
    rows = [event(f"prompt {number}", "good", "up", user=f"u{number % 4}", at=number * 700) for number in range(12)]
    rows += [event(f"prompt {number}", "bad", "down", user="n", at=number * 700, model="m2") for number in range(12)]
    rows += [
        event(f"prompt {number}", "fair", vote, user=f"v{k}")
        for number in (0, 1)
        for k, vote in enumerate(["up"] * 3 + ["down"])
    ]
    rows += [event("prompt 0", "poor", "down", user=f"w{number}", position=2, propensity=0.01) for number in range(3)]
    rows += [
        event("prompt 0", "poor", "unrated", user=None, position=2),
        event("prompt 1", "seen", "up", position=1, at=9),
    ]
    rows += [event("turn one", "a", "up", conversation_id="k"), event("turn two", "a", "up", conversation_id="k")]
    rows += [
        event(f"{QUESTION}?", LONG, "up"),
        event(f"{QUESTION}s?", f"{LONG} Yes", "down"),
        event(f"{QUESTION}?", f"{LONG} No", "down"),
    ]
    rows += [event("Prompt 3!", "far worse", "down", user="u7"), event("mail?", "To ann@example.org", "up")]
    rows += [
        event("key?", "It is ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8", "up"),
        event("de?", "Die Bohnen legt man Mitte Mai in die warme Erde.", "up"),
    ]
    rows += compared("c1", ("chosen", "rejected"), "1", "arena", models=("m1", "m2"))
    rows += compared("c2", ("chosen", "rejected"), "2", "preference") + compared("c3", ("tied", "tied"), "3", "ranking")
    return rows


def chain(settings, evaluation_set):
    """All tables of the four stages, with the settings of each stage."""
    prior = ResponsesConfig(**settings.get("responses", {}))
    events = events_table(log()).lazy()
    known = responses.shared([responses.log_facts(events)], prior)
    first = responses.transform(events, prior, known)
    labelled = unpaired.transform(first.responses, UnpairedConfig(**settings.get("unpaired", {}))).collect()
    strategy = PairsConfig(**settings.get("pairs", {}))
    made = pairs.transform(first.responses, first.comparisons, strategy, prior)
    tables = {name: getattr(first, name).collect() for name in responses.Responses._fields}
    tables |= {name: getattr(made, name).collect() for name in pairs.Pairs._fields}
    config = SplitsConfig(
        **({"evaluation_sets": {"held": evaluation_set}} if settings.get("held") else {}) | settings.get("splits", {})
    )
    evidence = pl.concat([labelled.select("prompt_id"), tables["pairs"].select("prompt_id")])
    tables["splits"] = splits.transform(
        tables["responses"].lazy(), events, evidence.lazy(), config, tables["pairs"].lazy()
    ).collect()
    keys = leak_keys(labelled.lazy(), tables["pairs"].lazy(), tables["splits"].lazy(), near=config.near_duplicates)
    return tables | {"raters": known.raters, "unpaired": labelled, "leakage": splits.leakage_of(keys.collect(), config)}


# (stage, knob): another value, and what else must be set for the knob to mean something.
DAWID_SKENE = {"responses": {"reliability": "dawid_skene"}}
ONE_LABEL = {"responses": {"reliability": "one_label", "one_label_votes": 3}}
PROPENSITY = {"responses": {"exposure": "propensity"}}
MANY = {"pairs": {"strategy": "all_above_margin"}}
NEAR = {"splits": {"near_duplicates": True}}
KNOBS = {
    ("responses", "prior_up"): (2.0, {}),
    ("responses", "prior_down"): (2.0, {}),
    ("responses", "min_confidence"): (0.8, {}),
    ("responses", "interval"): (0.5, {}),
    ("responses", "half_life_days"): (1.0, {}),
    ("responses", "reliability"): ("dawid_skene", {}),
    ("responses", "one_label_votes"): (100, ONE_LABEL),
    ("responses", "one_label_weight"): (0.5, ONE_LABEL),
    ("responses", "reliability_prior"): (1.0, DAWID_SKENE),
    ("responses", "exposure"): ("position", {}),
    ("responses", "exposure_clip"): (3.0, PROPENSITY),
    ("responses", "min_prompt_chars"): (9, {}),
    ("responses", "max_prompt_chars"): (9, {}),
    ("responses", "min_completion_chars"): (4, {}),
    ("responses", "max_completion_chars"): (40, {}),
    ("responses", "languages"): (["en"], {}),
    ("responses", "language_confidence"): (1.0, {"responses": {"languages": ["en"]}}),
    ("responses", "screen_secrets"): (True, {}),
    ("responses", "screen_personal_data"): (True, {}),
    ("unpaired", "weight_by_confidence"): (True, {}),
    ("unpaired", "weight_by_exposure"): (True, PROPENSITY),
    ("unpaired", "weight_by_recency"): (True, {"responses": {"half_life_days": 1.0}}),
    ("unpaired", "min_weight"): (2.0, {}),
    ("unpaired", "max_weight"): (0.5, {}),
    ("pairs", "votes"): (False, {}),
    ("pairs", "strategy"): ("all_above_margin", {}),
    ("pairs", "min_margin"): (0.6, {}),
    ("pairs", "opposite_labels"): (False, {"pairs": {"strategy": "all_above_margin", "max_per_prompt": 9}}),
    ("pairs", "max_per_prompt"): (1, MANY),
    ("pairs", "weights"): ("confidence", {}),
    ("pairs", "same_model"): (True, {}),
    ("pairs", "model"): ("m", {}),
    ("pairs", "comparisons"): (False, {}),
    ("pairs", "comparison_kinds"): (["arena"], {}),
    ("pairs", "comparison_prior"): (3.0, {}),
    ("pairs", "max_similarity"): (0.99, {}),
    ("pairs", "group_prompts"): ("normalised", {}),
    ("pairs", "group_similarity"): (0.999, {"pairs": {"group_prompts": "near_duplicate", "max_similarity": 1.0}}),
    ("splits", "validation"): (0.5, {}),
    ("splits", "test"): (0.6, {}),
    ("splits", "method"): ("time", {}),
    ("splits", "group_by"): ("prompt", {}),
    ("splits", "near_duplicates"): (True, {}),
    ("splits", "near_similarity"): (0.999, NEAR),
    ("splits", "evaluation_sets"): ({}, {"held": True}),
    ("splits", "salt"): ("other", {}),
}
MODELS = {"responses": ResponsesConfig, "unpaired": UnpairedConfig, "pairs": PairsConfig, "splits": SplitsConfig}
EXTRA = {
    "languages": "screening",
    "language_confidence": "screening",
    "screen_secrets": "screening",
    "screen_personal_data": "screening",
    "group_similarity": "neardup",
    "near_duplicates": "neardup",
    "near_similarity": "neardup",
}


def test_every_knob_is_listed():
    assert set(KNOBS) == {(stage, knob) for stage, model in MODELS.items() for knob in model.model_fields}


@pytest.mark.parametrize(("stage", "knob"), KNOBS, ids=lambda name: name)
def test_a_knob_changes_a_table(stage, knob, tmp_path):
    if knob in EXTRA and not all(importlib.util.find_spec(name) for name in OPTIONAL[EXTRA[knob]]):
        pytest.skip(f"needs the extra {EXTRA[knob]}")
    held = tmp_path / "held.jsonl"
    held.write_text('{"prompt": "prompt 1"}')
    value, base = KNOBS[(stage, knob)]
    changed = base | {stage: base.get(stage, {}) | {knob: value}}
    before, after = chain(base, str(held)), chain(changed, str(held))
    own = {
        "responses": ["responses", "raters", "response_drops"],
        "unpaired": ["unpaired"],
        "pairs": ["pairs", "pair_drops"],
        "splits": ["splits", "leakage"],
    }
    assert any(not before[table].equals(after[table]) for table in own[stage])
