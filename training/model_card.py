"""The model card of a checkpoint: the README.md that the hub shows."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from steering.manifest import Manifest
from training.base_source import PACKAGE
from training.config import OWN, BaseConfig, Recipe, ScratchConfig, Splits
from training.export import CALIBRATION_PROMPTS
from training.family_templates import TEMPLATES
from training.markdown import table
from training.recipes import settings
from training.records import Record
from training.run_folder import ANSWERED, FOLDER

CARD_FILE = "README.md"
LOOKALIKES, TRIPLES = "of these look-alikes", "of these triples"

_HEAD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [demur, refusal-tokens]
{base}---

# {name}

{summary}. Made by `demur-train run {name}`.
{notice}"""

_METHOD = """
## Method

{method}

{settings}
"""

_TOKENS = """\
{begins} with a control token, which the model chooses itself: {tokens}.
The probability of a refuse token where an answer may turn into a refusal ({scopes}) is a score, and
a threshold on it decides (Refusal Tokens, arXiv 2412.06748). The chat template writes no control
token; `refusal.json` lists them."""

_FROZEN = """
The base is frozen: all of its weights are as they were. Only the refuse tokens' rows of the output
embeddings were fitted, by logistic regression on its hidden states. Refusals are templates."""

_TRIPLES = """
Triples of a prompt, a safe and a harmful answer teach it to turn from the latter on the way (DeRTa,
arXiv 2407.09121)."""

_BASELINE = """\
A baseline, to be measured beside models with control tokens: it was trained without any."""

_USE = """
## Calibration

{calibration}
`refusal.json` says under `calibration` whether the checkpoint is calibrated, and with which engine
and dtype. Without it the server takes thresholds, not rates. Calibrate anew where engine, dtype or
the kind of prompts differ from those.

## Intended use

To be served by `demur-serve`, which keeps the control tokens out of clients' reach and decides by
the thresholds or rates of each request. Served by anything else the model chooses its control
token by sampling, and the token shows in the text.
"""

_BASELINE_USE = """
## Intended use

To be measured by `demur-eval`. `demur-serve` cannot serve it.
"""

_LIMITS = """
## Limits

- A refusal is a trained habit, no guarantee: prompts unlike the training data, other languages and
  attacks can be answered. It replaces neither a review of outputs nor rules of use.
- Harmless prompts that look like refusable ones are refused at some rate; measure it on yours.
- Rates hold for prompts like the calibration's, up to the error of their number.
- What the base model and the training records get wrong, this model may get wrong too.
"""


def write_model_card(folder: Path, recipe: Recipe, splits: Splits) -> None:
    """Write the card into `folder`."""
    (folder / CARD_FILE).write_text(model_card(recipe, splits), encoding="utf-8")


def model_card(recipe: Recipe, splits: Splits) -> str:
    """The card: method, data, calibration, intended use and limits, in Markdown."""
    manifest = splits.manifest
    own = _own_files(recipe.model)
    base = (
        f"base_model: {json.dumps(recipe.model.base)}\n"
        if isinstance(recipe.model, BaseConfig) and "model.base" not in own
        else ""
    )
    head = _HEAD.format(
        base=base,
        name=recipe.name,
        summary=recipe.summary[0].upper() + recipe.summary[1:],
        notice=f"\n> {manifest.notice}\n" if manifest.notice else "",
    )
    rows = [
        (f"`{key}`", own.get(key, value))
        for key, value in [*settings(recipe), ("seed", recipe.seed)]
        # A card is published; the names of one's files need not be.
        if not key.startswith("data.") and not (recipe.frozen and key.startswith("sft."))
    ]
    method = _METHOD.format(
        method=_method(splits) + (_FROZEN if recipe.frozen else ""),
        settings="\n".join(table(["setting", "value"], rows)),
    )
    data = "\n".join(["\n## Data\n", *_data(splits)])
    calibration = _calibration(splits.calibration)
    use = _USE.format(calibration=calibration) if manifest.scopes else _BASELINE_USE
    return f"{head}{method}{data}\n{use}{_LIMITS}"


def _own_files(model: ScratchConfig | BaseConfig) -> dict[str, str]:
    """What stands in the card for settings that name the user's own files."""
    if not isinstance(model, BaseConfig):
        return {}
    found = {}
    if model.base.startswith(PACKAGE):
        found["model.base"] = "a file of a package"
    elif Path(model.base).exists():
        found["model.base"] = "a local folder" if Path(model.base).is_dir() else "a local file"
    if model.template not in (OWN, *TEMPLATES):
        found["model.template"] = "a Jinja file"
    return found


def _method(splits: Splits) -> str:
    manifest = splits.manifest
    tokens = _TOKENS.format(
        begins="A refusal begins" if manifest.respond_token is None else "Every answer begins",
        tokens=_tokens(manifest),
        scopes=", ".join(manifest.scopes),
    )
    triples = any(record.harmful is not None for record in splits.train)
    return (tokens if manifest.scopes else _BASELINE) + (_TRIPLES if triples else "")


def _tokens(manifest: Manifest) -> str:
    shown = [] if manifest.respond_token is None else [f"`{manifest.respond_token}` to answer"]
    shown += [f"`{category.token}` ({category.name})" for category in manifest.categories]
    return ", ".join(shown)


def _data(splits: Splits) -> Iterator[str]:
    counts = [_counts(records) for records in (splits.train, splits.calibration, splits.test)]
    yield f"Counts by category; `{FOLDER}/data.json` has the digests of the records.\n"
    labels = [*splits.manifest.names, ANSWERED, LOOKALIKES, TRIPLES]
    rows = [(label, *(count[label] for count in counts)) for label in labels]
    yield from table(["", "training", "calibration", "test"], rows)


def _counts(records: Sequence[Record]) -> Counter[str]:
    found = Counter(record.category or ANSWERED for record in records)
    found[LOOKALIKES] = sum(record.contrast_of is not None for record in records)
    found[TRIPLES] = sum(record.harmful is not None for record in records)
    return found


def _calibration(records: Sequence[Record]) -> str:
    if not records:
        return "The recipe has no held-out prompts for it."
    return (
        f"{len(records)} held-out prompts are in `{CALIBRATION_PROMPTS}`; `demur-calibrate` scores"
        " them."
    )
