from typing import Any

import pytest
from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams

from server.checkpoint import Checkpoint
from server.words import BANNED, NO_BIAS, Bias, bias_of


def test_nothing_asked_changes_nothing(checkpoint: Checkpoint, tokenizer: Any) -> None:
    assert bias_of(None, [], tokenizer, checkpoint) is NO_BIAS
    params = SamplingParams()
    NO_BIAS.apply(params)
    assert params.logit_bias is None
    assert params.bad_words_token_ids is None


def test_a_bias_is_kept_within_openais_bounds(checkpoint: Checkpoint, tokenizer: Any) -> None:
    bias = bias_of({"7": 1.5, "8": 1e9, "9": -1e9}, None, tokenizer, checkpoint)
    assert bias.tokens == {7: 1.5, 8: 100.0, 9: -100.0}


@pytest.mark.parametrize("key", ["1", "2", "3"])
def test_a_bias_on_a_control_token_is_refused(
    checkpoint: Checkpoint, tokenizer: Any, key: str
) -> None:
    with pytest.raises(VLLMValidationError, match="a control token"):
        bias_of({key: -100.0}, None, tokenizer, checkpoint)


@pytest.mark.parametrize("key", ["100", "-1", "word", "1.5"])
def test_a_bias_on_no_token_is_refused(checkpoint: Checkpoint, tokenizer: Any, key: str) -> None:
    with pytest.raises(VLLMValidationError, match="token ids from 0 to 99"):
        bias_of({key: 1.0}, None, tokenizer, checkpoint)


def test_banned_words_of_one_token_become_a_bias(checkpoint: Checkpoint, tokenizer: Any) -> None:
    bias = bias_of(None, ["fish", "big fish"], tokenizer, checkpoint)
    assert bias.tokens == {5: BANNED}
    assert bias.words == [[6, 5]]


def test_banned_control_tokens_are_refused(checkpoint: Checkpoint, tokenizer: Any) -> None:
    with pytest.raises(VLLMValidationError) as caught:
        bias_of(None, ["<|refuse:safety|>"], tokenizer, checkpoint)
    assert caught.value.parameter == "bad_words"


def test_takes_the_place_of_the_clients_own_fields() -> None:
    params = SamplingParams(logit_bias={2: -100.0}, bad_words=["x"])
    Bias({7: 1.0}, [[5, 6]]).apply(params)
    assert params.logit_bias == {7: 1.0}
    assert params.bad_words_token_ids == [[5, 6]]
    assert not params.bad_words
