from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.architectures import tiny_policy
from thumbline.pipeline.errors import TrainingError
from thumbline.pipeline.training.attention.interface import use_segments
from thumbline.pipeline.training.layouts import arranged, computed_tokens
from thumbline.pipeline.training.packing import packed
from thumbline.pipeline.training.rows import TrainingSequence

LAYOUTS = ("padded", "packed", "shared")


def sequence(prompt, completion) -> TrainingSequence:
    return TrainingSequence("s", tuple(prompt), tuple(completion), None)


def policies(name="llama", **settings) -> dict:
    """One model's weights in three policies, one a layout."""
    made = {layout: replace(tiny_policy(name, **settings), layout=layout) for layout in LAYOUTS}
    for layout in ("packed", "shared"):
        use_segments(made[layout].model)
    return made


def draw(generator, *counts) -> list[tuple[int, ...]]:
    return [tuple(generator.integers(1, 120, count).tolist()) for count in counts]


@pytest.fixture
def sequences() -> list[TrainingSequence]:
    """Two prompts of several answers, apart from each other, one of them twice; one alone; a prompt of one token."""
    generator = np.random.default_rng(0)
    first, second, single, alone = draw(generator, 11, 4, 1, 7)
    a, b, c, d, e, f = draw(generator, 5, 9, 1, 3, 6, 2)
    parts = ((first, a), (second, b), (first, c), (single, d), (second, a), (alone, e), (first, f), (first, a))
    return [sequence(*part) for part in parts]


@pytest.fixture
def partners(sequences) -> list[TrainingSequence]:
    """Answers to known prompts, two of them to one, and to an unknown one."""
    generator = np.random.default_rng(1)
    prompts = [sequences[index].prompt_token_ids for index in (1, 0, 5, 0)] + draw(generator, 3)
    return [sequence(prompt, *draw(generator, count)) for prompt, count in zip(prompts, (4, 6, 1, 2, 3), strict=True)]


def test_a_row_of_two_answers_to_one_prompt_by_hand():
    batch = packed([sequence((7, 8, 9), (1, 2)), sequence((7, 8, 9), (3, 4, 5))], share=True).batch
    assert batch.input_ids.tolist() == [[7, 8, 9, 1, 2, 3, 4, 5]]
    assert batch.attention["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4, 5]]
    parts = batch.attention["segments"].parts
    assert [tuple(part) for part in parts] == [(0, 3, 0, 0), (3, 5, 0, 3), (5, 8, 0, 3)]
    # Each answer's first token is predicted by the prompt's last, the second's too, after the first's last.
    assert batch.completions.places.tolist() == [2, 3, 2, 5, 6]
    assert batch.completions.targets.tolist() == [1, 2, 3, 4, 5]
    assert batch.completions.counts.tolist() == [2, 3]


def test_nothing_is_padded_before_answers_are_put_behind_one_another(sequences):
    for layout in ("packed", "shared"):
        batch = arranged(sequences, layout).batch
        assert 0 not in batch.input_ids
        lengths = [len(row.completion_token_ids) for row in sequences]
        assert batch.completions.counts[batch.completions.asked].tolist() == lengths


@pytest.mark.parametrize("layout", ["packed", "shared"])
def test_log_probs_and_gradients_are_those_of_padding(layout, sequences, partners):
    made = policies()
    results, gradients = {}, {}
    for name in ("padded", layout):
        passed = made[name].pass_over(sequences, prompts=True, tokens=True, partners=partners)
        factors = torch.arange(1.0, len(sequences) + 1)
        (factors * (passed.completions.logps + 0.1 * passed.prompts.logps)).sum().backward()
        results[name] = passed
        gradients[name] = {key: weight.grad for key, weight in made[name].model.named_parameters()}
    plain, other = results["padded"], results[layout]
    for part in ("completions", "prompts", "partners"):
        torch.testing.assert_close(getattr(other, part).logps, getattr(plain, part).logps, atol=1e-4, rtol=0)
        assert torch.equal(getattr(other, part).token_counts, getattr(plain, part).token_counts)
    torch.testing.assert_close(other.tokens.logps, plain.tokens.logps, atol=1e-5, rtol=0)
    assert torch.equal(other.tokens.mask, plain.tokens.mask)
    assert not other.partners.logps.requires_grad
    for key, gradient in gradients["padded"].items():
        assert float((gradients[layout][key] - gradient).norm()) <= 1e-4 * float(gradient.norm()), key


def test_each_first_token_of_an_answer_is_trained(sequences):
    """A loss on first tokens alone reaches the weights, with padding's gradient."""
    made, gradients = policies(), {}
    first = [replace(row, completion_token_ids=row.completion_token_ids[:1]) for row in sequences]
    for layout in LAYOUTS:
        made[layout].pass_over(first).completions.logps.sum().backward()
        gradients[layout] = made[layout].model.get_input_embeddings().weight.grad
    assert float(gradients["padded"].norm()) > 0
    for layout in ("packed", "shared"):
        torch.testing.assert_close(gradients[layout], gradients["padded"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layout", ["packed", "shared"])
def test_a_sequence_does_not_know_what_lies_beside_it(layout, sequences):
    """Positions that begin anew do not keep sequences apart by themselves: a model that sees no segments mixes them."""
    policy = policies()[layout]
    with torch.no_grad():
        together = policy.logps(sequences).logps
        alone = torch.cat([policy.logps([row]).logps for row in sequences])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
        mixed = tiny_policy("llama")
        batch = arranged(sequences, layout).batch
        attention = {
            "position_ids": batch.attention["position_ids"],
            "attention_mask": torch.ones_like(batch.input_ids),
        }
        assert float((mixed.scorer(batch._replace(attention=attention)).completions.logps - alone).abs().max()) > 0.1


def test_equal_prompts_and_equal_answers_are_computed_once(sequences, partners):
    whole = sum(row.length for row in sequences)
    assert computed_tokens(sequences, "padded") == len(sequences) * max(row.length for row in sequences)
    assert computed_tokens(sequences, "packed") == whole
    # Of prompts: 11 four times, 4 twice. Of answers: one of 5 to one prompt twice.
    assert computed_tokens(sequences, "shared") == whole - 3 * 11 - 4 - 5
    for layout, policy in policies().items():
        policy.pass_over(sequences)
        assert policy.meter.take() == (computed_tokens(sequences, layout), 0)
        assert policy.meter.take() == (0, 0)
    policy.pass_over(sequences, partners=partners)
    hung = sum(len(row.completion_token_ids) for row in partners) + len(partners[-1].prompt_token_ids)
    assert policy.meter.take() == (computed_tokens(sequences, "shared"), hung)


def test_partners_none_of_which_has_a_known_prompt_are_computed_whole(sequences, partners):
    stranger = partners[-1:]
    found = {name: policy.pass_over(sequences, partners=stranger) for name, policy in policies().items()}
    torch.testing.assert_close(found["shared"].partners.logps, found["padded"].partners.logps, atol=1e-5, rtol=1e-5)


def test_keys_kept_for_partners_are_let_go_and_not_kept_again_by_checkpointed_layers(sequences, partners):
    policy = policies(checkpointing=True)["shared"]
    batch, others = arranged(sequences, "shared", partners=partners)
    policy.scorer(batch, partners=others).completions.logps.sum().backward()
    for layer in policy.model.model.layers:
        with pytest.raises(KeyError):
            batch.attention["segments"].keeps.take(layer.self_attn)


@pytest.mark.parametrize("layout", ["packed", "shared"])
def test_checkpointed_layers_see_the_same_segments_again(layout, sequences, partners):
    gradients = []
    for checkpointing in (False, True):
        policy = policies(checkpointing=checkpointing)[layout]
        passed = policy.pass_over(sequences, partners=partners)
        (passed.completions.logps * torch.arange(len(sequences))).sum().backward()
        gradients.append(policy.model.get_input_embeddings().weight.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("layout", ["packed", "shared"])
def test_under_autocast_a_layout_is_as_near_to_float32_as_padding(layout, sequences, partners):
    exact, rounded = policies(), policies(dtype=torch.bfloat16)
    with torch.no_grad():
        truth = exact["padded"].pass_over(sequences, partners=partners)
        errors = {}
        for name in ("padded", layout):
            passed = rounded[name].pass_over(sequences, partners=partners)
            parts = (passed.completions.logps - truth.completions.logps, passed.partners.logps - truth.partners.logps)
            errors[name] = float(torch.cat(parts).abs().mean())
    assert errors[layout] < 2 * errors["padded"]


def test_the_same_sequences_are_computed_the_same_again(sequences):
    policy = policies(dtype=torch.bfloat16)["shared"]
    with torch.no_grad():
        assert torch.equal(policy.logps(sequences).logps, policy.logps(sequences).logps)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sequence_without_a_prompt_is_refused(layout):
    with pytest.raises(TrainingError, match="1 of 2 sequences have no prompt token"):
        arranged([sequence((1,), (2,)), sequence((), (3,))], layout)
    with pytest.raises(TrainingError, match="1 of 1 sequences have no prompt token"):
        arranged([sequence((1,), (2,))], layout, partners=[sequence((), (3,))])


def test_an_empty_answer_has_no_log_prob():
    for policy in policies().values():
        passed = policy.pass_over([sequence((5, 6), ()), sequence((5, 6), (7,))])
        assert passed.completions.token_counts.tolist() == [0, 1]
        assert passed.completions.logps.tolist()[0] == 0.0
