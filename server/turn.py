"""One request's way through the gate: its thresholds, and what came of each choice."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from vllm.logprobs import LogprobsOnePosition
from vllm.outputs import CompletionOutput, RequestOutput

from steering.policy import Steering
from steering.tokens import ControlTokens


@dataclass
class Choice:
    """What the gate decided for one choice of a request."""

    category: int | None
    """Index of the category that refused; None for an answer."""
    text: str = ""
    """Text of a refusal so far."""
    announced: bool = False
    """Whether a streaming client has been told."""

    @property
    def refused(self) -> bool:
        """Whether this choice is a refusal."""
        return self.category is not None


@dataclass
class Turn:
    """Per-request state. Admission makes it; the engine's outputs fill `choices`."""

    steering: Steering
    control: ControlTokens
    choices: dict[int, Choice] = field(default_factory=dict)
    """By choice index, as soon as the choice's first token is known."""
    _parsers: int = 0

    def next_parser(self) -> int:
        """Index of the choice that the next parser is made for."""
        index = self._parsers
        self._parsers += 1
        return index

    def restart_parsers(self) -> None:
        """Count from choice 0 again: vLLM makes one parser before it knows how to answer."""
        self._parsers = 0

    def refused(self, index: int) -> bool:
        """Whether choice `index` is known to be a refusal."""
        choice = self.choices.get(index)
        return choice is not None and choice.refused

    def unannounced(self) -> bool:
        """Whether a streaming client is still to be told of a decision."""
        return any(not choice.announced for choice in self.choices.values())


async def without_control_tokens(
    outputs: AsyncIterator[RequestOutput], turn: Turn
) -> AsyncIterator[RequestOutput]:
    """The engine's outputs as the client may see them.

    Each choice's first token is the gate's decision: it is noted in `turn` and taken out of token
    ids and logprobs, before vLLM counts tokens or parses text. Refusals finish with "stop".
    """
    async for output in outputs:
        output.outputs = [_cleaned(choice, turn) for choice in output.outputs]
        yield output


def _cleaned(output: CompletionOutput, turn: Turn) -> CompletionOutput:
    control = turn.control
    token_ids, logprobs = output.token_ids, output.logprobs
    if token_ids and output.index not in turn.choices:
        decision = token_ids[0]
        refused = decision in control.refuse
        turn.choices[output.index] = Choice(control.refuse.index(decision) if refused else None)
        if decision in control.ids:
            token_ids = list(token_ids[1:])
            logprobs = None if logprobs is None else logprobs[1:]
    if logprobs is not None:
        logprobs = [_without(position, control) for position in logprobs]
    finish_reason = output.finish_reason
    choice = turn.choices.get(output.index)
    if choice is not None and choice.refused:
        choice.text += output.text
        finish_reason = "stop" if finish_reason == "length" else finish_reason
    return replace(output, token_ids=token_ids, logprobs=logprobs, finish_reason=finish_reason)


def _without(position: LogprobsOnePosition, control: ControlTokens) -> LogprobsOnePosition:
    """The candidates at one position but for control tokens, which the gate masked there.

    vLLM takes logprobs before processors run, so the masked tokens are among them.
    """
    return {token: logprob for token, logprob in position.items() if token not in control.ids}
