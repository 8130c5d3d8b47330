"""What a person should read of a finished stage: what was set aside and why, and why a table is empty."""

from collections.abc import Mapping
from typing import Any, Final

from ..hiding import PUBLIC_USER_KEY
from ..ingest.reasons import counted, reject_lines
from ..storage.manifests import Manifest

# Why an answer has no label, and what to do where none has one.
_UNLABELLED: Final[Mapping[str, str]] = {
    "comparison_only": "The log compares answers and rates none alone: methods on pairs, such as dpo, take it.",
    "unrated": "No vote was read: state its column, as in --set 'events.options={vote: rating}'.",
    "tied": "Votes on one answer are as often up as down: collect more of them.",
    "low_confidence": "Too few votes an answer to be sure: collect more, or lower responses.min_confidence.",
    "retracted": "All votes were taken back.",
    "unreliable_raters": "The votes of these raters count nothing: see responses.reliability.",
}


def stage_lines(manifest: Manifest, *, brief: bool = False) -> list[str]:
    """Sentences on what the stage set aside, then on what else was seen.

    Args:
        manifest: Of any stage.
        brief: Counts alone of what was rejected, where an error follows that says the rest.
    """
    own = {"events": _events, "responses": _responses, "unpaired": _unpaired, "pairs": _pairs, "splits": _splits}
    try:
        if manifest.stage == "events" and brief:
            return [*reject_lines(manifest, brief=True), *manifest.said]
        return [*own.get(manifest.stage, _nothing)(manifest), *manifest.said]
    except (TypeError, ValueError, AttributeError, KeyError):
        # They lie in a file, and one without a digest may hold anything.
        return ["what its manifest notes cannot be read, so that what was set aside is not told; run the stage again"]


def _nothing(manifest: Manifest) -> list[str]:
    return []


def _events(manifest: Manifest) -> list[str]:
    return [*reject_lines(manifest), *_public_key(manifest)]


def _public_key(manifest: Manifest) -> list[str]:
    """That user ids were hashed with a key that everybody knows, where there are any."""
    users = manifest.notes.get("users", 0)
    if not users or manifest.config.get("user_key") != PUBLIC_USER_KEY:
        return []
    return [
        f"the ids of {users:,} user{'' if users == 1 else 's'} are hashed with the public key '{PUBLIC_USER_KEY}': who "
        "guesses an id finds its rows. Set events.user_key to a secret of your own."
    ]


def _responses(manifest: Manifest) -> list[str]:
    dropped = _ordered(manifest.notes.get("dropped", {}))
    return [f"left out: {counted(dropped)}"] if dropped else []


def _unpaired(manifest: Manifest) -> list[str]:
    reasons = _ordered(manifest.notes.get("abstained", {}))
    if not reasons:
        return []
    advice = "" if manifest.counts.rows_out else f". {no_label(reasons[0][0])}"
    return [f"no label: {counted(reasons)}{advice}".rstrip()]


def no_label(reason: str) -> str:
    """What helps where answers have no label for this reason; empty where that cannot be said."""
    return _UNLABELLED.get(reason, "")


def _pairs(manifest: Manifest) -> list[str]:
    missed: Mapping[str, Mapping[str, Any]] = manifest.notes.get("unpaired_prompts", {})
    if not missed:
        return []
    reasons = _ordered({outcome: int(found["n_prompts"]) for outcome, found in missed.items()})
    advice = "" if manifest.counts.rows_out else f". {missed[reasons[0][0]]['advice']}"
    return [f"no pair: {counted(reasons)}{advice}"]


def _splits(manifest: Manifest) -> list[str]:
    notes = manifest.notes
    rows = {name: notes["unpaired"][name] + notes["pairs"][name] for name in notes["prompts"]}
    asked = {name: manifest.config.get(name, 0.0) for name in ("validation", "test")}
    empty = [name for name, share in asked.items() if share and not rows[name]]
    if not empty:
        return []
    groups = notes["groups"]
    return [
        f"no row is in {' or '.join(empty)}, where {' and '.join(f'{asked[name]:.0%}' for name in empty)} were asked "
        f"for: the {sum(rows.values()):,} rows are of {groups:,} group{'' if groups == 1 else 's'} of prompts that "
        f"share a text, a conversation or a pair, and a group is never divided. Collect more prompts, or see "
        f"splits.group_by."
    ]


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((name, count) for name, count in counts.items() if count), key=lambda entry: (-entry[1], entry[0]))
