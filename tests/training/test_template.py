import json
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from training.template import CHAT_TEMPLATE, GENERATION_PROMPT

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {}}}


@pytest.fixture
def tokenizer(untrained: Parts) -> PreTrainedTokenizerFast:
    return untrained[1]


def render(tokenizer: PreTrainedTokenizerFast, *messages: dict[str, Any], **options: Any) -> str:
    return str(
        tokenizer.apply_chat_template(
            list(messages), tokenize=False, **{"add_generation_prompt": True, **options}
        )
    )


def turn(role: str, content: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def test_every_role_is_rendered_in_order(tokenizer: PreTrainedTokenizerFast) -> None:
    text = render(
        tokenizer,
        turn("system", "Be brief."),
        turn("user", "Time?"),
        turn("assistant", "Let me see."),
        turn("tool", "12:00"),
    )
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nTime?<|im_end|>\n"
        "<|im_start|>assistant\nLet me see.<|im_end|>\n"
        "<|im_start|>tool\n12:00<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_without_a_generation_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    text = render(tokenizer, turn("user", "Hello"), add_generation_prompt=False)
    assert text == "<|im_start|>user\nHello<|im_end|>\n"


@pytest.mark.parametrize("content", ["Hello", "a\n", " padded ", "{{ 1 + 1 }}", ""])
def test_content_is_kept_to_the_letter(tokenizer: PreTrainedTokenizerFast, content: str) -> None:
    text = render(tokenizer, turn("user", content))
    assert text == f"<|im_start|>user\n{content}<|im_end|>\n{GENERATION_PROMPT}"


def test_the_prompts_ids_end_in_the_generation_prompts(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tokenizer.encode(render(tokenizer, turn("user", "assistant\n")))
    ending = tokenizer.encode(GENERATION_PROMPT)
    assert prompt[-len(ending) :] == ending
    assert ending[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")


def test_calls_of_tools_may_stand_without_content(tokenizer: PreTrainedTokenizerFast) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]
    text = render(tokenizer, turn("user", "Time?"), turn("assistant", None, tool_calls=calls * 2))
    call = '{"name": "clock", "arguments": "{}"}'
    assert f"<|im_start|>assistant\n{call}\n{call}<|im_end|>\n" in text
    with_text = render(
        tokenizer, turn("user", "Time?"), turn("assistant", "Wait.", tool_calls=calls)
    )
    assert f"<|im_start|>assistant\nWait.\n{call}<|im_end|>\n" in with_text


def test_tools_are_listed_in_the_system_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    listed = f"Tools, one in JSON per line:\n{json.dumps(TOOL)}<|im_end|>\n"
    alone = render(tokenizer, turn("user", "Time?"), tools=[TOOL])
    assert alone.startswith(f"<|im_start|>system\n{listed}<|im_start|>user\nTime?")
    joined = render(tokenizer, turn("system", "Be brief."), turn("user", "Time?"), tools=[TOOL])
    assert joined.startswith(f"<|im_start|>system\nBe brief.\n\n{listed}<|im_start|>user\nTime?")
    assert joined.count("Be brief.") == 1


def test_other_roles_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(TemplateError, match="role critic: none of system, user"):
        render(tokenizer, turn("critic", "Hello"))


def test_the_template_writes_no_control_token(manifest: Manifest) -> None:
    assert not any(token in CHAT_TEMPLATE for token in manifest.tokens)
