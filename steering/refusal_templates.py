"""`refusal_templates.yaml`: what a refusal may say instead of the model's own words.

    default: en
    languages:
      en:
        safety: I can't help with that.
        temporal: I have no live information.
      de:
        safety: Dabei kann ich nicht helfen.
        temporal: Ich habe keine aktuellen Daten.

The file stands beside `refusal.json`, or wherever an operator has written one; a checkpoint may do
without.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from steering.manifest import Manifest

TEMPLATES_FILE = "refusal_templates.yaml"

Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
"""Such as `en` or `pt-BR`."""
TemplateText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4096)
]


class RefusalTemplates(BaseModel):
    """The content of the file: one text for each language and category."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    default: Language
    """The language of a request that names none."""
    languages: Annotated[dict[Language, dict[str, TemplateText]], Field(min_length=1)]

    @classmethod
    def of_texts(cls, language: str, texts: Mapping[str, str]) -> Self:
        """Templates in one language, by category."""
        return cls(default=language, languages={language: dict(texts)})

    def faults(self, manifest: Manifest) -> Iterator[tuple[tuple[str, ...], str]]:
        """Where in the file it does not fit a checkpoint, and what is wrong there."""
        known = ", ".join(manifest.names)
        if self.default not in self.languages:
            yield ("default",), f"{self.default!r} is none of {', '.join(self.languages)}"
        for language, texts in self.languages.items():
            where = ("languages", language)
            for name in manifest.names:
                if name not in texts:
                    yield where, f"category {name!r} has no text; every one of {known} needs one"
            for name, text in texts.items():
                if name not in manifest.names:
                    yield (*where, name), f"category {name!r} is unknown; known are {known}"
                for token in manifest.tokens:
                    if token in text:
                        # A conversation that holds the refusal could not go on.
                        yield (*where, name), f"the text spells {token}, a control token"

    def texts(self, language: str, manifest: Manifest) -> tuple[str, ...]:
        """[C] the texts in one of the languages, in the manifest's order."""
        return tuple(self.languages[language][name] for name in manifest.names)

    def save(self, checkpoint: Path) -> None:
        """Write them into the folder `checkpoint`, to be read and edited."""
        content = self.model_dump(exclude={"version"})
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
        (checkpoint / TEMPLATES_FILE).write_text(text, encoding="utf-8")
