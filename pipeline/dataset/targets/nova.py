"""DPO of Amazon Nova.

Source: AWS, "Direct preference optimization (DPO)", "Fine-tune Nova 1.0" and "Preparing data for fine-tuning
Understanding models" (Amazon Nova): the format of Converse with an optional system text, roles user and assistant,
the first turn the user's, and a last turn of the assistant with two candidates; words that are reserved in prompts;
1,000 pairs are advised.
"""

from typing import Any, Final

from ..rows import Message, Pair
from .base import CannotTakeError, Limits, Line, Target, Written
from .checks import alternating, begins_with, conversation, ends_with, of_roles, text_pair

_RESERVED: Final = ("User:", "Bot:", "Assistant:", "System:", "<image>", "<video>", "[EOS]")
_ADVISED: Final = 1_000


def _pair(row: Pair) -> Line:
    texts = text_pair(row)
    system, turns = conversation(texts.prompt)
    of_roles(turns, ("user", "assistant"))
    begins_with(turns, "user")
    alternating(turns)
    ends_with(turns, "user")
    _without_reserved(texts.prompt)
    line: dict[str, Any] = {"schemaVersion": "bedrock-conversation-2024"}
    if system is not None:
        line["system"] = [{"text": system}]
    candidates = [
        {"content": [{"text": answer["content"]}], "preferenceLabel": label}
        for label, answer in (("preferred", texts.chosen), ("non-preferred", texts.rejected))
    ]
    said = [{"role": message["role"], "content": [{"text": message["content"]}]} for message in turns]
    return Line({**line, "messages": [*said, {"role": "assistant", "candidates": candidates}]})


def _without_reserved(messages: list[Message]) -> None:
    for message in messages:
        for word in _RESERVED:
            if word in message["content"]:
                raise CannotTakeError("reserved_words", f"the prompt holds '{word}', which makes the job fail")


def _usage(written: Written) -> str:
    train, held_out = written.file("pairs", "train"), written.file("pairs", "validation")
    rows = written.rows.get(train or "", 0)
    advice = f"At least {_ADVISED:,} pairs are advised; here are {rows:,}.\n\n" if rows < _ADVISED else ""
    copies = "\n".join(f"aws s3 cp {name} s3://BUCKET/{name}" for name in (train, held_out) if name)
    channels = f'"train": "s3://BUCKET/{train}"' + (f', "validation": "s3://BUCKET/{held_out}"' if held_out else "")
    return f"""{advice}```bash
{copies}
```

```python
from sagemaker.inputs import TrainingInput
from sagemaker.pytorch import PyTorch

estimator = PyTorch(training_recipe="fine-tuning/nova/nova_lite_p5_gpu_lora_dpo", ...)  # any DPO recipe of Nova
channels = {{{channels}}}
estimator.fit({{name: TrainingInput(uri, distribution="FullyReplicated", s3_data_type="Converse")
               for name, uri in channels.items()}})
```
"""


TARGET: Final = Target(name="nova", title="Amazon Nova DPO", usage=_usage, pair=_pair, limits=Limits())
