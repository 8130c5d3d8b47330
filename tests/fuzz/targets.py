"""Everything that is fed with damaged inputs, by name."""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.fuzz.cases import Target
from tests.fuzz.logs import Logs, examples
from tests.fuzz.runs import Runs
from tests.fuzz.scored import Judged, Pairs, Scored
from tests.fuzz.settings import Settings
from tests.fuzz.stores import Stores

TARGETS: Final[dict[str, Callable[[], Target]]] = {
    **{f"log-{name}": partial(Logs, name) for name in sorted(examples())},
    "settings": Settings,
    "run": Runs,
    "store": Stores,
    "scored": Scored,
    "pairs": Pairs,
    "judged": Judged,
}
