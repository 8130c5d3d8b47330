import pytest
import torch


@pytest.fixture
def default_dtype(request):
    """The type that a caller's training loop may have made the default of all new tensors."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)
