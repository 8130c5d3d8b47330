"""The card of an exported data set: YAML that the hub reads, and what a person should know of the columns."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import yaml

from ..config import RunConfig
from ..report.formatting import markdown
from ..tables import SPLIT

CARD: Final = "README.md"
# The hub's own classes of size: rows below each bound.
_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
_LARGEST: Final = "n>100M"
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "unpaired": {
        "prompt": "Messages before the answer.",
        "completion": "The answer, as one message of the assistant.",
        "label": "True where the votes make the answer desirable.",
        "probability_desirable": "Posterior probability that more than half of users would vote up; a soft label.",
        "weight": "Weight of the row in a loss.",
    },
    "pairs": {
        "prompt": "Messages before the answers.",
        "chosen": "The better answer, as one message of the assistant.",
        "rejected": "The worse answer.",
        "chosen_better_probability": "Probability that chosen really is the better one; a soft label.",
        "margin": "Difference of the two answers' posterior means.",
        "pair_source": "Where the preference comes from: votes on both answers, or an explicit comparison.",
    },
}
# What rows of some logs have beside that, as the lines that say it.
EXTRAS: Final[Mapping[str, str]] = {
    "tools": "| `tools` | Tools offered with the prompt, as JSON; null where there were none. |",
    "messages": "\nMessages are of the type `Json` of `datasets`: some carry tool calls or thoughts.",
}
_ABOUT: Final[Mapping[str, str]] = {
    "unpaired": "One row a labelled answer, in the layout of TRL's KTO trainer.",
    "pairs": "One row a pair of answers to one prompt, in the layout of TRL's DPO trainer.",
}


def dataset_card(
    config: RunConfig,
    rows: Mapping[str, int],
    digest: str,
    left_out: Mapping[str, int],
    extras: Mapping[str, Collection[str]],
) -> str:
    """The card's Markdown, with its YAML block.

    Args:
        config: The run that prepared the data.
        rows: Rows by file, as `KIND/SPLIT.parquet`. Files without rows are no split of the data set.
        digest: Hexadecimal digest of all rows. It makes the version: `datasets` keeps a copy of what it loaded by the
            folder's name and card, and would give the old rows of a folder that was written anew.
        left_out: Rows of the run that no trainer takes, by reason.
        extras: By kind, which of `EXTRAS` its rows have.
    """
    filled = {
        kind: {split: rows[name] for split in SPLIT.categories if (name := f"{kind}/{split}.parquet") in rows}
        for kind in _ABOUT
    }
    kinds = {kind: splits for kind, splits in filled.items() if any(splits.values())}
    block = yaml.safe_dump(_metadata(kinds, digest), sort_keys=False, allow_unicode=True)
    return f"---\n{block}---\n\n{_text(config, kinds, left_out, extras)}"


def _metadata(kinds: Mapping[str, Mapping[str, int]], digest: str) -> dict[str, Any]:
    total = sum(sum(splits.values()) for splits in kinds.values())
    return {
        "pretty_name": "Prepared feedback",
        "task_categories": ["text-generation"],
        "tags": ["preference", "human-feedback", "kto", "dpo", "trl", "thumbline"],
        "size_categories": [next((name for bound, name in _SIZES if total < bound), _LARGEST)],
        "configs": [
            {
                "config_name": kind,
                "version": f"1.0.{int(digest[:8], 16)}",
                "data_files": [
                    {"split": split, "path": f"{kind}/{split}.parquet"} for split, count in splits.items() if count
                ],
            }
            for kind, splits in kinds.items()
        ],
    }


def _text(
    config: RunConfig,
    kinds: Mapping[str, Mapping[str, int]],
    left_out: Mapping[str, int],
    extras: Mapping[str, Collection[str]],
) -> str:
    lines = [
        f"# {markdown(config.name)}",
        "",
        "Feedback on a model's answers, prepared for preference optimisation by thumbline. Prompts that belong",
        "together never cross splits, and both kinds of rows share one split.",
        "",
    ]
    for kind, splits in kinds.items():
        counts = ", ".join(f"{count:,} {split}" for split, count in splits.items())
        lines += [f"## {kind}", "", f"{_ABOUT[kind]} Rows: {counts}.", "", "| column | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in _COLUMNS[kind].items()]
        lines += [EXTRAS[name] for name in EXTRAS if name in extras.get(kind, ())]
        lines += [
            "",
            "```python",
            "from datasets import load_dataset",
            f'rows = load_dataset("PATH_OR_HUB_ID", "{kind}")',
            "```",
            "",
        ]
    if left_out:
        lines += ["## Left out", "", "Rows of the run that no trainer takes; `rejects.jsonl` names each.", ""]
        lines += [f"- `{reason}`: {count:,}" for reason, count in sorted(left_out.items())]
        lines += [""]
    lines += [
        "## Before you share this",
        "",
        "Prompts and answers stand here as the log holds them: they can contain personal data. User ids are not in",
        "this data set. No licence is stated: say which one holds.",
        "",
    ]
    return "\n".join(lines)
