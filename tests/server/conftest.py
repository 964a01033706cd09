import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.admission import Admission, Limits
from server.checkpoint import Checkpoint
from server.refusal_texts import RefusalTexts
from steering.calibration import COMPLY_INDEX, CalibrationScores, ScopedScores
from steering.manifest import Calibration, Category, Manifest
from steering.policy import Policy
from steering.refusal_templates import TEMPLATES_FILE, RefusalTemplates
from steering.tokens import ControlTokens

INF = math.inf
MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(
        Category(name="safety", token="<|refuse:safety|>"),
        Category(name="temporal", token="<|refuse:temporal|>"),
    ),
    scopes=("first_token", "every_token"),
    calibration=Calibration(engine="transformers", dtype="float32", prompts={}),
)
SCORES = CalibrationScores(
    categories=MANIFEST.names,
    labels=np.array([0, 0, 1, 1, COMPLY_INDEX]),
    scores=np.array([[3, -9], [1, -9], [-9, 2], [-9, 4], [-9, -9]], dtype=np.float32),
)
TEMPLATES = RefusalTemplates(
    default="en",
    languages={
        # Not in the manifest's order.
        "de": {"temporal": "Ich weiß nichts Neues.", "safety": "Dabei helfe ich nicht."},
        "en": {"temporal": "I have no news.", "safety": "I can't help with that."},
    },
)
SCOPED: ScopedScores = {"first_token": SCORES, "every_token": SCORES}


class WordTokenizer:
    """One token a word; words in angle brackets are special. Stands for a model's tokenizer."""

    words = ("<|end|>", "<|respond|>", "<|refuse:safety|>", "<|refuse:temporal|>", "<|assistant|>")
    all_special_tokens: Sequence[str] = words

    def __init__(self) -> None:
        self.vocabulary = list(self.words)

    def __len__(self) -> int:
        return 100

    @property
    def max_token_id(self) -> int:
        return len(self) - 1

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        assert not add_special_tokens
        for word in text.split():
            if word not in self.vocabulary:
                self.vocabulary.append(word)
        return [self.vocabulary.index(word) for word in text.split()]

    def apply_chat_template(
        self, messages: Sequence[Any], *, add_generation_prompt: bool, **_: Any
    ) -> str:
        rendered = " ".join(f"{message['content']} <|end|>" for message in messages)
        return rendered + (" <|assistant|>" if add_generation_prompt else "")


@pytest.fixture
def tokenizer() -> Any:
    return WordTokenizer()


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint(
        path=Path("demo"),
        manifest=MANIFEST,
        control=ControlTokens(respond=1, refuse=(2, 3)),
        scores=SCOPED,
        policy=Policy(MANIFEST, SCOPED),
    )


@pytest.fixture
def texts(tmp_path: Path) -> RefusalTexts:
    TEMPLATES.save(tmp_path)
    return RefusalTexts(MANIFEST, tmp_path / TEMPLATES_FILE)


@pytest.fixture
def admission(checkpoint: Checkpoint, tokenizer: Any, texts: RefusalTexts) -> Admission:
    limits = Limits(max_logprobs=8, penalties_before_gate=False)
    return Admission(checkpoint, tokenizer, limits, texts)


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What the server logs; vLLM's loggers do not pass their records up."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("vllm.demur")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)
