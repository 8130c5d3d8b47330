from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from thumbline.pipeline.errors import EngineError
from thumbline.pipeline.training.attention import pieces, short, varlen
from thumbline.pipeline.training.attention.interface import segment_attention, use_segments
from thumbline.pipeline.training.attention.pieces import Rules
from thumbline.pipeline.training.attention.segments import Kept, Masks, Segment, Segments
from thumbline.pipeline.training.attention.short import ShortAttention

HEADS, KEY_HEADS, SIZE = 4, 2, 8
# A prompt of 5 with answers of 3 and 4, and a sequence of 6 alone.
PARTS = (Segment(0, 5), Segment(5, 8, 0, 5), Segment(8, 12, 0, 5), Segment(12, 18))
RULES = {
    "plain": Rules(0.5),
    "window": Rules(0.5, window=3),
    "soft cap": Rules(0.5, soft_cap=0.7),
    "sinks": Rules(0.5, sinks=torch.tensor([0.3, -1.0, 2.0, 0.0])),
    "window and sinks": Rules(0.5, window=4, sinks=torch.tensor([0.3, -1.0, 2.0, 0.0])),
}


def tensors(time=18, dtype=torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, HEADS, time, SIZE), (1, KEY_HEADS, time, SIZE), (1, KEY_HEADS, time, SIZE))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def by_definition(query, key, value, rules, parts=PARTS) -> torch.Tensor:
    """One query at a time: the keys that it sees, nearest last, and a softmax over their scores."""
    output = torch.zeros(query.shape[2], HEADS, SIZE, dtype=query.dtype)
    for part in parts:
        for place in range(part.start, part.stop):
            seen = [*range(part.prefix_start, part.prefix_stop), *range(part.start, place + 1)]
            seen = seen if rules.window is None else seen[-rules.window :]
            for head in range(HEADS):
                shared = head // (HEADS // KEY_HEADS)
                scores = key[0, shared, seen] @ query[0, head, place] * rules.scale
                if rules.soft_cap is not None:
                    scores = rules.soft_cap * torch.tanh(scores / rules.soft_cap)
                if rules.sinks is not None:
                    scores = torch.cat([scores, rules.sinks[head, None].to(scores)])
                weights = scores.softmax(0)[: len(seen)]
                output[place, head] = weights @ value[0, shared, seen]
    return output.transpose(0, 1)[None]


def gradients(output, inputs) -> list[torch.Tensor]:
    factors = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    return list(torch.autograd.grad((output * factors).sum(), inputs))


@pytest.mark.parametrize("name", RULES)
def test_outputs_and_gradients_are_those_of_the_definition(name):
    inputs = tensors()
    ours = pieces.attend(*inputs, Segments(PARTS), RULES[name])
    truth = by_definition(*inputs, RULES[name])
    # Weights are rounded to float32 where they are written out.
    close = {"atol": 1e-12, "rtol": 1e-9} if RULES[name].plain else {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(ours, truth, **close)
    torch.testing.assert_close(gradients(ours, inputs), gradients(truth, inputs), **close)


def _widened(tensors) -> list[torch.Tensor]:
    return [tensor.detach().double() for tensor in tensors]


@pytest.mark.parametrize("window", [None, 3])
def test_short_segments_in_bfloat16_are_as_near_as_the_fused_kernel(window, monkeypatch):
    rules = Rules(0.5, window)
    monkeypatch.setattr(short, "_BLOCK", 2)
    rounded = tensors(dtype=torch.bfloat16)
    exact = [tensor.detach().double().requires_grad_() for tensor in rounded]
    truth = [by_definition(*exact, rules)]
    truth += gradients(truth[0], exact)
    errors = []
    for limit in (2**20, 0):
        monkeypatch.setattr(pieces, "_SHORT", limit)
        ours = [pieces.attend(*rounded, Segments(PARTS), rules)]
        ours += gradients(ours[0], rounded)
        errors.append(
            [
                float((one - other).norm() / other.norm())
                for one, other in zip(_widened(ours), _widened(truth), strict=True)
            ]
        )
    for ours, fused in zip(*errors, strict=True):
        assert ours < 0.01
        assert ours < 2 * fused + 1e-3


@pytest.mark.parametrize("queries", [5, 3, 1])
@pytest.mark.parametrize("block", [128, 2])
def test_products_of_short_segments_have_the_right_gradient(queries, block, monkeypatch):
    monkeypatch.setattr(short, "_BLOCK", block)
    query, key, value = tensors(time=5)
    query = query[:, :, :queries].detach().requires_grad_()
    bias = Masks().bias(queries, 5, None, torch.float64, query.device)

    def attend(*three):
        return ShortAttention.apply(*three, bias, 0.5)

    fused = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, scale=0.5, enable_gqa=True
    )
    torch.testing.assert_close(attend(query, key, value), fused)
    assert torch.autograd.gradcheck(attend, (query, key, value))


def test_masks_are_corners_of_one_whatever_was_asked_for_first():
    masks, device = Masks(), torch.device("cpu")
    for queries, keys in ((2, 3), (3, 7), (1, 9), (4, 4)):
        mask = masks.allowed(queries, keys, 3, device)
        last = torch.arange(keys - queries, keys)[:, None]
        distance = last - torch.arange(keys)[None]
        assert torch.equal(mask, (distance >= 0) & (distance < 3))


def reference_varlen(query, key, value, query_bounds, key_bounds, longest_query, longest_key, **settings):
    """What the GPU's kernel is documented to give: the last query at the last key, and `left` keys before it."""
    left, right = settings["window_size"]
    assert right == 0 and settings["enable_gqa"]
    output = torch.zeros_like(query)
    for (first, stop), (key_first, key_stop) in zip(pairwise(query_bounds), pairwise(key_bounds), strict=True):
        queries, keys = int(stop - first), int(key_stop - key_first)
        assert queries <= longest_query and keys <= longest_key
        distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)[None]
        seen = (distance >= 0) & ((distance <= left) if left >= 0 else True)
        for head in range(HEADS):
            shared = head // (HEADS // KEY_HEADS)
            scores = query[first:stop, head] @ key[key_first:key_stop, shared].T * settings["scale"]
            weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
            output[first:stop, head] = weights @ value[key_first:key_stop, shared]
    return output


@pytest.mark.parametrize("name", ["plain", "window"])
def test_keys_are_gathered_for_one_call_of_a_kernel_for_many_lengths(name):
    inputs = tensors()
    ours = varlen.attend(*inputs, Segments(PARTS), RULES[name], reference_varlen)
    truth = by_definition(*inputs, RULES[name])
    torch.testing.assert_close(ours, truth)
    torch.testing.assert_close(gradients(ours, inputs), gradients(truth, inputs))


@pytest.mark.parametrize("attend", [pieces.attend, lambda *a, kept: varlen.attend(*a, reference_varlen, kept=kept)])
@pytest.mark.parametrize("name", ["plain", "window"])
def test_a_later_pass_reads_prefixes_that_an_earlier_one_kept(attend, name):
    query, key, value = (tensor.detach() for tensor in tensors())
    whole = by_definition(query, key, value, RULES[name])
    # Both answers to the prompt of 5, in a row of their own.
    later = Segments((Segment(0, 3, 0, 5), Segment(3, 7, 0, 5)))
    own = [tensor[:, :, 5:12] for tensor in (query, key, value)]
    ours = attend(*own, later, RULES[name], kept=(key[:, :, :5], value[:, :, :5]))
    torch.testing.assert_close(ours, whole[:, :, 5:12])


def test_no_kernel_of_the_gpu_is_taken_on_a_cpu():
    query, _, value = tensors(dtype=torch.bfloat16)
    assert varlen.find_kernel(query, value, RULES["plain"]) is None


def test_what_is_kept_has_no_gradient_and_is_not_kept_twice():
    _, key, value = tensors()
    kept = Kept()
    kept.put("layer", key, value)
    kept.close()
    kept.put("layer", key, value)
    with pytest.raises(KeyError):
        kept.take("layer")
    again = Kept()
    again.put("layer", key, value)
    assert not again.take("layer")[0].requires_grad


def test_a_call_that_segments_do_not_describe_is_refused():
    module, inputs = torch.nn.Linear(1, 1), tensors()
    with pytest.raises(EngineError, match="Linear is not told of segments"):
        segment_attention(module, *inputs, None)
    with pytest.raises(EngineError, match="18 keys, dropout 0.1, and no mask"):
        segment_attention(module, *inputs, None, segments=Segments(PARTS), dropout=0.1)
    with pytest.raises(EngineError, match="and a mask"):
        segment_attention(module, *inputs, torch.ones(1), segments=Segments(PARTS))


def test_a_model_with_an_attention_of_its_own_is_left_as_it_is():
    model = SimpleNamespace(
        config=SimpleNamespace(_attn_implementation="eager"), _can_set_attn_implementation=lambda: False
    )
    with pytest.raises(EngineError, match="SimpleNamespace has an attention of its own"):
        use_segments(model)
    assert model.config._attn_implementation == "eager"
