"""One request's way through the gate: its settings, and what came of each choice."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vllm.outputs import RequestOutput

from server.judge import Judgement
from server.words import NO_BIAS, Bias
from steering.manifest import Scope
from steering.settings import Steering
from steering.tokens import ControlTokens
from steering.wire import forcing


@dataclass
class Choice:
    """What the gate decided for one choice of a request, and where its text divides."""

    category: int | None = None
    """Index of the category that refused; None while it is an answer."""
    position: int = 0
    """Tokens of the answer that the client sees before the refusal."""
    from_template: bool = False
    """Whether the refusal's text is a template."""
    announced: bool = False
    """Whether a streaming client has been told of the decision so far."""
    refusal: str = ""
    """Text from the refusal on; of a stream only until all is settled."""
    latest: tuple[str, str] = ("", "")
    """What the engine's last output added before the refusal, and from it on."""
    ends: bool = False
    """Whether the latest piece of its stream is the last one."""
    has_logprobs: bool = False
    token_ids: list[int] = field(default_factory=list)
    """The engine's tokens of the answer; kept only where it may be refused later."""
    _seen: int = 0
    """Characters that the engine has written."""
    _boundary: int = 0
    """How many of them stand before the refusal."""
    _hidden: list[range] = field(default_factory=list)
    """Which of them spell a control token."""

    @property
    def refused(self) -> bool:
        """Whether this choice is a refusal."""
        return self.category is not None

    @property
    def whole(self) -> bool:
        """Whether all of its text is an answer, or a refusal, and the client sees all of it."""
        return not self._boundary and not self._hidden

    def refuse(self, category: int, boundary: int, position: int) -> None:
        """Note that the gate has refused behind so many characters and visible tokens."""
        self.category = category
        self.position = position
        self.announced = False
        self._boundary = boundary

    def say(self, template: str) -> None:
        """Let the refusal consist of a template; what the engine has written stays before it."""
        self.from_template = True
        self.refusal = template
        self.latest = self.latest[0], template

    def hide(self, start: int, length: int) -> None:
        """Keep characters that the engine will write from the client."""
        self._hidden.append(range(start, start + length))

    def add(self, text: str) -> None:
        """Add the text of an output of the engine, divided where the refusal begins.

        The engine may hand out the text of a token later than the token (it holds back what could
        become a stop string), so the boundary is counted in characters.
        """
        before = max(0, self._boundary - self._seen) if self.refused else len(text)
        self.latest = self._shown(text, 0, before), self._shown(text, before, len(text))
        self._seen += len(text)
        self.refusal += self.latest[1]

    def _shown(self, text: str, start: int, end: int) -> str:
        if not any(hidden.stop > self._seen for hidden in self._hidden):
            return text[start:end]
        return "".join(
            character
            for at, character in enumerate(text[start:end], self._seen + start)
            if not any(at in hidden for hidden in self._hidden)
        )


@dataclass(frozen=True)
class Trace:
    """Where the span of a request begins and belongs, if the operator has it traced."""

    started_ns: int
    headers: Mapping[str, str]


@dataclass
class Turn:
    """Per-request state. Admission makes it; the engine's outputs fill `choices`."""

    steering: Steering
    control: ControlTokens
    scope: Scope = "first_token"
    bias: Bias = NO_BIAS
    templates: tuple[str, ...] | None = None
    """[C] what a refusal of each category says; None for the model's own words. The engine stops
    at the refuse token then."""
    shows_special_tokens: bool = False
    """Whether the engine writes special tokens into text, as some tool parsers ask it to."""
    log_odds: tuple[float, ...] | None = None
    """[C] score of every category at the first position, if the client asked for them."""
    ahead: Judgement | None = None
    """The decision, where it was taken before the answer, since a grammar would have masked the
    refuse tokens. The gate then carries it out."""
    choices: dict[int, Choice] = field(default_factory=dict)
    """By choice index, as soon as the choice's first token is known."""
    trace: Trace | None = None
    count: int = 1
    """How many choices the request has."""
    settled: bool = False
    """Whether nothing is left to decide or to hide: the engine's outputs may pass as they are."""
    _parsers: int = 0

    @property
    def every_token(self) -> bool:
        """Whether the gate decides at every position."""
        return self.scope == "every_token"

    @property
    def thresholds(self) -> tuple[float, ...]:
        """[C] log-odds that the gate is given."""
        if self.ahead is None:
            return self.steering.thresholds
        return forcing(self.ahead.category, len(self.control.refuse))

    @property
    def room(self) -> int:
        """Tokens that the engine writes beyond the client's limit: the one that opens an answer."""
        return 0 if self.control.respond is None else 1

    def next_parser(self) -> int:
        """Index of the choice that the next parser is made for."""
        index = self._parsers
        self._parsers += 1
        return index

    def restart_parsers(self) -> None:
        """Count from choice 0 again: vLLM makes one parser before it knows how to answer."""
        self._parsers = 0

    def settle(self, output: RequestOutput) -> None:
        """See whether the outputs behind this one, which was cleaned, may pass as they are."""
        self.settled = (
            not self.every_token
            and len(self.choices) == self.count
            and all(choice.whole for choice in self.choices.values())
            and all(choice.logprobs is None for choice in output.outputs)
        )

    @property
    def is_answer(self) -> bool:
        """Whether it is known that all that is left is answers, of which nothing is taken out."""
        return self.settled and not any(choice.refused for choice in self.choices.values())

    def has_news(self) -> bool:
        """Whether the latest piece of any choice's stream may need a decision put in."""
        return any(
            not choice.announced or (choice.refused and (choice.ends or choice.has_logprobs))
            for choice in self.choices.values()
        )
