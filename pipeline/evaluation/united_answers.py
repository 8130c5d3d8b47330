"""Sampled answers of several runs side by side, where the same prompts were answered and the same judges asked."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import polars as pl

from ..storage.manifests import Manifest
from .subject import UNTRAINED, Subject

TABLES: Final = ("generation_prompts", "generations", "judgements", "judged_pairs")


class UnitedAnswers(NamedTuple):
    """Answers of all subjects.

    Attributes:
        tables: Tables of answers and judgements; none where they are not compared.
        judges: Who judged them all, the first one's first judge first.
        note: What the reader must know of answers that are not compared, or of judges left out; empty for nothing.
    """

    tables: Mapping[str, pl.DataFrame]
    judges: tuple[str, ...]
    note: str


def unite_answers(subjects: Mapping[str, Subject], names: Mapping[str, Mapping[str, str]]) -> UnitedAnswers:
    """The answers of all subjects, by every judge that is the same in all of them.

    Args:
        subjects: By their names.
        names: What each subject's models are called together.
    """
    asked = [name for name, one in subjects.items() if _answers(one) is not None]
    if not asked:
        return UnitedAnswers({}, (), "")
    told = f"Sampled answers ({', '.join(asked)}) are not compared on this page, so it says nothing of win rates: "
    if why := _why_not(subjects, asked):
        return UnitedAnswers({}, (), told + why)
    judges = [_judges(one) for one in subjects.values()]
    shared = tuple(name for name, what in judges[0].items() if all(other.get(name) == what for other in judges[1:]))
    if not shared:
        return UnitedAnswers({}, (), f"{told}no judge is the same in all of them.")
    left = sorted({name for found in judges for name in found} - set(shared))
    note = f"Judges that are not the same in all runs are left out here: {', '.join(left)}." if left else ""
    first = next(iter(subjects))
    parts = [_renamed(one, names[name], shared, with_untrained=name == first) for name, one in subjects.items()]
    tables = {table: pl.concat([part[table] for part in parts], how="diagonal_relaxed") for table in TABLES}
    tables["generation_prompts"] = tables["generation_prompts"].unique("prompt_id", maintain_order=True)
    # Pairs with answers of the untrained model that another run has not.
    known = tables["generations"]["generation_id"].implode()
    tables["judged_pairs"] = tables["judged_pairs"].filter(pl.col("baseline_generation_id").is_in(known))
    return UnitedAnswers(tables, shared, note)


def _answers(subject: Subject) -> pl.DataFrame | None:
    frame = subject.tables.get("generations")
    return None if frame is None or frame.is_empty() else frame


def _why_not(subjects: Mapping[str, Subject], asked: Sequence[str]) -> str:
    """Why the answers cannot stand in one table; empty where they can."""
    if missing := [name for name in subjects if name not in asked]:
        return f"{', '.join(missing)} sampled none. `generations` in its run file asks its model."
    if any(not isinstance(one.manifests.get("judgements"), Manifest) for one in subjects.values()):
        return "they are not all of runs."
    if len({json.dumps(_sampling(one), sort_keys=True) for one in subjects.values()}) > 1:
        return "they were sampled in different ways (`generations`)."
    prompts = [set(one.tables["generations"]["prompt_id"]) for one in subjects.values()]
    if any(found != prompts[0] for found in prompts):
        return "they answer different prompts."
    if len({str(one.manifests["generations"].notes.get("reference_key")) for one in subjects.values()}) > 1:
        return "they were scored under different untrained models."
    return ""


def _sampling(subject: Subject) -> dict[str, Any]:
    """How answers were drawn; which further models answered, and by what engine, does not matter."""
    assert subject.config is not None, "what has manifests is a run"
    return subject.config.generations.model_dump(mode="json", exclude={"models", "engine"})


def _judges(subject: Subject) -> dict[str, Any]:
    """Each judge with all that decides what it says: its settings, its file or model, the votes that it looks up."""
    manifest = subject.manifests["judgements"]
    own = {"thumbs": "thumbs_model", "votes": "responses"}
    found = {}
    for judge in manifest.config.get("judges", []):
        name = judge["name"]
        read = {key: digest for key, digest in manifest.inputs.items() if key.startswith(f"{name}:")}
        read |= {key: manifest.inputs.get(key, "") for kind, key in own.items() if judge["judge"] == kind}
        found[name] = (judge, read, manifest.config.get("thumbs") if judge["judge"] == "thumbs" else None)
    return found


def _renamed(
    subject: Subject, names: Mapping[str, str], judges: Sequence[str], *, with_untrained: bool
) -> dict[str, pl.DataFrame]:
    """A subject's tables with the models' common names, and ids of answers that are each model's own.

    The untrained model is the same one in all, so that its answers are taken from one subject.
    """
    told = subject.tables
    common = {**names, UNTRAINED: UNTRAINED}
    named = pl.col("model").is_in(list(common))
    every = told["generations"].filter(named).with_columns(model=pl.col("model").replace(common))
    own_id = pl.format("{}/{}", "model", "generation_id")
    ids = dict(every.select("generation_id", own_id.alias("new")).iter_rows())
    generations = every.filter(with_untrained | (pl.col("model") != UNTRAINED)).with_columns(generation_id=own_id)
    new_id = pl.col("generation_id").replace(ids)
    said = told["judgements"].filter(pl.col("judge").is_in(judges)).with_columns(generation_id=new_id)
    pairs = told["judged_pairs"].filter(named, pl.col("judge").is_in(judges))
    return {
        "generation_prompts": told["generation_prompts"],
        "generations": generations,
        "judgements": said.filter(pl.col("generation_id").is_in(generations["generation_id"].implode())),
        "judged_pairs": pairs.with_columns(
            model=pl.col("model").replace(common),
            baseline=pl.col("baseline").replace(common),
            generation_id=new_id,
            baseline_generation_id=pl.col("baseline_generation_id").replace(ids),
        ),
    }
