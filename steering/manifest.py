"""`refusal.json`: what a checkpoint says about its own control tokens.

The file stands beside the model's weights. It names the control tokens in their order, which is
the order of every per-category array in this project, and says how the checkpoint was calibrated.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

MANIFEST_FILE = "refusal.json"
CALIBRATION_FOLDER = "calibration"
"""A folder of its own: vLLM 0.32 takes every safetensors file beside the model for weights."""

CategoryName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
TokenText = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Scope = Literal["first_token", "every_token"]
RefusalText = Literal["generated", "template"]
"""Whose words a refusal has: the model's own, or a template's."""


def scores_file(scope: Scope) -> str:
    """Where in a checkpoint the calibration scores of a scope are."""
    return f"{CALIBRATION_FOLDER}/{scope}.safetensors"


SCORES_FILE = scores_file("first_token")


class ManifestError(ValueError):
    """A checkpoint's `refusal.json` is missing or does not meet the contract."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Category(_Frozen):
    """One reason to refuse, with the token that stands for it."""

    name: CategoryName
    token: TokenText
    description: str = ""


class Calibration(_Frozen):
    """How the calibration scores of a checkpoint came about."""

    engine: str
    """What computed the scores, for example `transformers`."""
    dtype: str
    """The weights' and activations' type while scoring, for example `float32`."""
    prompts: dict[str, int]
    """Number of calibration prompts by label; harmless prompts under `comply`."""
    shapes: dict[str, int] | None = None
    """Number of calibration prompts by feature (`steering.shapes`), those without any under
    `plain`; None for a calibration made before it was counted."""
    weights: str | None = None
    """`steering.fingerprint` of the weights that were scored; None if it was not taken."""


class Manifest(_Frozen):
    """The content of `refusal.json`."""

    format_version: Literal[1] = 1
    respond_token: TokenText | None
    """The token that opens an answer; None when the model was trained without one."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1)]
    scopes: tuple[Scope, ...] = ("first_token",)
    """Where in an answer the model was trained to refuse by a token; empty for a baseline that was
    trained without control tokens, which can be measured but not steered."""
    refusal_texts: tuple[RefusalText, ...] = ("generated", "template")
    """Whose words refusals may have; without `generated`, the model was not trained to write
    them."""
    notice: str = ""
    """What people who are about to use the checkpoint should know; printed at start-up."""
    calibration: Calibration | None = None
    """None until the checkpoint is calibrated; then it serves thresholds, not rates."""

    @field_validator("refusal_texts")
    @classmethod
    def _templates_always(cls, texts: tuple[RefusalText, ...]) -> tuple[RefusalText, ...]:
        if "template" not in texts:
            raise ValueError("must hold 'template': an operator may always write templates")
        return texts

    @model_validator(mode="after")
    def _no_twins(self) -> Self:
        _refuse_twins("category", [category.name for category in self.categories])
        _refuse_twins("token", self.tokens)
        return self

    @property
    def writes_refusals(self) -> bool:
        """Whether the model was trained to write refusals in words of its own."""
        return "generated" in self.refusal_texts

    @property
    def names(self) -> tuple[str, ...]:
        """Category names, in order."""
        return tuple(category.name for category in self.categories)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every control token: the respond token first, if there is one, then by category."""
        refuse = tuple(category.token for category in self.categories)
        return refuse if self.respond_token is None else (self.respond_token, *refuse)

    @classmethod
    def load(cls, checkpoint: Path) -> Self:
        """Read the manifest of the checkpoint in the folder `checkpoint`.

        Raises ManifestError, naming the file and every fault, when there is none or it is invalid.
        """
        path = checkpoint / MANIFEST_FILE
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(
                f"{path} cannot be read ({error}). A checkpoint that Demur serves has control"
                f" tokens and this file; demur-train writes both."
            ) from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}"
                for fault in error.errors()
            )
            raise ManifestError(f"{path} is not a valid manifest: {faults}") from error

    def save(self, checkpoint: Path) -> None:
        """Write the manifest into the folder `checkpoint`, replacing one that is there."""
        path = checkpoint / MANIFEST_FILE
        part = path.with_suffix(".part")
        part.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        part.replace(path)


def _refuse_twins(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value!r} is listed twice")
        seen.add(value)
