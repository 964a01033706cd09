import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from steering.tokens import ControlTokens
from tests.training.heads import ARCHITECTURES, CONTROL, model_of, model_with_bias
from training.base_source import BaseError
from training.output_head import OutputHead, check_head, head_of
from training.start import set_output_rows

HEADS = (OutputHead(), OutputHead(scale=0.25), OutputHead(cap=3.0), OutputHead(2.0, cap=5.0))


@pytest.fixture(params=ARCHITECTURES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def read(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """[n, D] what the output embeddings were given, and [n, V] what the model returned."""
    given: list[torch.Tensor] = []
    output: torch.nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    hook = output.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        logits = model(input_ids=torch.arange(3, 43)[None]).logits[0]
    hook.remove()
    return given[0][0], logits


def test_the_head_is_the_models(kind: str) -> None:
    model, (*_, head) = model_of(kind), ARCHITECTURES[kind]
    assert head_of(model) == head
    check_head(head, model, *read(model))


def test_fitted_rows_give_the_logits_that_the_head_says(kind: str) -> None:
    model = model_of(kind)
    rows = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    set_output_rows(model, ControlTokens(CONTROL[0], CONTROL[1:]), rows)
    hidden, logits = read(model)
    products = hidden.double().numpy() @ rows.double().numpy().T
    expected = head_of(model).logits(products)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(logits[:, list(CONTROL)].numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_slopes_and_inverses_are_those_of_the_function(head: OutputHead) -> None:
    products = np.linspace(-6, 6, 41)
    logits = head.logits(products)
    step = 1e-6
    expected = (head.logits(products + step) - head.logits(products - step)) / (2 * step)
    np.testing.assert_allclose(head.slope(logits) * np.ones(41), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(head.inverse(logits), products, rtol=1e-6)


def test_logits_above_the_cap_have_a_finite_inverse() -> None:
    head = OutputHead(cap=3.0)
    assert 2.9 < head.logits(head.inverse(np.array(50.0))) < 3


@pytest.mark.parametrize("wrong", [OutputHead(scale=1.1), OutputHead(cap=2.0)], ids=str)
def test_a_head_that_is_not_the_models_is_named(wrong: OutputHead) -> None:
    model = model_of("llama")
    with pytest.raises(BaseError, match=r"type 'llama', whose logits are not known functions"):
        check_head(wrong, model, *read(model))
    hidden, logits = read(model)
    with pytest.raises(BaseError, match="are not known functions"):
        check_head(OutputHead(), model, hidden, logits * torch.nan)


def test_an_output_bias_is_named_with_what_to_do() -> None:
    model = model_with_bias()
    with pytest.raises(BaseError) as caught:
        head_of(model)
    assert str(caught.value) == (
        "rows cannot be fitted for a model of type 'phi', which has a bias in its output"
        " embeddings: set model.start_rows=mean and adapter.method=full"
    )
