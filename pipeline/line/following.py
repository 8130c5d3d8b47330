"""What the other processes of a command do: wait for the first one, and take part in the stage that it calls for."""

import json
from pathlib import Path

from ..context import SilentReporter, StageContext
from ..errors import InputError
from ..peers import Peers
from ..storage.manifests import partial_dir
from .running import tables_of
from .saved import load_saved_config
from .stages import stage_named


def follow(peers: Peers) -> None:
    """Take part in whatever the first process calls for, until it ends.

    Args:
        peers: The processes of the command, seen from one that is not the first.

    Raises:
        PipelineError: What a stage says about its input, settings or machine.
        InputError: The run's folder is not to be seen from here.
    """
    for word in peers.words():
        call = json.loads(word)
        run_dir, stage = Path(call["run_dir"]), stage_named(call["stage"])
        if not run_dir.is_dir():
            raise InputError(
                f"{run_dir}: process {peers.rank + 1} of {peers.size} does not see the run's folder. Put it on a disk "
                f"that all machines share (`runs` in the run file)."
            )
        config = load_saved_config(run_dir)
        folder = partial_dir(run_dir / stage.name)
        stage.take_part(
            StageContext(config, folder, tables_of(config, stage), reporter=SilentReporter(), run_dir=run_dir)
        )
