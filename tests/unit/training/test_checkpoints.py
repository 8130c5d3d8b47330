"""A checkpoint with any bit flipped is the one that was written, or none."""

import random

import torch

from thumbline.pipeline.training.checkpoints import Checkpoint, LogRow, load_checkpoint, save_checkpoint

FLIPS = 300


def test_a_checkpoint_with_a_flipped_bit_is_never_another(tmp_path):
    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}
    save_checkpoint(tmp_path, Checkpoint(4, weights, optimizer.state_dict(), [LogRow(1, "train", "loss", 0.5)]))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    draw = random.Random(0)
    refused = 0
    for _ in range(FLIPS):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        found = load_checkpoint(tmp_path)
        if found is None:
            refused += 1
            continue
        assert (found.step, found.processes, found.log) == (4, 1, [LogRow(1, "train", "loss", 0.5)])
        assert str(found.optimizer) == str(optimizer.state_dict())
        assert all(torch.equal(found.model[name], weight) for name, weight in weights.items())
    assert refused > FLIPS // 3
