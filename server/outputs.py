"""The engine's outputs for a request as its client may see them."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import replace
from typing import Self

from vllm.logprobs import LogprobsOnePosition
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.tokenizers import TokenizerLike

from server.turn import Choice, Turn
from steering.tokens import ControlTokens


class CleanedOutputs:
    """An async iterator over outputs of which nobody is told a control token.

    The gate's decisions are read off the control tokens, noted in `turn`, and taken out of token
    ids and logprobs, before vLLM counts tokens or parses text. Refusals have a template's text
    where the request asks for it. As soon as all is settled the outputs pass as they are: nothing
    of ours runs for them.
    """

    def __init__(
        self, outputs: AsyncIterator[RequestOutput], turn: Turn, tokenizer: TokenizerLike
    ) -> None:
        self._outputs = outputs
        self._turn = turn
        self._tokenizer = tokenizer
        self._first: RequestOutput | Exception | None = None

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[RequestOutput]:
        if self._first is None and self._turn.settled:
            return self._outputs.__anext__()
        return self._next()

    async def peek(self) -> None:
        """Wait for the first output, so that `turn` knows of it; it is still the first one.

        What it raises is raised there, where vLLM makes a response of it.
        """
        try:
            self._first = await self._next()
        except Exception as error:
            self._first = error

    async def _next(self) -> RequestOutput:
        first, self._first = self._first, None
        if isinstance(first, Exception):
            raise first
        if first is not None:
            return first
        output = await self._outputs.__anext__()
        output.outputs = [
            _cleaned(choice, self._turn, self._tokenizer) for choice in output.outputs
        ]
        self._turn.settle(output)
        return output


def _cleaned(output: CompletionOutput, turn: Turn, tokenizer: TokenizerLike) -> CompletionOutput:
    choice = turn.choices.get(output.index)
    if choice is None and output.token_ids:
        choice = turn.choices[output.index] = Choice()
    if choice is None:
        return output
    kept = _decide(output.token_ids, choice, turn, tokenizer)
    all_kept = len(kept) == len(output.token_ids)
    choice.add(output.text)
    choice.has_logprobs = output.logprobs is not None
    if not choice.refused and choice.whole and not choice.has_logprobs and all_kept:
        return output
    if choice.category is not None and turn.templates is not None and not choice.from_template:
        choice.say(turn.templates[choice.category])
    logprobs = output.logprobs
    if logprobs is not None:
        logprobs = [_without(logprobs[index], turn.control) for index in kept]
    finish_reason = output.finish_reason
    return replace(
        output,
        text="".join(choice.latest),
        token_ids=[output.token_ids[index] for index in kept],
        logprobs=logprobs,
        finish_reason="stop" if choice.refused and finish_reason == "length" else finish_reason,
        stop_reason=None if output.stop_reason in turn.control.ids else output.stop_reason,
    )


def _decide(
    token_ids: Sequence[int], choice: Choice, turn: Turn, tokenizer: TokenizerLike
) -> list[int]:
    """Note refusals among new tokens of a choice; return the indices of those that show."""
    kept = []
    for index, token in enumerate(token_ids):
        if token not in turn.control.ids:
            kept.append(index)
        else:
            written = _length(choice.token_ids, turn, tokenizer)
            if token in turn.control.refuse and not choice.refused:
                visible = sum(token not in turn.control.ids for token in choice.token_ids)
                choice.refuse(turn.control.refuse.index(token), written, visible)
            if turn.shows_special_tokens:
                choice.hide(written, len(tokenizer.decode([token])))
        if turn.every_token and not choice.refused:
            choice.token_ids.append(token)
    return kept


def _length(token_ids: list[int], turn: Turn, tokenizer: TokenizerLike) -> int:
    """Characters of text that the engine writes for these tokens."""
    skip = not turn.shows_special_tokens
    return len(tokenizer.decode(token_ids, skip_special_tokens=skip)) if token_ids else 0


def _without(position: LogprobsOnePosition, control: ControlTokens) -> LogprobsOnePosition:
    """The candidates at one position but for control tokens, which the gate masked there.

    vLLM takes logprobs before processors run, so the masked tokens are among them.
    """
    return {token: logprob for token, logprob in position.items() if token not in control.ids}
