"""Many requests to an OpenAI endpoint, a bounded number at a time."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, Self

from openai import BadRequestError, OpenAI, OpenAIError, UnprocessableEntityError
from openai.types.chat import ChatCompletion

from training.evaluation.target import EvalError
from training.progress import Progress

NO_KEY = "none"


class Pool:
    """Sends chat completions by OpenAI's own client, which retries what may be retried."""

    def __init__(self, client: OpenAI, concurrency: int) -> None:
        self._client = client
        self._concurrency = concurrency

    @classmethod
    def of(cls, url: str, variable: str, concurrency: int) -> Self:
        """For the endpoint at `url`, with the key in an environment variable, if there is one."""
        key = os.environ.get(variable) or NO_KEY
        return cls(OpenAI(base_url=url, api_key=key), concurrency)

    def model(self) -> str:
        """The one model that the endpoint serves. Raises EvalError if there is not exactly one."""
        try:
            names = [model.id for model in self._client.models.list()]
        except OpenAIError as error:
            raise self._lost(error) from error
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise EvalError(f"{self._client.base_url} serves {listed}: name the model to ask")
        return names[0]

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path of the endpoint. Raises EvalError."""
        try:
            return self._client.get(path, cast_to=dict[str, Any])
        except OpenAIError as error:
            raise self._lost(error) from error

    def ask(self, bodies: Sequence[dict[str, object]], label: str) -> list[ChatCompletion | str]:
        """The answer to each request, in order, or the message with which it was turned down.

        A request that is turned down (400, 422) says something of that prompt alone. Whatever else
        fails, fails for all: EvalError, and what is not yet sent is not.
        """
        found: dict[int, ChatCompletion | str] = {}
        with (
            Progress(label, len(bodies), unit="prompt") as progress,
            ThreadPoolExecutor(self._concurrency) as workers,
        ):
            futures: dict[Future[ChatCompletion | str], int] = {
                workers.submit(self._one, body): index for index, body in enumerate(bodies)
            }
            try:
                for future in as_completed(futures):
                    found[futures[future]] = future.result()
                    progress.advance()
            except OpenAIError as error:
                raise self._lost(error) from error
            finally:
                workers.shutdown(wait=False, cancel_futures=True)
        return [found[index] for index in range(len(bodies))]

    def _one(self, body: dict[str, Any]) -> ChatCompletion | str:
        try:
            answer = self._client.chat.completions.create(**body)
        except (BadRequestError, UnprocessableEntityError) as error:
            said = error.body.get("message") if isinstance(error.body, dict) else None
            return str(said or error.message)
        assert isinstance(answer, ChatCompletion)
        return answer

    def _lost(self, error: OpenAIError) -> EvalError:
        return EvalError(f"{self._client.base_url}: {error}")
