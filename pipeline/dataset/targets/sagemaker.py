"""DPO of open models on SageMaker (JumpStart's catalogue, serverless customization).

Source: AWS, "DPO" under "Customization techniques" (Amazon SageMaker AI): JSON lines with `chosen` and `rejected`
as whole lists of messages; a system turn is first, and the same in both.
"""

from typing import Final

from ..rows import Pair
from .base import Limits, Line, Target, Written
from .checks import conversation, ends_with, of_roles, text_pair


def _pair(row: Pair) -> Line:
    texts = text_pair(row)
    turns = conversation(texts.prompt).turns
    of_roles(turns, ("user", "assistant"))
    ends_with(turns, "user")
    return Line({"chosen": [*texts.prompt, texts.chosen], "rejected": [*texts.prompt, texts.rejected]})


def _usage(written: Written) -> str:
    train, held_out = written.file("pairs", "train"), written.file("pairs", "validation")
    copies = "\n".join(f"aws s3 cp {name} s3://BUCKET/{name}" for name in (train, held_out) if name)
    validation = f',\n    validation_dataset="s3://BUCKET/{held_out}"' if held_out else ""
    return f"""```bash
{copies}
```

```python
from sagemaker.train.dpo_trainer import DPOTrainer

DPOTrainer(
    model="MODEL_ID_OF_JUMPSTART",
    training_dataset="s3://BUCKET/{train}"{validation},
).train()
```
"""


TARGET: Final = Target(name="sagemaker", title="SageMaker JumpStart DPO", usage=_usage, pair=_pair, limits=Limits())
