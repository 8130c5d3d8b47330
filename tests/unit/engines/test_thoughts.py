"""Thoughts of answers: where they end among tokens, what masking does to a row, and to nothing else."""

import pytest
import torch

from tests.tiny import save_tiny_model, tiny_tokenizer
from thumbline.pipeline.config import SequencesConfig
from thumbline.pipeline.engines.encoding import Encoder
from thumbline.pipeline.engines.noticed import NOTICED
from thumbline.pipeline.engines.thoughts import Thoughts, find_thoughts
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.rows import TrainingSequence

TOKENIZER = tiny_tokenizer()
ASKED = [{"role": "user", "content": "What should I plant?"}]


def decode(ids):
    return TOKENIZER.decode(list(ids), skip_special_tokens=False)


def tokens(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def encoded(completion, *, masked=True, max_tokens=200, truncation="drop", **marks):
    thoughts = Thoughts(**marks, masked=masked)
    encoder = Encoder(TOKENIZER, "chat", max_tokens, truncation, thoughts=thoughts)
    (entry,) = encoder.encode([ASKED], [completion])
    return entry


@pytest.mark.parametrize(
    ("answer", "prompt", "thought", "inside"),
    [
        ("Beans.", "", "", False),
        ("<think>warm soil</think>Beans.", "", "<think>warm soil</think>", False),
        ("\n <think>a</think>\n<think>b</think> Beans.", "", "\n <think>a</think>\n<think>b</think>", False),
        ("Beans <think>or peas</think>.", "", "", True),
        ("<think>a</think>Beans <think>b</think>", "", "<think>a</think>", True),
        ("<think>never ends", "", "<think>never ends", False),
        ("warm soil</think>Beans.", "assistant <think>\n", "warm soil</think>", False),
        ("Beans.", "assistant <think>\n", "", False),
        ("a </think> b", "", "", False),
        ("<think>größe ✓</think>Beans.", "", "<think>größe ✓</think>", False),
        ("<think></think>Beans.", "", "<think></think>", False),
    ],
)
def test_where_thoughts_end(answer, prompt, thought, inside):
    ids = tokens(answer)
    found = find_thoughts(decode, tokens(prompt), ids, Thoughts())
    assert found.inside == inside
    assert decode(ids[: found.tokens]).startswith(thought)
    # No token fewer holds it.
    assert not thought or not decode(ids[: found.tokens - 1]).startswith(thought)
    assert bool(found.tokens) == bool(thought)


def test_a_token_over_the_edge_counts_to_the_thought():
    # A tokeniser whose one token holds the end and the answer's first letters.
    words = ["<think>", "warm", "</think>Be", "ans"]
    found = find_thoughts(lambda ids: "".join(words[number] for number in ids), [], range(4), Thoughts())
    assert found.tokens == 3


def test_masking_gives_the_thought_and_scores_what_follows():
    kept = encoded("<think>warm soil</think>Beans.", masked=False)
    masked = encoded("<think>warm soil</think>Beans.")
    assert masked.prompt_token_ids + masked.completion_token_ids == kept.prompt_token_ids + kept.completion_token_ids
    assert decode(masked.completion_token_ids) == "Beans.<|im_end|>"
    assert decode(masked.prompt_token_ids).endswith("<think>warm soil</think>")
    assert masked.thought == len(masked.prompt_token_ids) - len(kept.prompt_token_ids) > 0
    assert (kept.thought, kept.noticed, masked.noticed) == (0, ("thought_kept",), ("thought_masked",))
    assert set(kept.noticed) | set(masked.noticed) <= NOTICED.keys()


def test_rows_without_a_thought_are_what_they_were():
    assert encoded("Beans.") == encoded("Beans.", masked=False)
    assert encoded("Beans.").noticed == ()


def test_an_empty_thought_is_masked_with_the_others_and_no_news_where_it_is_kept():
    assert encoded("<think>\n\n</think>Beans.", masked=False).noticed == ()
    masked = encoded("<think>\n\n</think>Beans.")
    assert (decode(masked.completion_token_ids), masked.noticed) == ("Beans.<|im_end|>", ("thought_masked",))


def test_stated_marks_are_taken():
    answer = "[[warm soil]]Beans."
    assert encoded(answer).thought == 0
    assert decode(encoded(answer, opens="[[", closes="]]").completion_token_ids) == "Beans.<|im_end|>"


def test_an_answer_that_is_all_thought_is_dropped_with_its_reason():
    assert encoded("<think>never ends").drop_reason == "only_thought"
    assert encoded("<think>it ends</think>").drop_reason == "only_thought"
    assert encoded("<think>never ends", masked=False).drop_reason is None


def test_a_cut_prompt_says_how_much_of_the_thought_is_left():
    whole = encoded("<think>warm soil</think>Beans.")
    length = len(whole.prompt_token_ids) + len(whole.completion_token_ids)
    surplus = length - len(whole.completion_token_ids) - 3
    cut = encoded("<think>warm soil</think>Beans.", max_tokens=length - surplus, truncation="keep_end")
    assert (len(cut.prompt_token_ids), cut.thought, cut.cut) == (3, 3, surplus)
    assert cut.completion_token_ids == whole.completion_token_ids


@pytest.mark.parametrize("marks", [("<think>", "<think>"), ("", "</think>"), ("<think>", " ")])
def test_marks_that_tell_nothing_apart_are_refused(marks):
    with pytest.raises(ValueError, match="two texts that differ"):
        SequencesConfig(think_marks=marks)


def test_masked_log_probs_are_those_of_the_tokens_after_the_thought(tmp_path):
    policy = load_policy(save_tiny_model(tmp_path), device="cpu", dtype="float32", gradient_checkpointing=False)
    kept, masked = (encoded("<think>warm soil</think>Beans.", masked=masked) for masked in (False, True))
    sequences = [
        TrainingSequence(name, tuple(entry.prompt_token_ids), tuple(entry.completion_token_ids), None)
        for name, entry in (("kept", kept), ("masked", masked))
    ]
    with torch.no_grad():
        passed = policy.pass_over(sequences[:1], tokens=True)
        alone = policy.logps(sequences[1:]).logps
    after = passed.tokens.logps[0, masked.thought :]
    assert len(after) == len(masked.completion_token_ids)
    torch.testing.assert_close(alone[0], after.double().sum(), atol=1e-4, rtol=0)
