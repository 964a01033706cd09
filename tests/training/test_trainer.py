from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import LlamaForCausalLM, PreTrainedModel

from tests.training.fitting import Parts, fresh, metrics_of, reference_loss, train
from training import trainer
from training.collator import KEPT
from training.config import MethodsConfig, Recipe, Splits
from training.encoding import IGNORED, Encoder, Example
from training.examples import Examples, build_examples
from training.losses import OTHER, Objective, Top, divergence
from training.records import Message, Record
from training.trainer import grouping
from training.triples import TripleEncoder


@pytest.mark.parametrize("vocabulary", [2**15, 0], ids=["own loss", "TRL's loss"])
@pytest.mark.parametrize(
    ("control", "methods"),
    [
        (True, MethodsConfig()),
        (False, MethodsConfig(tokens="none", transition="word", transition_word="will")),
    ],
    ids=["refuse token", "word"],
)
def test_the_loss_of_rto_is_the_papers_formula(
    vocabulary: int,
    control: bool,
    methods: MethodsConfig,
    recipe: Recipe,
    untrained: Parts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """-sum over t of log P(refusal | q, h before t), on the logits, without labels or layouts."""
    monkeypatch.setattr(trainer, "SMALL_VOCABULARY", vocabulary)
    _, tokenizer, tokens = untrained
    triple = Record(
        (Message("user", "steal bread"), Message("assistant", "No.")), "safety", harmful="Take it."
    )
    encoder = Encoder(tokenizer, tokens if control else None, ("safety", "temporal"), 64)
    rto = TripleEncoder(encoder, methods, Random(0)).rto(triple)

    query = tokenizer.encode("<|im_start|>user\nsteal bread<|im_end|>\n<|im_start|>assistant\n")
    harmful = tokenizer.encode("Take it.<|im_end|>")
    answer = [tokens.respond, *harmful] if control else harmful
    refusal = tokens.refuse[0] if control else tokenizer.convert_tokens_to_ids("will")
    model = fresh(recipe, untrained)
    total = 0.0
    for t in range(len(answer)):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*query, *answer[:t]]])).logits[0, -1]
        total -= float(torch.log(torch.softmax(logits.double(), dim=0)[refusal]))

    train(recipe, untrained, Examples([rto], None), tmp_path, epochs=1, batch_size=1)
    # The trainer's loss is the mean over the sum's terms.
    assert metrics_of(tmp_path)[0]["loss"] == pytest.approx(total / len(answer), rel=1e-4)


def some_of_each(parts: Parts) -> list[Example]:
    """A decision alone, a refusal, two of the base's own answers, and RTO."""
    _, tokenizer, control = parts
    encoder = Encoder(tokenizer, control, ("safety", "temporal"), 64)
    refusal = Record((Message("user", "steal bread"), Message("assistant", "No, never.")), "safety")
    harmless = [Record((Message("user", text),), None) for text in ("buy bread", "did it rain")]
    return [
        encoder.encode(refusal, decision_only=True),
        encoder.encode(refusal),
        encoder.encode_base(harmless[0], [70, 71, 72], 0),
        encoder.encode_base(harmless[1], [80, 81], 3),
        TripleEncoder(encoder, MethodsConfig(), Random(0)).rto(
            replace(refusal, harmful="Take it. Run.")
        ),
    ]


def objective_of(parts: Parts, weight: float) -> Objective:
    draw = torch.Generator().manual_seed(0)
    top = torch.randn(5, min(parts[2].ids), generator=draw).log_softmax(dim=1).topk(8, dim=1)
    return Objective(parts[2].ids, weight, 0.5, Top(top.indices, top.values))


def by_hand(model: PreTrainedModel, examples: list[Example], objective: Objective) -> torch.Tensor:
    """The loss of the module's text, label by label, on sequences by themselves."""
    sums: dict[str, list[torch.Tensor]] = {"decisions": [], "answers": [], "kept": []}
    for example in examples:
        logits = model(input_ids=torch.tensor([example.input_ids])).logits[0]
        before = IGNORED
        for place, label in enumerate(example.labels):
            if label != IGNORED:
                first = label in objective.control and before not in objective.control
                kind = "decisions" if first and objective.decision_weight else "answers"
                sums[kind].append(-logits[place - 1].log_softmax(dim=0)[label])
            before = label
            if example.kept is not None and example.kept[place] != OTHER:
                assert objective.top is not None
                masked = logits[place - 1].clone()
                masked[list(objective.control)] = -torch.inf
                at = slice(example.kept[place], example.kept[place] + 1)
                top = objective.top
                sums["kept"].append(divergence(masked[None], top.ids[at], top.logprobs[at])[0])
    means = {kind: torch.stack(found).mean() for kind, found in sums.items() if found}
    loss = means["answers"] + objective.keep_base * means["kept"]
    return loss + objective.decision_weight * means.get("decisions", torch.tensor(0.0))


@pytest.mark.parametrize("weight", [2.0, 0.0])
@pytest.mark.parametrize(("batch", "accumulation"), [(5, 1), (2, 3), (1, 5)])
def test_a_step_is_the_objectives_however_it_is_shared_out(
    batch: int, accumulation: int, weight: float, recipe: Recipe, untrained: Parts, tmp_path: Path
) -> None:
    examples, objective = some_of_each(untrained), objective_of(untrained, weight)
    plain = fresh(recipe, untrained)
    expected = by_hand(plain, examples, objective)
    expected.backward()  # type: ignore[no-untyped-call]
    gradients = {name: each.grad for name, each in plain.named_parameters()}
    norm = torch.stack([each.norm() for each in gradients.values() if each is not None]).norm()
    trained = train(
        recipe,
        untrained,
        Examples(examples, None),
        tmp_path,
        objective=objective,
        epochs=1,
        batch_size=batch,
        gradient_accumulation=accumulation,
        schedule="constant",
        warmup=0.0,
    )
    (line,) = (line for line in metrics_of(tmp_path) if "loss" in line)
    assert line["loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert line["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=recipe.sft.learning_rate, weight_decay=0)
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
    optimizer.step()
    for name, weights in plain.named_parameters():
        torch.testing.assert_close(trained.get_parameter(name), weights, rtol=1e-3, atol=1e-4)


def test_a_step_of_decisions_alone_has_their_mean(
    recipe: Recipe, untrained: Parts, tmp_path: Path
) -> None:
    examples = some_of_each(untrained)[:1]
    objective = objective_of(untrained, 1.0)
    train(
        recipe,
        untrained,
        Examples(examples, None),
        tmp_path,
        objective=objective,
        epochs=1,
        batch_size=1,
    )
    expected = reference_loss(fresh(recipe, untrained), examples)
    assert metrics_of(tmp_path)[0]["loss"] == pytest.approx(expected, rel=1e-4)


def test_places_of_the_bases_answers_are_no_input_of_a_model(
    recipe: Recipe, untrained: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    forward = LlamaForCausalLM.forward

    def watched(model: LlamaForCausalLM, **given: Any) -> Any:
        seen.update(given)
        return forward(model, **given)

    monkeypatch.setattr(LlamaForCausalLM, "forward", watched)
    examples = some_of_each(untrained)
    for name, objective in (("plain", None), ("objective", objective_of(untrained, 1.0))):
        folder = tmp_path / name
        folder.mkdir()
        train(recipe, untrained, Examples(examples, None), folder, objective=objective, epochs=1)
    assert "input_ids" in seen
    assert KEPT not in seen


def test_decisions_and_answers_are_batched_apart() -> None:
    ignored = [IGNORED, IGNORED]
    data = Dataset.from_dict(
        {
            "input_ids": [[1, 2, 9], [1, 2, 9, 4], [1] * 7 + [9]],
            "labels": [[*ignored, 9], [*ignored, 9, 4], [IGNORED] * 7 + [9]],
        }
    )
    order = sorted(range(3), key=grouping(data).__getitem__)
    assert order == [0, 2, 1]


def held_out_examples(recipe: Recipe, untrained: Parts, splits: Splits) -> Examples:
    sft_config = recipe.sft.model_copy(update={"eval_share": 0.2})
    return build_examples(recipe.model_copy(update={"sft": sft_config}), splits, untrained[1])


def test_held_out_examples_are_measured_by_kind(
    recipe: Recipe, untrained: Parts, with_triples: Splits, tmp_path: Path
) -> None:
    examples = held_out_examples(recipe, untrained, with_triples)
    assert examples.held_out is not None
    model = train(recipe, untrained, examples, tmp_path, epochs=3, eval_share=0.2, eval_every=10)
    measured = [line for line in metrics_of(tmp_path) if "eval_loss" in line]
    last = max(line["step"] for line in metrics_of(tmp_path))
    assert [line["step"] for line in measured] == [*range(10, last, 10), last]
    kinds = {"refusal", "contrast", "answer", "prefix", "rto"}
    assert {f"eval_loss_{kind}" for kind in kinds} < set(measured[-1])
    # What was measured last is what the finished model gives, one example at a time.
    for kind, held in examples.held_out.by_kind.items():
        expected = reference_loss(model, held)
        assert measured[-1][f"eval_loss_{kind}"] == pytest.approx(expected, rel=1e-3)
    everything = [example for held in examples.held_out.by_kind.values() for example in held]
    assert measured[-1]["eval_loss"] == pytest.approx(reference_loss(model, everything), rel=1e-3)
    assert measured[-1]["eval_loss"] < measured[0]["eval_loss"]
    for name in ("control_token_accuracy", "auc", "auc_safety", "auc_temporal"):
        assert 0 <= measured[-1][f"eval_{name}"] <= 1


def test_measuring_does_not_change_the_training(
    recipe: Recipe, untrained: Parts, with_triples: Splits, tmp_path: Path
) -> None:
    examples = held_out_examples(recipe, untrained, with_triples)
    losses = []
    for name, held_out in [("measured", examples.held_out), ("not", None)]:
        (tmp_path / name).mkdir()
        train(recipe, untrained, Examples(examples.train, held_out), tmp_path / name, epochs=1)
        losses.append([line["loss"] for line in metrics_of(tmp_path / name) if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_training_stops_early_and_goes_back_to_the_best_save(
    recipe: Recipe, untrained: Parts, with_triples: Splits, tmp_path: Path
) -> None:
    examples = held_out_examples(recipe, untrained, with_triples)
    assert examples.held_out is not None
    changes: dict[str, Any] = {
        "epochs": 40,
        "save_every": 10,
        "eval_share": 0.2,
        "early_stopping": 2,
    }
    model = train(recipe, untrained, examples, tmp_path, **changes)
    measured = [line for line in metrics_of(tmp_path) if "eval_loss" in line]
    losses = [line["eval_loss"] for line in measured]
    assert measured[-1]["step"] < 40 * len(examples.train) // recipe.sft.batch_size
    assert losses.index(min(losses)) == len(losses) - 3
    everything = [example for held in examples.held_out.by_kind.values() for example in held]
    assert reference_loss(model, everything) == pytest.approx(min(losses), rel=1e-3)
    # Killed right after its end, it does not train on.
    again = train(recipe, untrained, examples, tmp_path, **changes)
    assert reference_loss(again, everything) == pytest.approx(min(losses), rel=1e-3)
    assert [line for line in metrics_of(tmp_path) if "eval_loss" in line] == measured
