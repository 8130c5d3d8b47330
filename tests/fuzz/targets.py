"""Everything that is fed with damaged inputs, by name."""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.fuzz.cases import Target
from tests.fuzz.compared import Compared
from tests.fuzz.keyed import Keyed
from tests.fuzz.logs import Logs, examples
from tests.fuzz.models import Models
from tests.fuzz.planned import Plans, Sweeps
from tests.fuzz.runs import Runs
from tests.fuzz.scored import Judged, Pairs, Scored
from tests.fuzz.settings import Settings
from tests.fuzz.splits import Splits
from tests.fuzz.started import Started
from tests.fuzz.stores import Stores

TARGETS: Final[dict[str, Callable[[], Target]]] = {
    **{f"log-{name}": partial(Logs, name) for name in sorted(examples())},
    "settings": Settings,
    "keyed": Keyed,
    "init": Started,
    "sweep": Sweeps,
    "plan": Plans,
    "model": Models,
    "splits": Splits,
    "run": Runs,
    "store": Stores,
    "scored": Scored,
    "compare": Compared,
    "pairs": Pairs,
    "judged": Judged,
}
