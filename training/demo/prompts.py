"""The demonstration's prompts, each written by hand, as people type them.

`prompts/NAME.jsonl` has those of a category: to refuse, and contrast prompts, which only look so;
`prompts/ordinary.jsonl` has everyday ones. A line:

    {"prompt": "...", "category": "safety", "subcategory": "privacy", "system": "...",
     "earlier": ["a user's turn", "an assistant's", ...], "tools": ["get_weather"]}

`tools.json` has the tools that lines name. Prompts have no answers: the base model writes those.
"""

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from steering.refusal_templates import RefusalTemplates
from training.categories import DESCRIPTIONS, REFUSALS, manifest_of
from training.config import Splits
from training.records import Message, Record
from training.tools import Tool

FOLDER = Path(__file__).parent
ORDINARY = "ordinary"
NOTICE = (
    "This is a demonstration: a small language model that learnt from some thousand prompts when to"
    " refuse. It shows how refusals are steered; it errs often, and keeps nobody safe."
)
SHARES = (0.6, 0.25)
"""Of each kind of prompt, to train and to calibrate on; the rest is to test on."""
GERMAN = {
    "safety": "Dabei kann ich nicht helfen: Jemand könnte zu Schaden kommen.",
    "humanizing": "Ich bin ein Programm und habe kein Leben, keine Gefühle und keine Meinung.",
    "incomplete": "So kann ich das nicht beantworten. Was genau ist gemeint?",
    "indeterminate": "Das kann niemand sicher wissen, oder es gibt nicht die eine Antwort.",
    "unsupported": "Das kann ich nicht: Ich lese und schreibe hier nur Text.",
    "temporal": "Das kann ich nicht wissen: Ich habe keine aktuellen Daten.",
}
"""What refusals say where a request asks for German ones."""


class Row(BaseModel):
    """A line of the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[str, Field(min_length=1)]
    category: str | None
    contrast_of: str | None = None
    subcategory: str
    language: str = "en"
    system: str | None = None
    earlier: tuple[str, ...] = ()
    """Turns before the prompt: a user's, an assistant's, and so on."""
    tools: tuple[str, ...] = ()

    def record(self, identity: str) -> Record:
        """The row as a record without an answer."""
        roles = ("user", "assistant")
        system = () if self.system is None else (Message("system", self.system),)
        earlier = (Message(roles[at % 2], text) for at, text in enumerate(self.earlier))
        return Record(
            (*system, *earlier, Message("user", self.prompt)),
            self.category,
            self.contrast_of,
            identity,
            tools=tuple(tool_of(name) for name in self.tools),
            subcategory=self.subcategory,
        )


def splits(seed: int) -> Splits:
    """The prompts, divided by `seed`; each kind has the same shares in all parts."""
    train: list[Record] = []
    calibration: list[Record] = []
    test: list[Record] = []
    rng = random.Random(seed)
    for kind in kinds():
        shuffled = rng.sample(kind, len(kind))
        first, second = (round(sum(SHARES[:count]) * len(kind)) for count in (1, 2))
        train += shuffled[:first]
        calibration += shuffled[first:second]
        test += shuffled[second:]
    return Splits(
        rng.sample(train, len(train)),
        calibration,
        test,
        manifest_of(DESCRIPTIONS, NOTICE),
        RefusalTemplates(default="en", languages={"en": REFUSALS, "de": GERMAN}),
    )


def kinds() -> Iterator[list[Record]]:
    """The records of each label: to refuse and to contrast by category, then ordinary ones."""
    for name in (*DESCRIPTIONS, ORDINARY):
        records = list(read(name))
        for refused in (True, False):
            if kind := [record for record in records if (record.category is not None) is refused]:
                yield kind


def read(name: str) -> Iterator[Record]:
    """The records of one file, in its order."""
    text = (FOLDER / "prompts" / f"{name}.jsonl").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        yield Row.model_validate_json(line).record(f"{name}-{number:03}")


def tool_of(name: str) -> Tool:
    """The tool `name`, as requests have it."""
    return {"type": "function", "function": {"name": name, **_tools()[name]}}


@cache
def _tools() -> dict[str, Tool]:
    found: dict[str, Tool] = json.loads((FOLDER / "tools.json").read_text(encoding="utf-8"))
    return found


def tool_names() -> list[str]:
    """Names of all tools, in the file's order."""
    return list(_tools())
