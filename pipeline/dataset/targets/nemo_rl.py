"""NVIDIA NeMo-RL's DPO.

Source: NeMo-RL, "Direct Preference Optimization in NeMo RL" and `nemo_rl.data.datasets.preference_datasets` with
`preference_preprocessor`: a context, and two ranked completions of one response each; the lower rank is preferred.
Tools are not handed to the chat template there.
"""

from typing import Final

from ..rows import Pair
from .base import Limits, Line, Target, Written
from .checks import ends_with, of_roles, text_pair


def _pair(row: Pair) -> Line:
    texts = text_pair(row)
    of_roles(texts.prompt, ("system", "user", "assistant"))
    ends_with(texts.prompt, "user")
    answers = (texts.chosen, texts.rejected)
    ranked = [{"rank": rank, "completion": [answer]} for rank, answer in enumerate(answers)]
    return Line({"context": texts.prompt, "completions": ranked})


def _usage(written: Written) -> str:
    held_out = written.file("pairs", "validation")
    validation = f"  val_data_paths:\n    held_out: {held_out}\n" if held_out else ""
    return f"""In the run's YAML (`examples/run_dpo.py --config ...`):

```yaml
data:
  train:
    dataset_name: PreferenceDataset
    data_path: {written.file("pairs", "train")}
{validation}```

Releases before that layout have `dataset_name: PreferenceDataset` and `train_data_path` right under `data`.
"""


TARGET: Final = Target(name="nemo-rl", title="NVIDIA NeMo-RL DPO", usage=_usage, pair=_pair, limits=Limits())
