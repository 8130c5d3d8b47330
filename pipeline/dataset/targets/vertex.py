"""Preference tuning of Gemini on Vertex AI.

Source: Google Cloud, "Prepare preference tuning data for Gemini models" and "About preference tuning for Gemini
models": contents that end with a user turn, a system instruction, two completions of one model turn with the scores
1 and 0, text alone; at most 131,072 tokens a row, 1 GB and 1 million rows a training file (the lower of two stated
bounds), 5,000 validation rows.
"""

from typing import Any, Final

from ..rows import Message, Pair
from .base import Limits, Line, Target, Written
from .checks import alternating, begins_with, conversation, ends_with, of_roles, text_pair

_ROLES: Final = {"user": "user", "assistant": "model"}


def _pair(row: Pair) -> Line:
    texts = text_pair(row)
    system, turns = conversation(texts.prompt)
    of_roles(turns, tuple(_ROLES))
    begins_with(turns, "user")
    alternating(turns)
    ends_with(turns, "user")
    line: dict[str, Any] = {} if system is None else {"system_instruction": {"parts": [{"text": system}]}}
    line["contents"] = [_turn(message) for message in turns]
    line["completions"] = [
        {"score": score, "completion": _turn(answer)} for score, answer in ((1, texts.chosen), (0, texts.rejected))
    ]
    return Line(line)


def _turn(message: Message) -> dict[str, Any]:
    return {"role": _ROLES[message["role"]], "parts": [{"text": message["content"]}]}


def _usage(written: Written) -> str:
    held_out = written.file("pairs", "validation")
    copied = [name for name in (written.file("pairs", "train"), held_out) if name]
    validation = f',\n      "validationDatasetUri": "gs://BUCKET/{held_out}"' if held_out else ""
    return f"""```bash
gcloud storage cp {" ".join(copied)} gs://BUCKET/
curl -X POST -H "Authorization: Bearer $(gcloud auth print-access-token)" -H "Content-Type: application/json" \\
  https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/tuningJobs -d '{{
    "baseModel": "gemini-2.5-flash",
    "preferenceOptimizationSpec": {{
      "trainingDatasetUri": "gs://BUCKET/{written.file("pairs", "train")}"{validation},
      "hyperParameters": {{"beta": 0.1}}
    }}}}'
```
"""


TARGET: Final = Target(
    name="vertex",
    title="Vertex AI preference tuning of Gemini",
    usage=_usage,
    pair=_pair,
    limits=Limits(max_rows=1_000_000, max_held_out_rows=5_000, max_bytes=10**9, long_row_bytes=131_072),
)
