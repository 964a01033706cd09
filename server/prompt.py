"""The rendered prompt, checked as token ids: the last line of defence before the engine."""

from collections.abc import Mapping, Sequence
from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.tokenizers import TokenizerLike

from steering.tokens import ControlTokens


class PromptCheck:
    """Knows how a prompt of this checkpoint must end, and what it may not hold."""

    def __init__(
        self,
        tokenizer: TokenizerLike,
        control: ControlTokens,
        chat_template: str | None,
        template_kwargs: Mapping[str, Any],
    ) -> None:
        """template_kwargs: variables of the chat template, where a request does not set them."""
        self._tokenizer = tokenizer
        self._control = frozenset(control.ids)
        self._chat_template = chat_template
        self._template_kwargs = template_kwargs
        self._endings: dict[tuple[tuple[str, Any], ...], list[int]] = {}

    def check(self, token_ids: Sequence[int], template_kwargs: Mapping[str, Any]) -> None:
        """Raise VLLMValidationError unless the prompt ends in exactly the generation prompt.

        template_kwargs: the request's; hashable, and of few values, for each is remembered.
        Text reaches a prompt by more ways than messages' contents: tools, names, documents.
        """
        found = self._control.intersection(token_ids)
        if found:
            raise VLLMValidationError(
                "the rendered prompt holds a control token of this model"
                f" (ids {', '.join(map(str, sorted(found)))}), which only the model may write",
                parameter="messages",
            )
        ending = self._ending(template_kwargs)
        if list(token_ids[-len(ending) :]) != ending:
            raise VLLMValidationError(
                "the rendered prompt does not end in the generation prompt of this model, behind"
                " which the answer's first token is decided",
                parameter="messages",
            )

    def _ending(self, template_kwargs: Mapping[str, Any]) -> list[int]:
        """What the chat template puts behind the last message to make the model answer."""
        key = tuple(sorted(template_kwargs.items()))
        if key not in self._endings:
            without, prompt = (
                str(
                    self._tokenizer.apply_chat_template(
                        [{"role": "user", "content": "Hello"}],
                        tokenize=False,
                        chat_template=self._chat_template,
                        add_generation_prompt=generate,
                        **{**self._template_kwargs, **template_kwargs},
                    )
                )
                for generate in (False, True)
            )
            if not (prompt.startswith(without) and len(prompt) > len(without)):
                raise ValueError(
                    "the chat template adds no generation prompt behind the last message: the"
                    " first position of an answer cannot be told"
                )
            ending = prompt[len(without) :]
            self._endings[key] = self._tokenizer.encode(ending, add_special_tokens=False)
        return self._endings[key]
