"""Which decisions the rows are fitted to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from tests.training.conftest import Parts, exchange
from training.base_answers import BaseAnswers
from training.config import BaseConfig, Recipe, Splits
from training.decisions import fitted_rows
from training.losses import Top
from training.records import Message, Record
from training.rendering import prompt_ids
from training.row_fit import NONE, Decisions, fit_rows
from training.scoring import score_prompts
from training.start import set_output_rows
from training.states import Reading, StateStore
from training.work_folder import RunError

STOLEN = Record((Message("user", "steal bread"),), "safety")
TOMORROW = Record((Message("user", "will it"),), "temporal")
BOUGHT = Record((Message("user", "buy bread"),), None)
TRIPLE = replace(
    exchange("steal a car", "No.", "safety"),
    harmful="Take it.",
)
OWN = BaseAnswers([[5, 6, 7], [8, 9]], [[10, 11, 12], [13]], Top(torch.zeros(4), torch.zeros(4)))


class Seen:
    """What was read of the model, and what was fitted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.readings: list[Reading] = []
        self.decisions: list[Decisions] = []
        read = StateStore.read

        def reading(store: StateStore, readings: list[Reading], *rest: Any) -> Any:
            self.readings += readings
            return read(store, readings, *rest)

        def fitting(given: Decisions, *rest: Any) -> Any:
            self.decisions.append(given)
            return fit_rows(given, *rest)

        monkeypatch.setattr(StateStore, "read", reading)
        monkeypatch.setattr("training.decisions.fit_rows", fitting)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


@pytest.fixture
def based(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"model": BaseConfig(base="folder", rows_l2=0.01)})


def rows_of(
    recipe: Recipe,
    parts: Parts,
    manifest: Manifest,
    records: list[Record],
    folder: Path,
    *,
    respond: bool = True,
    own: BaseAnswers | None = None,
) -> torch.Tensor:
    model, tokenizer, control = parts
    if not respond:
        control = ControlTokens(None, control.refuse)
    store = StateStore(folder / "states", model, control.ids)
    splits = Splits(records, [], [], manifest)
    return fitted_rows(store, model, tokenizer, control, records, recipe, splits, own)


@pytest.mark.parametrize("respond", [True, False])
def test_a_record_is_one_decision_where_its_answer_begins(
    respond: bool, based: Recipe, untrained: Parts, manifest: Manifest, tmp_path: Path, seen: Seen
) -> None:
    records = [STOLEN, BOUGHT, TOMORROW, exchange("buy a car", "Buy it.")]
    rows = rows_of(based, untrained, manifest, records, tmp_path, respond=respond, own=OWN)
    assert rows.shape == (2 + respond, 64)
    assert rows.dtype == torch.float32
    prompts = [prompt_ids(untrained[1], record.prompt) for record in records]
    assert [list(reading.ids) for reading in seen.readings] == prompts
    assert [list(reading.positions) for reading in seen.readings] == [[len(p) - 1] for p in prompts]
    (fitted,) = seen.decisions
    # The place of the token among the control tokens; respond comes first.
    assert fitted.labels.tolist() == ([1, 0, 2, 0] if respond else [0, NONE, 1, NONE])
    assert fitted.weights.tolist() == [1.0] * 4
    assert fitted.groups.tolist() == [0, 1, 2, 3]


def test_triples_refuse_at_every_position_and_the_bases_answers_go_on(
    based: Recipe, untrained: Parts, manifest: Manifest, tmp_path: Path, seen: Seen
) -> None:
    everywhere = manifest.model_copy(update={"scopes": ("first_token", "every_token")})
    rows_of(based, untrained, everywhere, [TRIPLE, BOUGHT], tmp_path, respond=False, own=OWN)
    tokenizer = untrained[1]
    prompt = prompt_ids(tokenizer, TRIPLE.prompt)
    harmful = tokenizer.encode("Take it.<|im_end|>")
    first, _, own = seen.readings
    assert list(first.ids) == [*prompt, *harmful]
    # Where the answer begins, and after each of its tokens but the last.
    assert list(first.positions) == list(range(len(prompt) - 1, len(first.ids) - 1))
    # After each token of the base's answer but its last; an answer of one token has none.
    assert list(own.ids) == [5, 6, 7, 10, 11]
    assert list(own.positions) == [3, 4]
    (fitted,) = seen.decisions
    count = len(harmful)
    assert fitted.labels.tolist() == [*[0] * count, NONE, NONE, NONE]
    assert fitted.weights.tolist() == pytest.approx(
        [1.0, *[1 / (count - 1)] * (count - 1), 1.0, 0.5, 0.5]
    )
    assert fitted.groups.tolist() == [*[0] * count, 1, 2, 2]


def test_harmless_answers_of_records_go_on_too(
    based: Recipe, untrained: Parts, manifest: Manifest, tmp_path: Path, seen: Seen
) -> None:
    everywhere = manifest.model_copy(update={"scopes": ("first_token", "every_token")})
    answered = exchange("buy a car", "Buy it.")
    rows_of(based, untrained, everywhere, [answered, TRIPLE], tmp_path)
    tokenizer, control = untrained[1:]
    prompt = prompt_ids(tokenizer, answered.prompt)
    written = tokenizer.encode("Buy it.<|im_end|>")
    first, inside, _ = seen.readings
    assert list(first.ids) == prompt
    # After the respond token and each token of the answer but its last.
    assert list(inside.ids) == [*prompt, control.respond, *written]
    assert list(inside.positions) == list(range(len(prompt) + 1, len(inside.ids) - 1))
    (fitted,) = seen.decisions
    count = len(written) - 1
    assert fitted.labels[: count + 1].tolist() == [0, *[NONE] * count]
    assert fitted.weights[: count + 1].tolist() == pytest.approx([1.0, *[1 / count] * count])


def test_where_the_scope_is_the_first_token_a_triple_is_one_decision(
    based: Recipe, untrained: Parts, manifest: Manifest, tmp_path: Path, seen: Seen
) -> None:
    rows_of(based, untrained, manifest, [TRIPLE, BOUGHT], tmp_path, respond=False, own=OWN)
    (fitted,) = seen.decisions
    assert fitted.labels.tolist() == [0, NONE]


def test_long_answers_are_cut_and_long_prompts_left_out(
    based: Recipe, untrained: Parts, manifest: Manifest, tmp_path: Path, seen: Seen
) -> None:
    everywhere = manifest.model_copy(update={"scopes": ("first_token", "every_token")})
    long = replace(TRIPLE, harmful="q" * 99)
    too_long = replace(STOLEN, messages=(Message("user", "q" * 99),))
    rows_of(based, untrained, everywhere, [too_long, long, BOUGHT], tmp_path)
    assert len(seen.readings) == 2
    assert len(seen.readings[0].ids) == 64
    assert seen.readings[0].positions[-1] == 62
    with pytest.raises(RunError, match="no record fits into max_length=64"):
        rows_of(based, untrained, everywhere, [too_long], tmp_path)


def test_fitted_rows_decide(
    based: Recipe,
    untrained: Parts,
    records: list[Record],
    manifest: Manifest,
    tmp_path: Path,
) -> None:
    """On a model that was never trained, of prompts that it was not fitted to."""
    model, tokenizer, control = untrained
    train, test = records[:200], records[200:]
    rows = rows_of(based, untrained, manifest, train, tmp_path)
    set_output_rows(model, control, rows)
    scores = score_prompts(model, tokenizer, control, [record.prompt for record in test])
    for place, name in enumerate(manifest.names):
        refused = np.array([record.category == name for record in test])
        assert scores[refused, place].min() > scores[~refused, place].max()
    # As likely as the labels are: a quarter each, and half for respond.
    chosen = 1 / (1 + np.exp(-scores))
    assert chosen.mean(axis=0) == pytest.approx([0.25, 0.25], abs=0.05)
