"""What a launcher leaves in the environment: taken out of it, and refused where it does not hold together."""

import pytest

from thumbline.pipeline.errors import InputError
from thumbline.pipeline.peers import taken

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "ROLE_RANK": "3",
    "MASTER_ADDR": "host",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}


def test_nothing_of_a_launcher_is_left_for_engines_to_find():
    environment = TORCHRUN | {"ACCELERATE_MIXED_PRECISION": "bf16", "FSDP_VERSION": "2", "HOME": "/root"}
    found = taken(environment)
    assert environment == {"HOME": "/root"}
    assert (found.rank, found.size, found.local_rank, found.is_first) == (3, 4, 1, False)
    assert (found.address, found.port, found.hosted, found.attempt) == ("host", 29500, True, "2")


def test_one_process_is_alone_and_its_engines_are_none_the_wiser():
    environment = TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}
    assert taken(environment) is None
    assert environment == {}


def test_without_a_launcher_the_environment_stays_as_it_is():
    environment = {"MASTER_ADDR": "host", "FSDP_VERSION": "2"}
    assert taken(environment) is None
    assert len(environment) == 2


@pytest.mark.parametrize("change", [{"MASTER_PORT": "http"}, {"MASTER_ADDR": None}, {"RANK": "first"}])
def test_variables_that_do_not_hold_together_are_refused(change):
    environment = {name: value for name, value in (TORCHRUN | change).items() if value is not None}
    with pytest.raises(InputError, match="Start the command by torchrun or accelerate launch, or unset RANK"):
        taken(environment)
