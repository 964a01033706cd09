"""A running server, asked through HTTP as a user's client would."""

from collections.abc import Sequence
from typing import Any

from openai.types.chat import ChatCompletion

from steering.manifest import Scope
from training.evaluation.pool import Pool
from training.evaluation.target import Dial, EvalError, PromptOrText, Reply
from training.records import Prompt

DEFAULT_DIAL = Dial()


class ServerTarget:
    """Any OpenAI-compatible server; one of Demur's has categories, and scores if it offers them."""

    def __init__(self, pool: Pool, model: str, *, max_tokens: int, writes: bool = False) -> None:
        """Ask the server once what it is. Raises EvalError if it cannot be asked.

        max_tokens: of an answer; one is asked for where only the decision at the first counts,
        unless `writes`.
        """
        self._pool = pool
        self._model = model
        self._max_tokens = max_tokens
        self._writes = writes
        self._default_scope: Scope | None = None
        self._scores: dict[str, object] = {"refusal_scores": True}
        greeting = self._body("Hello", DEFAULT_DIAL)
        answer = pool.ask([greeting], "probe")[0]
        if isinstance(answer, str):
            # Not a field that this server knows.
            self._scores = {}
            greeting = self._body("Hello", DEFAULT_DIAL)
            answer = pool.ask([greeting], "probe")[0]
        if isinstance(answer, str):
            raise EvalError(f"the server turns down a plain request: {answer}")
        settings: dict[str, Any] = getattr(answer, "refusal_settings", None) or {}
        self._categories = tuple(settings.get("thresholds", {}))
        self._default_scope = settings.get("scope")

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model

    @property
    def categories(self) -> tuple[str, ...]:
        """As the server lists them; empty where it is not one of Demur's."""
        return self._categories

    def ask(self, prompts: Sequence[PromptOrText], dial: Dial, label: str) -> list[Reply]:
        """Replies over HTTP, greedily decoded.

        Plain text is sent as a user's turn: a server takes no raw prompts. Raises EvalError if the
        server is lost, or turns every request down.
        """
        bodies = [self._body(prompt, dial) for prompt in prompts]
        replies = [self._reply(answer) for answer in self._pool.ask(bodies, label)]
        if replies and all(reply.fault for reply in replies):
            raise EvalError(f"the server turns every request down: {replies[0].fault}")
        return replies

    def _body(self, prompt: PromptOrText, dial: Dial) -> dict[str, object]:
        asked = Prompt.asking(prompt) if isinstance(prompt, str) else prompt
        whole = self._writes or (dial.scope or self._default_scope) == "every_token"
        return {
            "model": self._model,
            **asked.fields(),
            "temperature": 0,
            "max_tokens": self._max_tokens if whole else 1,
            "extra_body": {**dial.fields(), **self._scores},
        }

    def _reply(self, answer: ChatCompletion | str) -> Reply:
        if isinstance(answer, str):
            return Reply(None, fault=answer)
        choice = answer.choices[0]
        details: dict[str, Any] = getattr(choice, "refusal_details", None) or {}
        # Not `scores`: probabilities round to 0 and 1, and their order is lost.
        scores: dict[str, float] | None = details.get("log_odds")
        return Reply(
            refused=choice.message.refusal is not None,
            category=details.get("category"),
            position=details.get("position"),
            text=choice.message.refusal or choice.message.content or "",
            scores=None if not scores else tuple(scores[name] for name in self._categories),
        )
