"""From a triple to its training examples, by the chosen methods."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from training.config import MethodsConfig
from training.derta import draw_positions, draw_prefix_length, prefix_layout, rto_layout
from training.encoding import Encoder, Example, Parts
from training.records import Record
from training.rendering import EncodingError


@dataclass(frozen=True, eq=False)
class TripleEncoder:
    """Encodes triples; what is random comes from `rng`, in the order of the calls.

    A triple cut to fit keeps its prompt: PromptTooLongError says that nothing else would fit.
    """

    encoder: Encoder
    methods: MethodsConfig
    rng: random.Random

    def expand(self, record: Record) -> Sequence[Example]:
        """The examples of one record: one if it is no triple."""
        if record.harmful is None:
            return [self.encoder.encode(record)]
        return [make(record) for make in self.makers.values()]

    @cached_property
    def makers(self) -> dict[str, Callable[[Record], Example]]:
        """What is made of each triple, by kind."""
        kinds: dict[str, dict[str, Callable[[Record], Example]]] = {
            "safety": {"safe": self.encoder.encode},
            "prefix": {"prefix": self.prefix},
            "rto": {"safe": self.encoder.encode, "rto": self.rto},
            "both": {"prefix": self.prefix, "rto": self.rto},
        }
        return kinds[self.methods.triples]

    def prefix(self, record: Record) -> Example:
        """MLE with harmful-response prefix; with k = 0 the plain example of the safe answer.

        The thinking part that a template puts before the text stands before the prefix, not again
        in the middle of the answer.
        """
        safe, harmful = self.encoder.parts(record), self.encoder.parts(record.harmfully_answered)
        refusal = [*(safe.control if self._by_token else ()), *safe.answer.body]
        opening = _opening(harmful)
        limit = self.encoder.max_length
        text = harmful.answer.body[:-1]
        k = draw_prefix_length(
            self.rng,
            len(text),
            limit - len(safe.prompt) - len(opening) - len(refusal),
            self.methods,
        )
        if k == 0:
            return self.encoder.encode(record)
        return prefix_layout(safe.prompt, opening, text[:k], refusal, limit, self.encoder.loss_on)

    def rto(self, record: Record) -> Example:
        """RTO over the harmful answer and the end of its turn, as in the authors' data."""
        safe, harmful = self.encoder.parts(record), self.encoder.parts(record.harmfully_answered)
        opening, body = _opening(harmful), harmful.answer.body
        room = max(self.encoder.max_length - len(safe.prompt) - len(opening), 0)
        return rto_layout(
            safe.prompt,
            opening,
            body,
            safe.control[0] if safe.control else None,
            safe.control[0] if self._by_token else self._word,
            self.encoder.max_length,
            draw_positions(self.rng, min(len(body), room), self.methods),
            self.encoder.loss_on,
        )

    @property
    def _by_token(self) -> bool:
        return self.methods.transition == "token"

    @cached_property
    def _word(self) -> int:
        word = self.methods.transition_word
        ids = self.encoder.tokenizer.encode(word, add_special_tokens=False)
        if len(ids) != 1:
            raise EncodingError(
                f"methods.transition_word {word!r} is {len(ids)} tokens of this tokenizer, not 1:"
                " name a word that is one token, or set methods.transition=token"
            )
        return int(ids[0])


def _opening(harmful: Parts) -> list[int]:
    return [*harmful.control, *harmful.answer.lead]
