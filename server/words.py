"""`logit_bias` and `bad_words`, made so that they leave the gate's decision alone.

vLLM adds a bias to the logits before the gate runs; the gate is told, and decides without it. A
banned word of one token becomes such a bias. A longer one is masked only behind its own beginning,
which cannot be at the first position, so vLLM's own way serves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.tokenizers import TokenizerLike

from server.checkpoint import Checkpoint

BANNED = -1000.0
"""Bias that no temperature up to 2 and no penalty makes up for; small enough to be taken back
without a loss of precision that matters."""
MAX_BIAS = 100.0


@dataclass(frozen=True)
class Bias:
    """What a request changes about the logits of single tokens and of words."""

    tokens: Mapping[int, float]
    """Added to the logits, by token id."""
    words: Sequence[list[int]]
    """Banned words of several tokens each."""

    def apply(self, params: SamplingParams) -> None:
        """Write it into vLLM's sampling parameters, in the place of the client's own."""
        params.logit_bias = dict(self.tokens) or None
        params.bad_words = None
        # What vLLM 0.32 fills from `bad_words` itself, the words of one token included.
        params._bad_words_token_ids = [list(word) for word in self.words] or None


NO_BIAS = Bias({}, ())


def bias_of(
    logit_bias: Mapping[str, float] | None,
    bad_words: Sequence[str] | None,
    tokenizer: TokenizerLike,
    checkpoint: Checkpoint,
) -> Bias:
    """What a client's two fields come to.

    Raises VLLMValidationError for token ids that do not exist and for control tokens.
    """
    if not logit_bias and not bad_words:
        return NO_BIAS
    control = set(checkpoint.control.ids)
    tokens = {
        _token(key, tokenizer, control): min(MAX_BIAS, max(-MAX_BIAS, float(value)))
        for key, value in (logit_bias or {}).items()
    }
    words = []
    for word in _encoded(bad_words or (), tokenizer):
        if control.intersection(word):
            raise VLLMValidationError(
                "bad_words holds a control token, which is the gate's to write",
                parameter="bad_words",
            )
        if len(word) == 1:
            tokens[word[0]] = BANNED
        else:
            words.append(word)
    return Bias(tokens, words)


def _token(key: str, tokenizer: TokenizerLike, control: set[int]) -> int:
    if not key.isdecimal() or int(key) >= len(tokenizer):
        raise VLLMValidationError(
            f"logit_bias has the key {key!r}; keys are token ids from 0 to {len(tokenizer) - 1}",
            parameter="logit_bias",
        )
    if int(key) in control:
        raise VLLMValidationError(
            f"logit_bias has the key {key}, a control token, which is the gate's to write",
            parameter="logit_bias",
        )
    return int(key)


def _encoded(bad_words: Sequence[str], tokenizer: TokenizerLike) -> list[list[int]]:
    """The words as vLLM encodes them: at the beginning and in the middle of text."""
    params = SamplingParams(bad_words=list(bad_words))
    params.update_from_tokenizer(tokenizer)
    return params.bad_words_token_ids or []
