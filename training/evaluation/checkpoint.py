"""A checkpoint folder, asked through transformers with the gate's own arithmetic."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import get_args

import numpy as np

from steering.calibration import load_scopes
from steering.fingerprint import FingerprintError, verify
from steering.gate import decide
from steering.intact import check_intact
from steering.manifest import MANIFEST_FILE, Manifest, Scope
from steering.scope_policy import ScopePolicy
from steering.settings import Settings, SettingsError
from training.evaluation.generation import GateSettings, generate
from training.evaluation.target import Dial, EvalError, PromptOrText, Reply
from training.loading import control_tokens, load
from training.rendering import prompt_ids
from training.scoring import ScoringError, score_ids

SCOPES: tuple[Scope, ...] = get_args(Scope)


class CheckpointTarget:
    """A model folder. Without refusal tokens it has no categories, and only texts tell refusals."""

    def __init__(
        self, folder: Path, *, dtype: str, batch_size: int, max_tokens: int, writes: bool
    ) -> None:
        """Load it. Raises OSError or ValueError where files are missing or do not fit together.

        writes: whether answers are written out, at most `max_tokens`; if not, prompts are scored
        once, and turning the dial costs nothing.
        """
        self.name = str(folder)
        manifest = None
        if (folder / MANIFEST_FILE).is_file():
            manifest = Manifest.load(folder)
            check_intact(folder)
        self.model, self.tokenizer = load(folder, dtype)
        self.batch_size = batch_size
        self._max_tokens = max_tokens
        self._writes = writes
        self._scores: dict[PromptOrText, tuple[float, ...]] = {}
        self.categories: tuple[str, ...] = ()
        self.control = None
        # A baseline lists categories, but was trained without their tokens.
        if manifest is not None and manifest.scopes:
            self.categories = manifest.names
            self._check_weights = cache(partial(verify, folder, manifest))
            self.control = control_tokens(manifest, self.tokenizer)
            scores = load_scopes(folder, manifest)
            # Unlike a server's, in scopes that it was not trained for, too: baselines are measured.
            self._policies = {
                scope: ScopePolicy(self.categories, scores.get(scope), {}) for scope in SCOPES
            }

    def ids(self, prompt: PromptOrText) -> list[int]:
        """Token ids up to where the answer begins."""
        if not isinstance(prompt, str):
            return prompt_ids(self.tokenizer, prompt)
        # A chat template writes the tokens that open a text; plain text has none yet.
        encoded: list[int] = self.tokenizer.encode(prompt)
        return encoded

    def thresholds(self, dial: Dial) -> tuple[float, ...]:
        """[C] log-odds.

        Raises EvalError for a setting that this checkpoint cannot take, as it cannot take a rate if
        its weights are others than those that were calibrated.
        """
        settings = Settings(rates=dict(dial.rates), thresholds=dict(dial.thresholds))
        try:
            if dial.rates:
                self._check_weights()
            return self._policies[dial.scope or "first_token"].resolve(settings).thresholds
        except (FingerprintError, SettingsError) as error:
            raise EvalError(str(error)) from error

    def gate(self, dial: Dial, *, begun: bool = False) -> GateSettings | None:
        """The gate at this setting; None for a model without control tokens."""
        if self.control is None:
            return None
        every_token = dial.scope == "every_token"
        return GateSettings(self.control, self.thresholds(dial), every_token, begun)

    def ask(self, prompts: Sequence[PromptOrText], dial: Dial, label: str) -> list[Reply]:
        """Replies: decisions from scores, and texts where they are asked for.

        Raises EvalError if a prompt is longer than the model's positions.
        """
        scores = self._scored(prompts) if self.control is not None else [None] * len(prompts)
        if self._writes or dial.scope == "every_token":
            return self._written(prompts, scores, dial, label)
        if not prompts:
            return []
        decided = decide(
            np.array(scores, dtype=np.float32), np.array(self.thresholds(dial), dtype=np.float32)
        )
        return [
            Reply(
                refused=bool(choice >= 0),
                category=self.categories[choice] if choice >= 0 else None,
                position=0 if choice >= 0 else None,
                scores=own,
            )
            for choice, own in zip(decided, scores, strict=True)
        ]

    def read(self, ids: Sequence[int]) -> Reply:
        """The reply that written token ids make."""
        control = self.control.ids if self.control is not None else ()
        refuse = self.control.refuse if self.control is not None else ()
        text = self.tokenizer.decode(
            [token for token in ids if token not in control], skip_special_tokens=True
        )
        for index, token in enumerate(ids):
            if token in refuse:
                position = sum(other not in control for other in ids[:index])
                return Reply(True, self.categories[refuse.index(token)], position, str(text))
        return Reply(False, text=str(text))

    def _written(
        self,
        prompts: Sequence[PromptOrText],
        scores: Sequence[tuple[float, ...] | None],
        dial: Dial,
        label: str,
    ) -> list[Reply]:
        answers = generate(
            self.model,
            self.tokenizer,
            [self.ids(prompt) for prompt in prompts],
            max_new_tokens=self._max_tokens + 1,  # the control token
            gate=self.gate(dial),
            batch_size=self.batch_size,
            label=label,
        )
        replies = map(self.read, answers)
        return [
            Reply(reply.refused, reply.category, reply.position, reply.text, own)
            for reply, own in zip(replies, scores, strict=True)
        ]

    def _scored(self, prompts: Sequence[PromptOrText]) -> list[tuple[float, ...]]:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._scores]
        if new:
            assert self.control is not None
            ids = [self.ids(prompt) for prompt in new]
            try:
                rows = score_ids(self.model, self.control, ids, batch_size=self.batch_size)
            except ScoringError as error:
                raise EvalError(str(error)) from error
            # NaN refuses, as the gate has it; finite ends, since curves are drawn through them.
            rows = np.nan_to_num(rows, nan=np.inf)
            ends = np.finfo(np.float32)
            for prompt, row in zip(new, np.clip(rows, ends.min, ends.max), strict=True):
                self._scores[prompt] = tuple(map(float, row))
        return [self._scores[prompt] for prompt in prompts]
