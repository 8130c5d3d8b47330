"""A data set's folder to the hub."""

from pathlib import Path
from typing import cast

from ..errors import InputError
from ..libraries import check_libraries
from .lines import REJECTS
from .rows import KINDS


def push_dataset(folder: Path, repo_id: str, *, private: bool) -> str:
    """Upload a data set and its card, in one commit that also removes rows of ours which are no longer there.

    The token and the hub's address come from the client's own environment: `hf auth login`, HF_TOKEN, HF_ENDPOINT.

    Args:
        folder: A data set in TRL's layout.
        repo_id: NAME, or ORGANISATION/NAME.
        private: Whether a data set that is made now is private; one that is there stays as it is.

    Returns:
        The address of the data set.

    Raises:
        MissingDependencyError: The hub's client is not installed.
        InputError: The hub refuses, or cannot be reached.
    """
    check_libraries("--push-to-hub", "huggingface_hub")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    # The bases of its error are those of its HTTP client, which differs from release to release.
    bases = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    refusals: tuple[type[Exception], ...] = (*bases, HFValidationError, LocalTokenNotFoundError)
    api = HfApi()
    try:
        made = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            repo_type="dataset",
            folder_path=folder,
            ignore_patterns=[REJECTS],
            delete_patterns=[f"{kind}/*.parquet" for kind in KINDS],
            commit_message="Rows by split, and their card",
        )
    except refusals as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"export: the hub does not take '{repo_id}': {first} The files are in {folder}; `hf auth login` or "
            f"HF_TOKEN gives the right to write."
        ) from error
    return str(made)
