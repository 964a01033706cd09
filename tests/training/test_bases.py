from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from steering.manifest import Manifest
from tests.families import ENDS, FAMILIES, TEMPLATE, base_config, write_base
from training.base_source import BaseError
from training.bases import load_base, load_tokenizer, outline
from training.config import BaseConfig
from training.family_templates import TEMPLATES
from training.records import Message, Prompt
from training.rendering import answer_of, render

ASKED = Prompt((Message("system", "Be brief."), Message("user", "How old is Rome?")))


def followed(conversation: Prompt, role: str, content: str) -> Prompt:
    return Prompt((*conversation.messages, Message(role, content)))


ANSWERED = followed(ASKED, "assistant", "Old.")

OWN = (
    "{% for m in messages %}{{ '<|im_start|>' if m.role == 'assistant' }}{{ m.content }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_base_without_a_template_gets_its_familys(family: str, tmp_path: Path) -> None:
    config = base_config(write_base(tmp_path / "base", family), family)
    tokenizer = load_tokenizer(config)
    prompt = render(tokenizer, ASKED)
    assert "Be brief." in prompt
    assert "How old is Rome?" in prompt
    answer = answer_of(tokenizer, prompt, ANSWERED).body
    assert tokenizer.decode(answer) == f"Old.{TEMPLATES[TEMPLATE[family]].turn_end}"
    assert answer[-1] == tokenizer.eos_token_id
    assert tokenizer.pad_token is not None
    begin = ENDS[family].get("bos_token", "")
    assert prompt.startswith(begin)
    assert not begin or prompt.count(begin) == 1


def test_several_turns_are_the_beginning_of_more(family: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base_config(write_base(tmp_path / "base", family), family))
    more = followed(ANSWERED, "user", "How old?")
    prompt = render(tokenizer, more)
    assert prompt.startswith(render(tokenizer, ANSWERED, answered=True))
    answer = answer_of(tokenizer, prompt, followed(more, "assistant", "Very."))
    assert tokenizer.decode(answer.body) == f"Very.{tokenizer.eos_token}"


def test_weights_and_outline_agree(family: str, tied: bool, tmp_path: Path) -> None:
    config = base_config(write_base(tmp_path / "base", family, tied=tied), family)
    model, sizes = load_base(config), outline(config)
    assert type(model) is type(sizes)
    assert model.num_parameters() == sizes.num_parameters()
    assert {weight.device.type for weight in sizes.parameters()} == {"meta"}
    assert model.dtype == torch.float32
    half = config.model_copy(update={"dtype": "bfloat16"})
    assert load_base(half).dtype == torch.bfloat16


def test_a_base_that_was_cut_off_is_named(tmp_path: Path) -> None:
    config = base_config(write_base(tmp_path / "base", FAMILIES[0]), FAMILIES[0])
    weights = tmp_path / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BaseError, match=r"model.base .*/base': .*incomplete metadata"):
        load_base(config)


def test_a_base_that_lacks_weights_is_named(tmp_path: Path) -> None:
    config = base_config(write_base(tmp_path / "base", FAMILIES[0]), FAMILIES[0])
    path = tmp_path / "base" / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"], weights["model.norm.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(BaseError, match=r"lacks 2 of its weights: model\.layers\.1\.mlp"):
        load_base(config)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"base": "nowhere/at-all"}, "model.base 'nowhere/at-all': "),
        ({"template": "own"}, "has no chat template: set model.template to one of chatml, gemma"),
        ({"template": "lama3"}, "model.template 'lama3' is no file that can be read"),
        ({"template": "chatml"}, r"'<\|im_end\|>', which is to end a turn, is \d+ tokens"),
    ],
)
def test_bases_that_do_not_fit(
    changes: dict[str, str], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = base_config(write_base(tmp_path / "base", "llama"), "llama")
    with pytest.raises(BaseError, match=fault):
        load_tokenizer(config.model_copy(update=changes))


@pytest.mark.parametrize("turn_end", ["", "<|im_end|>"])
def test_a_template_of_ones_own_says_what_ends_the_turn(turn_end: str, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", "qwen")
    template = tmp_path / "template.jinja"
    template.write_text(OWN)
    tokenizer = load_tokenizer(
        BaseConfig(base=str(base), template=str(template), turn_end=turn_end)
    )
    assert tokenizer.eos_token == "<|im_end|>"


def test_every_familys_generation_prompt_is_what_is_added(family: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base_config(write_base(tmp_path / "base", family), family))
    closed, opened = render(tokenizer, ASKED, answered=True), render(tokenizer, ASKED)
    assert opened.startswith(closed)
    assert opened != closed
    ids, added = (tokenizer.encode(text) for text in (opened, opened.removeprefix(closed)))
    assert ids[-len(added) :] == added


def test_mistrals_template_writes_what_mistrals_own_does(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(base_config(write_base(tmp_path / "base", "mistral"), "mistral"))
    assert render(tokenizer, followed(ANSWERED, "user", "So?")) == (
        "<s>[INST] Be brief.\n\nHow old is Rome? [/INST]Old.</s>[INST] So? [/INST]"
    )


def test_a_template_without_a_generation_prompt_cannot_be_served(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}")
    base = write_base(tmp_path / "base", "qwen")
    with pytest.raises(BaseError, match=r"adds no generation prompt behind the last message"):
        load_tokenizer(BaseConfig(base=str(base), template=str(template)))


def test_a_template_of_ones_own_must_end_the_turn(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", "qwen")
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}\n{% endfor %}")
    with pytest.raises(BaseError, match=r"ends an answer neither with '<\|endoftext\|>'"):
        load_tokenizer(BaseConfig(base=str(base), template=str(template)))


def test_a_broken_template_is_told(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}")
    base = write_base(tmp_path / "base", "qwen")
    with pytest.raises(BaseError, match="do not fit the tokenizer"):
        load_tokenizer(BaseConfig(base=str(base), template=str(template)))


def test_no_template_writes_a_control_token(manifest: Manifest) -> None:
    for template in TEMPLATES.values():
        assert not any(token in template.jinja for token in manifest.tokens)
