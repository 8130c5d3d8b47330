"""What is asked of an object store in as many tries as it may take, and what it is told as where it does not come."""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ..errors import InputError, MachineError
from ..hiding import as_told

# Beside the tries of the client itself, seconds before each further one.
PAUSES: Final = (0.5, 1.0, 2.0)
# What another try does not mend. Clients of their own names: no credentials, no such profile, a wrong parameter.
FINAL_KINDS: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError)
_FINAL_NAMES: Final = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ParamValidationError", "RefreshError"}
)
# What clients call a server that is not there. One that has answered before may be away for a while; for an address
# that never has, the client's own tries are enough.
_NOBODY_THERE: Final = frozenset(
    {
        "ClientConnectorDNSError",
        "ClientConnectorError",
        "ConnectTimeoutError",
        "EndpointConnectionError",
        "ServiceRequestError",
        "gaierror",
    }
)
_Result = TypeVar("_Result")
_logger = logging.getLogger(__name__)


class Patience:
    """How one store is asked."""

    def __init__(self) -> None:
        """It has not answered yet."""
        self._has_answered = False

    def tried(self, what: str, address: str, act: Callable[[], _Result]) -> _Result:
        """What `act` gives.

        Args:
            what: What is done with it: `read`.
            address: What is read or written, without secrets.
            act: Asks the store.

        Raises:
            FileNotFoundError: There is no such object.
            InputError: The store refuses.
            MachineError: It has failed in every try, or nobody is there.
        """
        for pause in (*PAUSES, None):
            try:
                result = act()
            except FileNotFoundError:
                self._has_answered = True
                raise
            except (InputError, MachineError):
                raise
            # Clients of s3, gs and az share no kind of error, and none of theirs can be imported without its extra.
            except Exception as error:
                told = self._ending(what, address, error, is_last=pause is None)
                if told is not None:
                    raise told from error
                _logger.info("%s is tried again: %s", address, error_words(error))
            else:
                self._has_answered = True
                return result
            # The last try, without a pause after it, has returned or raised.
            time.sleep(pause or 0.0)
        raise AssertionError("the last try returns or raises")

    def _ending(self, what: str, address: str, error: Exception, *, is_last: bool) -> InputError | MachineError | None:
        """What a client's error is told as where no other try follows."""
        if isinstance(error, FINAL_KINDS) or type(error).__name__ in _FINAL_NAMES:
            return InputError(
                f"{address}: cannot be {what} ({error_words(error)}). Look at the address and at the credentials that "
                f"its client reads."
            )
        if not self._has_answered and _is_unreachable(error):
            return MachineError(
                f"{address}: the store is not to be reached ({error_words(error)}). Look at the address, at its "
                f"endpoint (AWS_ENDPOINT_URL, or fsspec's settings) and at the network."
            )
        if is_last:
            return MachineError(
                f"{address}: cannot be {what}, in {len(PAUSES) + 1} tries ({error_words(error)}). Once the store "
                f"answers again, the same command goes on from here."
            )
        return None


def error_words(error: BaseException) -> str:
    """An error of a client in a line: its kind and the first line of what it says."""
    first = as_told((str(error).strip().splitlines() or [""])[0])
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether there is no server, by what a client says or by what it says that from."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError) or type(error).__name__ in _NOBODY_THERE:
            return True
        error = error.__cause__ or error.__context__
    return False
