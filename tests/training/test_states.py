import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tests.training.heads import ARCHITECTURES, CONTROL, model_of
from training import states
from training.base_source import BaseError
from training.output_head import OutputHead, head_of
from training.scoring import ScoringError
from training.states import Reading, StateStore

READINGS = [
    Reading.at_end([5, 6, 7]),
    Reading.at_end([9, 8, 7, 6, 5, 4, 3]),
    Reading([11, 12, 13, 14, 15], (1, 2, 4)),
    Reading.at_end([21]),
    Reading([31, 32, 33], range(3)),
    Reading.at_end([41, 42, 43, 44]),
]


@pytest.fixture(params=ARCHITECTURES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model() -> PreTrainedModel:
    return model_of("llama")


@contextmanager
def counting(model: PreTrainedModel) -> Iterator[list[int]]:
    """The number of sequences of each forward call."""
    calls: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, given: calls.append(len(given["input_ids"])), with_kwargs=True
    )
    yield calls
    hook.remove()


def alone(model: PreTrainedModel, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states and logsumexp, one reading at a time without padding."""
    given: list[torch.Tensor] = []
    output: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    hook = output.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([reading.ids])).logits[0]
    hook.remove()
    others = [token for token in range(logits.shape[1]) if token not in CONTROL]
    places = list(reading.positions)
    return given[0][0, places].numpy(), logits[places][:, others].logsumexp(dim=1).numpy()


def assert_states(model: PreTrainedModel, readings: list[Reading], found: states.States) -> None:
    expected = [alone(model, reading) for reading in readings]
    hidden, offset = (np.concatenate(column) for column in zip(*expected, strict=True))
    np.testing.assert_allclose(found.hidden, hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.offset, offset, rtol=1e-4, atol=1e-5)


def test_states_are_the_models_in_the_order_of_the_readings(kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    found = StateStore(tmp_path / "states", model, CONTROL).read(READINGS, head_of(model))
    assert found.hidden.shape == (10, 32)
    assert_states(model, READINGS, found)


def test_batches_of_any_size_give_the_same(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("BATCH_TOKENS", 8), ("LOGIT_ROWS", 6), ("PART_ROWS", 2)):
        monkeypatch.setattr(states, name, value)
    with counting(model) as calls:
        found = StateStore(tmp_path / "states", model, CONTROL).read(READINGS, OutputHead())
    # By length, those with one position first: 7; 4 and 3; 1; then 5; 3.
    assert calls == [1, 2, 1, 1, 1]
    assert len(list((tmp_path / "states").glob("*.safetensors"))) == 3
    assert_states(model, READINGS, found)


def test_one_prefix_has_one_state(model: PreTrainedModel, tmp_path: Path) -> None:
    once, again = Reading([5, 6, 7, 8], (1, 3)), Reading.at_end([5, 6])
    assert once.prefixes()[0] == again.prefixes()[0]
    assert len({*once.prefixes(), *Reading([5, 6, 7, 9], range(4)).prefixes()}) == 5
    # Not by its text: 256 and 1 are not 1 and 256.
    assert Reading.at_end([256, 1]).prefixes() != Reading.at_end([1, 256]).prefixes()
    store = StateStore(tmp_path / "states", model, CONTROL)
    store.read([once], OutputHead())
    with counting(model) as calls:
        found = store.read([again, again], OutputHead())
    assert not calls
    assert_states(model, [again, again], found)


def test_what_is_there_is_not_read_again(model: PreTrainedModel, tmp_path: Path) -> None:
    folder = tmp_path / "states"
    StateStore(folder, model, CONTROL).read(READINGS, OutputHead())
    new = Reading.at_end([51, 52])
    for readings, expected in ((READINGS[::-2], []), ([*READINGS[:2], new], [1])):
        with counting(model) as calls:
            found = StateStore(folder, model, CONTROL).read(readings, OutputHead())
        assert calls == expected
        assert_states(model, readings, found)


def test_other_control_tokens_after_the_same_base_need_no_second_pass(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    folder = tmp_path / "states"
    before = StateStore(folder, model, CONTROL).read(READINGS, OutputHead())
    model.resize_token_embeddings(82, mean_resizing=False)
    with torch.no_grad():
        model.get_output_embeddings().weight[77:] = 3.0  # type: ignore[no-untyped-call]
    with counting(model) as calls:
        found = StateStore(folder, model, (77, 78, 79, 80, 81)).read(READINGS, OutputHead())
    assert not calls
    assert np.array_equal(found.offset, before.offset)


def test_rows_that_another_checkpoint_takes_count_again(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    """With fewer control tokens a spare row is the base's, and weighs in the logsumexp."""
    folder = tmp_path / "states"
    StateStore(folder, model, CONTROL).read(READINGS, OutputHead())
    with counting(model) as calls:
        found = StateStore(folder, model, CONTROL[:2]).read(READINGS, OutputHead())
    assert calls
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([READINGS[0].ids])).logits[0, -1]
    others = [token for token in range(80) if token not in CONTROL[:2]]
    assert found.offset[0] == pytest.approx(float(logits[others].logsumexp(dim=0)), rel=1e-5)


def test_states_of_another_model_are_removed(
    model: PreTrainedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "states"
    StateStore(folder, model, CONTROL).read(READINGS, OutputHead())
    other = model_of("llama", seed=1)
    with caplog.at_level(logging.INFO, logger="training"):
        found = StateStore(folder, other, CONTROL).read(READINGS, OutputHead())
    assert_states(other, READINGS, found)
    assert "are of another model: reading anew" in caplog.text


def test_an_interrupted_pass_goes_on(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "BATCH_TOKENS", 1)
    monkeypatch.setattr(states, "PART_ROWS", 2)
    folder = tmp_path / "states"

    def interrupt(_: object, __: object, given: dict[str, torch.Tensor]) -> None:
        if given["input_ids"].shape[1] == 1:
            raise KeyboardInterrupt

    hook = model.register_forward_pre_hook(interrupt, with_kwargs=True)
    with pytest.raises(KeyboardInterrupt):
        StateStore(folder, model, CONTROL).read(READINGS, OutputHead())
    hook.remove()
    (folder / "half").write_bytes(b"what a kill leaves")
    with counting(model) as calls:
        found = StateStore(folder, model, CONTROL).read(READINGS, OutputHead())
    # Of three prompts with one position a file of two was written, and one was not.
    assert sum(calls) == len(READINGS) - 2
    assert_states(model, READINGS, found)


def test_a_head_that_is_not_the_models_keeps_nothing(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    folder = tmp_path / "states"
    with pytest.raises(BaseError, match="are not known functions"):
        StateStore(folder, model, CONTROL).read(READINGS, OutputHead(scale=2.0))
    assert not list(folder.glob("*.safetensors"))
    gc.collect()
    output: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    assert not output._forward_pre_hooks


def test_readings_that_the_model_has_no_positions_for_are_named(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    with pytest.raises(ScoringError, match="number 2 with 64"):
        StateStore(tmp_path / "states", model, CONTROL).read(
            [READINGS[0], Reading.at_end([5] * 64)], OutputHead()
        )
