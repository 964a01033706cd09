import json
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.manifest import Manifest
from steering.tokens import ControlTokens
from training.family_templates import TEMPLATES
from training.template import CHAT_TEMPLATE, GENERATION_PROMPT

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {}}}
CALLS = [{"id": "1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]


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


def test_calls_without_tools_are_plain_json(tokenizer: PreTrainedTokenizerFast) -> None:
    text = render(tokenizer, turn("user", "Time?"), turn("assistant", None, tool_calls=CALLS * 2))
    call = '{"name": "clock", "arguments": "{}"}'
    assert f"<|im_start|>assistant\n{call}\n{call}<|im_end|>\n" in text
    with_text = render(
        tokenizer, turn("user", "Time?"), turn("assistant", "Wait.", tool_calls=CALLS)
    )
    assert f"<|im_start|>assistant\nWait.\n{call}<|im_end|>\n" in with_text


def test_tools_are_listed_in_the_system_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    listed = (
        f"# Tools\n\n<tools>\n{json.dumps(TOOL)}\n{json.dumps(TOOL)}\n</tools>\n\n"
        "To call a tool, answer with\n"
        '<tool_call>\n{"name": ..., "arguments": ...}\n</tool_call><|im_end|>\n'
    )
    tools = [TOOL, TOOL]
    alone = render(tokenizer, turn("user", "Time?"), tools=tools)
    assert alone.startswith(f"<|im_start|>system\n{listed}<|im_start|>user\nTime?")
    joined = render(tokenizer, turn("system", "Be brief."), turn("user", "Time?"), tools=tools)
    assert joined.startswith(f"<|im_start|>system\nBe brief.\n\n{listed}<|im_start|>user\nTime?")
    assert joined.count("Be brief.") == 1


@pytest.mark.parametrize("arguments", ['{"city": "Ålesund"}', {"city": "Ålesund"}])
@pytest.mark.parametrize("content", [None, "Wait."])
def test_calls_are_written_as_vllms_hermes_parser_reads_them(
    tokenizer: PreTrainedTokenizerFast, arguments: object, content: str | None
) -> None:
    call = {"type": "function", "function": {"name": "clock", "arguments": arguments}}
    text = render(
        tokenizer,
        turn("user", "Time?"),
        turn("assistant", content, tool_calls=[call] * 2),
        tools=[TOOL],
        add_generation_prompt=False,
    )
    spelled = text.partition(GENERATION_PROMPT)[2].removesuffix("<|im_end|>\n")
    # tests/e2e/test_shapes.py has an answer of this kind read.
    one = '<tool_call>\n{"name": "clock", "arguments": {"city": "Ålesund"}}\n</tool_call>'
    assert spelled == "\n".join([*([content] if content else []), one, one])


def test_results_of_tools_share_a_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = turn("user", "Time?"), turn("assistant", None, tool_calls=CALLS)
    results = turn("tool", "12:00"), turn("tool", "13:00")
    text = render(tokenizer, *turns, *results, turn("user", "So?"), tools=[TOOL])
    assert text.endswith(
        "<|im_start|>user\n"
        "<tool_response>\n12:00\n</tool_response>\n"
        "<tool_response>\n13:00\n</tool_response><|im_end|>\n"
        f"<|im_start|>user\nSo?<|im_end|>\n{GENERATION_PROMPT}"
    )
    last = render(tokenizer, *turns, *results, tools=[TOOL])
    assert text.startswith(last.removesuffix(GENERATION_PROMPT))


SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] +"
    " '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n'"
    " }}{% endif %}"
)
"""The model's own template."""


@pytest.mark.parametrize(
    "roles", ["s", "u", "su", "sua", "uau", "uatt", "sus", "a", "t"], ids=lambda roles: roles
)
@pytest.mark.parametrize("opened", [True, False])
def test_smollm2s_turns_are_its_own_templates(
    tokenizer: PreTrainedTokenizerFast, roles: str, opened: bool
) -> None:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    turns = [turn(names[role], f" {role}\n'\"{{}}") for role in roles]
    texts = [
        render(tokenizer, *turns, add_generation_prompt=opened, chat_template=template)
        for template in (SMOLLM2, TEMPLATES["smollm2"].jinja)
    ]
    assert texts[0] == texts[1]


def test_smollm2_lists_tools_after_its_system_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = TEMPLATES["smollm2"].jinja
    alone = render(tokenizer, turn("user", "Time?"), tools=[TOOL])
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert alone.startswith(f"<|im_start|>system\n{system}\n\n# Tools\n\n<tools>\n")
    given = render(tokenizer, turn("system", "Be brief."), turn("user", "Time?"), tools=[TOOL])
    assert given == alone.replace(system, "Be brief.")


def test_other_roles_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(TemplateError, match="role critic: none of system, user"):
        render(tokenizer, turn("critic", "Hello"))


def test_the_template_writes_no_control_token(manifest: Manifest) -> None:
    assert not any(token in CHAT_TEMPLATE for token in manifest.tokens)
