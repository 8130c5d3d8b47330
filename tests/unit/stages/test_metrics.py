"""The metrics stage: which rows are held out, what they can be sliced by, and the method's loss on them by hand."""

import dataclasses
from math import exp, log
from pathlib import Path

import polars as pl
import pytest
import torch

from tests.loss_cases import special
from thumbline.evaluators import reward_of
from thumbline.losses import LOSSES, PairLogps, UnpairedLogps, loss_config
from thumbline.pipeline.config import RunConfig, build_config
from thumbline.pipeline.context import SilentReporter, StageContext, StageResult
from thumbline.pipeline.errors import ConfigError, TableError
from thumbline.pipeline.evidence.slices import response_facts
from thumbline.pipeline.stages.metrics import INPUTS, calibrated_judge, reward_of_run, run, settings, transform
from thumbline.pipeline.storage.digests import digest_text
from thumbline.pipeline.storage.tables import read_table, write_table
from thumbline.pipeline.tables import TABLES, polars_schema, validate
from thumbline.pipeline.training.scored import ScoredRows, with_losses


def identifier(*parts: object) -> str:
    return digest_text(*(str(part) for part in parts))


def config(method: str = "dpo", metrics: dict | None = None, **train):
    document = {"name": "run", "model": "demo", "events": {"inputs": ["log.jsonl"]}, "metrics": metrics or {}}
    return build_config({**document, "train": {"method": method, **train}}, origin="test")


def sigma(value: float) -> float:
    return 1 / (1 + exp(-value))


# Prompts 0 and 1 are held out, 2 was trained on; each has a good and a bad answer. By (prompt, answer): log-probs under
# the reference and the trained policy, and tokens.
SCORES = {
    (0, "good"): (-10.0, -8.0, 4),
    (0, "bad"): (-12.0, -15.0, 6),
    (1, "good"): (-20.0, -21.0, 10),
    (1, "bad"): (-9.0, -9.5, 3),
    (2, "good"): (-7.0, -1.0, 3),
    (2, "bad"): (-7.0, -9.0, 3),
}
PROMPTS = {0: ("Explain tides.", 1), 1: ("Объясни приливы, please.", 2), 2: ("潮汐", 1)}


def _prompt(place: int) -> list[dict[str, str]]:
    text, turns = PROMPTS[place]
    earlier = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}] * (turns - 1)
    return [*earlier, {"role": "user", "content": text}]


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _blank(table: str) -> dict[str, object]:
    """A row that says nothing: missing where it may be, else the least value of its type."""
    least = {pl.Int64: 0, pl.Float64: 0.5, pl.List: []}
    columns = TABLES[table].columns
    return {
        name: None if columns[name].nullable else least.get(kind.base_type())
        for name, kind in polars_schema(table).items()
    }


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    """Input tables of a run over three prompts."""
    keys = list(SCORES)
    split = {0: "test", 1: "test", 2: "train"}
    responses = [
        {
            **_blank("responses"),
            "response_id": identifier("r", *key),
            "prompt_id": identifier("p", key[0]),
            "prompt": _prompt(key[0]),
            "tools": None,
            "completion": f"{key}",
            "completion_extra": None,
            "model": "model-a" if key[1] == "good" else "model-b",
            "n_events": 3,
            "n_up": 2 if key[1] == "good" else 0,
            "n_down": 1,
            "label": "desirable" if key[1] == "good" else "undesirable",
        }
        for key in keys
    ]
    unpaired = [
        {
            "response_id": identifier("r", *key),
            "prompt_id": identifier("p", key[0]),
            "prompt": _prompt(key[0]),
            "completion": _answer(f"{key}"),
            "label": key[1] == "good",
            "weight": 1.0 if key[0] == 0 else 0.5,
            "probability_desirable": 0.9 if key[1] == "good" else 0.1,
        }
        for key in keys
    ]
    pairs = [
        {
            "pair_id": identifier("pair", place),
            "prompt_id": identifier("p", place),
            "prompt": _prompt(place),
            "chosen": _answer("good"),
            "rejected": _answer("bad"),
            "chosen_response_id": identifier("r", place, "good"),
            "rejected_response_id": identifier("r", place, "bad"),
            "pair_source": "votes",
            "margin": 0.5,
            "chosen_better_probability": 1.0,
        }
        for place in PROMPTS
    ]
    splits = [
        {"prompt_id": identifier("p", place), "group_id": identifier("g", place), "split": name}
        for place, name in split.items()
    ]
    sequence = {key: identifier("s", *key) for key in keys}
    # A row's mismatched partner is the other held-out prompt's answer of the same kind: a sequence scored like any.
    roles = [(key, "matched", sequence[key]) for key in keys]
    roles += [((place, kind), "mismatched", sequence[1 - place, kind]) for place in (0, 1) for kind in ("good", "bad")]
    row_sequences = [
        {"response_id": identifier("r", *key), "role": role, "sequence_id": name, "split": split[key[0]]}
        for key, role, name in roles
    ]
    reference = [{"sequence_id": sequence[key], "logps": SCORES[key][0], "token_count": SCORES[key][2]} for key in keys]
    policy = [
        {"sequence_id": sequence[key], "logps": SCORES[key][1], "token_count": SCORES[key][2]}
        for key in keys
        if split[key[0]] == "test"
    ]
    made = {
        "responses": responses,
        "unpaired": unpaired,
        "pairs": pairs,
        "splits": splits,
        "row_sequences": row_sequences,
        "reference": reference,
        "policy": policy,
    }
    return {
        name: validate(name, pl.DataFrame(rows, schema=polars_schema(name, optional=name == "responses")))
        for name, rows in made.items()
    }


def scored_rows(tables: dict[str, pl.DataFrame]) -> ScoredRows:
    return transform({**tables, "responses": response_facts(tables["responses"])})


def of_pair(rows: pl.DataFrame, place: int, model: str = "trained") -> dict:
    return rows.row(
        by_predicate=(pl.col("pair_id") == identifier("pair", place)) & (pl.col("model") == model), named=True
    )


def of_response(rows: pl.DataFrame, key: tuple[int, str], model: str = "trained") -> dict:
    chosen = (pl.col("response_id") == identifier("r", *key)) & (pl.col("model") == model)
    return rows.row(by_predicate=chosen, named=True)


def test_held_out_rows_are_scored_under_both_models(tables):
    scored = scored_rows(tables)
    assert (scored.pairs.height, scored.unpaired.height) == (4, 8)
    after, before = (of_pair(scored.pairs, 0, model) for model in ("trained", "untrained"))
    assert (after["policy_chosen_logps"], after["policy_rejected_logps"]) == (-8.0, -15.0)
    assert (before["policy_chosen_logps"], before["policy_rejected_logps"]) == (-10.0, -12.0)
    assert (after["reference_chosen_logps"], after["chosen_token_count"]) == (-10.0, 4)
    for name, rows in (("scored_pairs", scored.pairs), ("scored_unpaired", scored.unpaired)):
        validate(name, rows)


def test_what_a_row_can_be_sliced_by(tables):
    scored = scored_rows(tables)
    pair = of_pair(scored.pairs, 1)
    assert (pair["pair_source"], pair["response_model"], pair["turns"], pair["votes"]) == ("votes", "model-a", 2, 4)
    row = of_response(scored.unpaired, (1, "bad"))
    assert (row["response_model"], row["turns"], row["votes"]) == ("model-b", 2, 1)
    assert of_pair(scored.pairs, 0)["script"] == "latin"
    assert pair["script"] == "cyrillic"  # 14 Cyrillic letters, 6 Latin ones


def test_the_loss_of_dpo_by_hand(tables):
    scored = with_losses(scored_rows(tables), tables, config(loss={"beta": 0.5}).train)
    # chosen moved by 2, rejected by -3: z = 0.5 * 5; chosen by -1, rejected by -0.5: z = -0.25; untrained: 0
    assert of_pair(scored.pairs, 0)["loss"] == pytest.approx(-log(sigma(2.5)), rel=1e-12)
    assert of_pair(scored.pairs, 1)["loss"] == pytest.approx(-log(sigma(-0.25)), rel=1e-12)
    assert of_pair(scored.pairs, 1, "untrained")["loss"] == pytest.approx(log(2), rel=1e-12)
    assert scored.unpaired["loss"].null_count() == scored.unpaired.height


def test_a_pairs_weight_multiplies_its_loss_on_held_out_rows(tables):
    weights = pl.when(pl.col("pair_id") == identifier("pair", 0)).then(0.25).otherwise(1.0)
    weighed = {**tables, "pairs": tables["pairs"].with_columns(weight=weights)}
    scored = with_losses(scored_rows(weighed), weighed, config(loss={"beta": 0.5}).train)
    assert of_pair(scored.pairs, 0)["loss"] == pytest.approx(-0.25 * log(sigma(2.5)), rel=1e-12)
    assert of_pair(scored.pairs, 1)["loss"] == pytest.approx(-log(sigma(-0.25)), rel=1e-12)
    validate("scored_pairs", scored.pairs)


def test_tokens_beyond_the_shorter_answer_count_less_on_held_out_rows(tables):
    # Each token has an equal part of its answer's log-prob. Of pair 0, rejected has 2 tokens beyond chosen's 4.
    even = (pl.col("logps") / pl.col("token_count")).cast(pl.Float32).repeat_by("token_count")
    stored = {name: tables[name].with_columns(token_logps=even) for name in ("reference", "policy")}
    chosen = config(loss={"beta": 0.5}, ld_alpha=0.5).train
    scored = with_losses(scored_rows(tables), {**tables, **stored}, chosen)
    # rejected's log-ratio is -3, a third of it in the tail: -3 + 0.5 = -2.5, and z = 0.5 * (2 + 2.5)
    assert of_pair(scored.pairs, 0)["loss"] == pytest.approx(-log(sigma(2.25)), rel=1e-6)
    # chosen's log-ratio is -1, 7 of its 10 tokens in the tail: -0.65, and z = 0.5 * (-0.65 + 0.5)
    assert of_pair(scored.pairs, 1)["loss"] == pytest.approx(-log(sigma(-0.075)), rel=1e-6)
    assert of_pair(scored.pairs, 1, "untrained")["loss"] == pytest.approx(log(2), rel=1e-6)


def test_a_loss_whose_weights_or_tokens_are_not_stored_is_not_given(tables):
    for other in ({"weighting": "wpo"}, {"ld_alpha": 0.5}):
        scored = with_losses(scored_rows(tables), tables, config(**other).train)
        assert scored.pairs["loss"].null_count() == scored.pairs.height == 4
        assert settings(config(**other)) != settings(config())


def test_the_loss_of_a_sum_of_methods(tables):
    also = [{"method": "hinge", "weight": 2.0, "loss": {"beta": 0.5}}]
    scored = with_losses(scored_rows(tables), tables, config(loss={"beta": 0.5}, also=also).train)
    assert of_pair(scored.pairs, 1)["loss"] == pytest.approx(-log(sigma(-0.25)) + 2 * 1.25, rel=1e-12)


def test_the_loss_of_kto_by_hand(tables):
    scored = with_losses(scored_rows(tables), tables, config("kto", loss={"beta": 0.5}).train)
    # z0: log-ratios of the partners are those of all four answers, (2 - 3 - 1 - 0.5) / 4 < 0, so 0. Weights of the
    # classes are 1: one row of each was trained on. Rows of prompt 1 have weight 0.5.
    assert of_response(scored.unpaired, (0, "good"))["loss"] == pytest.approx(1 - sigma(0.5 * 2), rel=1e-12)
    assert of_response(scored.unpaired, (0, "bad"))["loss"] == pytest.approx(1 - sigma(0.5 * 3), rel=1e-12)
    assert of_response(scored.unpaired, (1, "bad"))["loss"] == pytest.approx(0.5 * (1 - sigma(0.25)), rel=1e-12)
    assert of_response(scored.unpaired, (1, "bad"), "untrained")["loss"] == pytest.approx(0.25, rel=1e-12)
    assert scored.pairs["loss"].null_count() == scored.pairs.height


def test_the_reference_point_of_kto_is_that_of_all_held_out_partners(tables):
    better = tables["policy"].with_columns(
        logps=pl.when(pl.col("logps") == -15.0).then(-4.0).otherwise(pl.col("logps"))
    )
    moved = {**tables, "policy": better}
    scored = with_losses(scored_rows(moved), moved, config("kto", loss={"beta": 0.5}).train)
    # z0 is (2 + 8 - 1 - 0.5) / 4 = 2.125
    assert of_response(scored.unpaired, (0, "good"))["loss"] == pytest.approx(1 - sigma(0.5 * (2 - 2.125)), rel=1e-12)


def test_classes_are_weighed_by_the_training_rows(tables):
    # Prompt 1 is trained on as well, its bad answer liked: 3 desirable rows to 1, so 1 weighs 3 / (4/3) = 2.25.
    trained = pl.col("response_id").is_in([identifier("r", 1, kind) for kind in ("good", "bad")])
    made = {
        **tables,
        "unpaired": tables["unpaired"].with_columns(label=pl.col("label") | trained),
        "splits": _moved(tables["splits"], pl.col("prompt_id") == identifier("p", 1)),
        "row_sequences": _moved(tables["row_sequences"], trained),
    }
    scored = with_losses(scored_rows(made), made, config("kto").train)
    assert scored.unpaired["response_id"].n_unique() == 2
    assert of_response(scored.unpaired, (0, "good"))["loss"] == pytest.approx(1 - sigma(0.2), rel=1e-12)
    assert of_response(scored.unpaired, (0, "bad"))["loss"] == pytest.approx(2.25 * (1 - sigma(0.3)), rel=1e-12)


def _moved(table: pl.DataFrame, rows: pl.Expr) -> pl.DataFrame:
    """The table with some of its rows in the training split."""
    split = pl.when(rows).then(pl.lit("train")).otherwise(pl.col("split").cast(pl.String))
    return table.with_columns(split=split.cast(table.schema["split"]))


@pytest.mark.parametrize("method", sorted(LOSSES))
def test_every_method_has_a_loss_on_held_out_rows(tables, method):
    scored = with_losses(scored_rows(tables), tables, config(method).train)
    kind = scored.pairs if LOSSES[method].paired else scored.unpaired
    assert kind["loss"].is_finite().all()


def test_a_loss_that_takes_prompts_has_no_stored_value(tables):
    chosen = config("orpo", loss={"nll_over": "prompt_and_chosen"}).train
    assert with_losses(scored_rows(tables), tables, chosen).pairs["loss"].null_count() == 4


def test_no_held_out_row_has_no_loss(tables):
    empty = {
        **tables,
        "splits": tables["splits"].with_columns(split=pl.lit("train").cast(tables["splits"]["split"].dtype)),
    }
    for method in ("dpo", "kto"):
        scored = with_losses(scored_rows(empty), empty, config(method).train)
        assert scored.pairs.is_empty() and scored.unpaired.is_empty()


@pytest.mark.parametrize("method", [name for name in sorted(LOSSES) if not special(name).bent_reward])
def test_a_reward_is_the_one_that_the_loss_gives_back(tables, method):
    # AlphaPO and f-DPO bend theirs, which keeps the order; any other is a scale times what its kind names.
    spec, chosen = LOSSES[method], config(method)
    scored = scored_rows(tables)
    rows = (scored.pairs if spec.paired else scored.unpaired).filter(pl.col("model") == "trained")
    columns = {name: torch.tensor(rows[name].to_list()) for name in rows.columns if "logps" in name or "count" in name}
    if spec.paired:
        counts = {f"{side}_token_counts": columns.pop(f"{side}_token_count") for side in ("chosen", "rejected")}
        own = spec.function(PairLogps(**columns, **counts), loss_config(method, {})).chosen_rewards
    else:
        counts = columns.pop("token_count")
        nothing = torch.zeros(0)
        batch = UnpairedLogps(**columns, labels=torch.tensor(rows["label"].to_list()))
        batch = dataclasses.replace(batch, policy_mismatched_logps=nothing, reference_mismatched_logps=nothing)
        batch = dataclasses.replace(batch, token_counts=counts)
        own = spec.function(batch, loss_config(method, {})).rewards
    side = "chosen_" if spec.paired else ""
    ours = rows.select(reward_of(*reward_of_run(chosen), side)).to_series()
    assert ours.to_list() == pytest.approx(own.tolist(), rel=1e-5)


def test_ipo_summed_has_a_summed_reward():
    assert reward_of_run(config("ipo")).kind == "mean_implicit"
    assert reward_of_run(config("ipo", loss={"reading": "sum"})).kind == "implicit"
    assert reward_of_run(config("ipo", metrics={"reward": "sum_logps"})).kind == "sum_logps"


@pytest.mark.parametrize("method", sorted(LOSSES))
def test_the_scale_of_a_reward_is_the_methods_own_default(method):
    scale = LOSSES[method].reward_scale
    own = 1.0 if scale is None else getattr(loss_config(method, {}), scale)
    assert reward_of_run(config(method)).beta == own


def test_the_scale_of_a_reward_as_set():
    assert reward_of_run(config("orpo", loss={"lambda_orpo": 0.3})).beta == 0.3
    assert reward_of_run(config("simpo", loss={"beta": 1.5})).beta == 1.5
    assert reward_of_run(config("simpo", metrics={"beta": 0.7})).beta == 0.7


def test_what_the_stage_depends_on_follows_the_method_and_the_slices():
    plain = settings(config())
    assert settings(config(loss={"label_smoothing": 0.1})) != plain
    assert settings(config(metrics={"slices": ["turns"]})) != plain
    assert settings(config(learning_rate=1e-3)) == plain


def test_a_slice_that_no_row_has_is_refused_at_once():
    with pytest.raises(ConfigError, match="metrics.slices"):
        config(metrics={"slices": ["topic"]})


def ran(tables: dict[str, pl.DataFrame], folder: Path, chosen: RunConfig) -> tuple[pl.DataFrame, StageResult]:
    """The stage's table `metrics` and its result, with its inputs as files."""
    folder.mkdir()
    empty = {name: pl.DataFrame(schema=polars_schema(name)) for name in INPUTS}
    texts = {"texts": tables["responses"].select(list(polars_schema("texts")))}
    for name, frame in {**empty, **texts, **tables}.items():
        # The tables of prompts are in the order of their ids.
        in_order = frame.sort("prompt_id", maintain_order=True) if "prompt_id" in frame.columns else frame
        write_table(folder / f"in_{name}.parquet", name, in_order)
    inputs = {name: folder / f"in_{name}.parquet" for name in INPUTS}
    result = run(StageContext(chosen, folder, inputs, SilentReporter(), folder))
    return read_table(folder / "metrics.parquet", "metrics"), result


def test_the_stage_writes_metrics_of_both_models_with_slices_and_losses(tables, tmp_path):
    found, result = ran(tables, tmp_path / "dpo", config(loss={"beta": 0.5}, metrics={"bootstrap_draws": 100}))
    loss = found.row(by_predicate=(pl.col("evaluator") == "pair_loss") & (pl.col("model") == "trained"), named=True)
    assert loss["value"] == pytest.approx((-log(sigma(2.5)) - log(sigma(-0.25))) / 2, rel=1e-9)
    accuracy = found.filter((pl.col("metric") == "accuracy") & (pl.col("model") == "trained"))
    assert dict(accuracy.select("slice", "value").iter_rows())[None] == 0.5
    slices = set(accuracy["slice"].drop_nulls())
    assert {"turns=1", "turns=2", "script=latin", "script=cyrillic", "votes=4", "pair_source=votes"} <= slices
    assert "token_count=4" in set(found.filter(pl.col("metric") == "auc")["slice"].drop_nulls())
    assert (result.counts.rows_in, result.counts.rows_out, result.counts.rejected) == (6, 6, 0)
    stored = read_table(tmp_path / "dpo" / "scored_pairs.parquet", "scored_pairs")
    assert stored["loss"].null_count() == 0


def test_the_slices_are_those_that_are_asked_for(tables, tmp_path):
    found, _ = ran(tables, tmp_path / "turns", config(metrics={"bootstrap_draws": 100, "slices": ["turns"]}))
    accuracy = found.filter((pl.col("metric") == "accuracy") & (pl.col("model") == "trained"))
    assert set(accuracy["slice"]) == {None, "turns=1", "turns=2"}
    none, _ = ran(tables, tmp_path / "none", config(metrics={"bootstrap_draws": 100, "slices": []}))
    assert none.filter(pl.col("metric") == "accuracy")["slice"].null_count() == 2


def test_log_probs_that_are_no_numbers_are_told_as_a_table_error(tables, tmp_path):
    broken = {**tables, "reference": tables["reference"].with_columns(logps=pl.lit(float("-inf")))}
    with pytest.raises(TableError, match="metrics: scored pairs: 2 of 4 rows have a policy_chosen_logps that is null"):
        ran(broken, tmp_path / "broken", config())


def _sampled() -> dict[str, pl.DataFrame]:
    """Two prompts with an answer of each model, judged by the thumbs model and a function, and forty votes."""
    keys = [(model, place) for model in ("trained", "untrained") for place in (0, 1)]
    prompts = [
        {
            "prompt_id": identifier("p", place),
            "group_id": identifier("g", place),
            "split": "test",
            "prompt": _prompt(place),
        }
        | {"tools": None, "prompt_token_ids": [1], "script": "latin", "turns": 1}
        for place in (0, 1)
    ]
    answers = [
        {"generation_id": identifier("a", *key), "prompt_id": identifier("p", key[1]), "model": key[0], "sample": 0}
        | {"group_id": identifier("g", key[1]), "completion": "Yes, they rise.", "completion_token_ids": [1, 2]}
        | {"token_count": 2, "finish": "stop", "reference_logps": -4.0, "policy_logps": -3.0}
        for key in keys
    ]
    answers[0]["completion"] = "No, they fall."
    judged = [
        {"judge": judge, "generation_id": identifier("a", *key), "score": float(key == keys[0]), "reason": None}
        for judge in ("thumbs", "rule")
        for key in keys
    ]
    # At score 0 a quarter of the votes is up, at score 1 three quarters.
    votes = [
        {"response_id": identifier("v", number), "prompt_id": identifier("vp", number), "split": "validation"}
        | {"group_id": identifier("vg", number), "label": up, "probability_desirable": float(up), "weight": 1.0}
        | {"score": float(number % 2), "probability": 0.5, "token_count": 2, "script": "latin"}
        for number in range(40)
        for up in [(number // 2) % 4 < 1 + 2 * (number % 2)]
    ]
    rows = {"generation_prompts": prompts, "generations": answers, "judgements": judged, "thumbs_scores": votes}
    return {
        name: validate(name, pl.DataFrame(of, schema=polars_schema(name, optional=True))) for name, of in rows.items()
    }


def _asking(**thumbs) -> RunConfig:
    document = config(metrics={"bootstrap_draws": 100}).model_dump(mode="json")
    document |= {"thumbs": {"method": "reward_bce", "calibration": "isotonic", **thumbs}}
    document |= {
        "generations": {"samples": 1},
        "judges": [{"judge": "tests.laws:scaled", "name": "rule"}, {"judge": "thumbs"}],
    }
    return build_config(document, origin="test")


def test_sampled_answers_have_metrics_beside_those_of_logged_ones(tables, tmp_path):
    found, _ = ran({**tables, **_sampled()}, tmp_path / "asked", _asking())
    named = {(row["metric"], row["judge"]): row for row in found.iter_rows(named=True) if row["slice"] is None}
    assert named["win_rate", "rule"]["value"] == 0.75  # a win and a tie
    assert named["rate_difference", "thumbs"]["value"] == pytest.approx(0.25)  # half of 3/4 less 1/4
    assert named["reference_nats_per_token", None]["value"] == 2.0
    assert named["accuracy_difference", None]["evaluator"] == "comparison"


def test_a_thumbs_model_of_elsewhere_is_not_the_calibrated_one():
    assert calibrated_judge(_asking()) == "thumbs"
    other = {"judges": [{"judge": "thumbs", "options": {"model": "elsewhere"}}]}
    assert calibrated_judge(build_config({**_asking().model_dump(mode="json"), **other}, origin="test")) is None
    assert settings(_asking()) != settings(_asking(calibration="platt"))
