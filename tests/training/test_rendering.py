from dataclasses import replace

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from steering.tokens import ControlTokens
from training.encoding import IGNORED, Encoder
from training.records import Message, Prompt, Record
from training.rendering import EncodingError, answer_of, end_of_turn, render
from training.template import CHAT_TEMPLATE

Parts = tuple[LlamaForCausalLM, PreTrainedTokenizerFast, ControlTokens]

# In the manner of Qwen3: finished turns hold their thinking, or an empty thinking part.
WRITES_THINKING = CHAT_TEMPLATE.replace(
    "(message.content or '') }}",
    "('<think>\\n' + message.reasoning_content | default('') + '\\n</think>\\n\\n' if message.role"
    " == 'assistant' and loop.last else '') + message.content }}",
)
# In the manner of DeepSeek-R1: a prompt opens the thinking, finished turns are without.
OPENS_THINKING = CHAT_TEMPLATE.replace(
    "{{- '<|im_start|>assistant\\n' }}", "{{- '<|im_start|>assistant\\n<think>\\n' }}"
)
PROMPT = Prompt.asking("did Oslo")


@pytest.fixture
def tokenizer(untrained: Parts) -> PreTrainedTokenizerFast:
    return untrained[1]


@pytest.fixture
def encoder(untrained: Parts) -> Encoder:
    return Encoder(untrained[1], untrained[2], ("safety", "temporal"), 128)


def answered(content: str, thinking: str | None = None) -> Prompt:
    return Prompt((*PROMPT.messages, Message("assistant", content, thinking)))


def learnt(encoder: Encoder, answer: Message) -> str:
    example = encoder.encode(Record((*PROMPT.messages, answer), None))
    text = encoder.tokenizer.decode([label for label in example.labels if label != IGNORED])
    return str(text)


@pytest.mark.parametrize("content", ["Yes.", "think", "d", "im_end"])
def test_a_template_without_a_thinking_part_has_no_lead(
    tokenizer: PreTrainedTokenizerFast, content: str
) -> None:
    prompt = render(tokenizer, PROMPT)
    answer = answer_of(tokenizer, prompt, answered(content))
    assert answer.lead == []
    assert tokenizer.decode(answer.body) == f"{content}<|im_end|>"


@pytest.mark.parametrize("content", ["Yes.", "think", "  padded"])
@pytest.mark.parametrize("thinking", [None, "Yes. Oslo it is."])
def test_the_control_token_stands_before_the_thinking(
    encoder: Encoder, content: str, thinking: str | None
) -> None:
    encoder.tokenizer.chat_template = WRITES_THINKING
    found = learnt(encoder, Message("assistant", content, thinking))
    assert found == f"<|respond|><think>\n{thinking or ''}\n</think>\n\n{content}<|im_end|>"


def test_the_lead_is_the_thinking_part_and_the_body_the_text(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = WRITES_THINKING
    for thinking in (None, "a b"):
        answer = answer_of(tokenizer, render(tokenizer, PROMPT), answered("think", thinking))
        assert tokenizer.decode(answer.lead) == f"<think>\n{thinking or ''}\n</think>\n\n"
        assert tokenizer.decode(answer.body) == "think<|im_end|>"


def test_a_thinking_part_that_the_prompt_opens_is_closed(encoder: Encoder) -> None:
    encoder.tokenizer.chat_template = OPENS_THINKING
    assert render(encoder.tokenizer, PROMPT).endswith("<think>\n")
    assert (
        learnt(encoder, Message("assistant", "Yes.")) == "<|respond|>\n</think>\n\nYes.<|im_end|>"
    )
    assert learnt(encoder, Message("assistant", "Yes.", "It did.")) == (
        "<|respond|>It did.\n</think>\n\nYes.<|im_end|>"
    )


def test_thinking_that_the_template_drops_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(EncodingError, match="leaves out the thinking"):
        learnt(encoder, Message("assistant", "Yes.", "It did."))


def test_earlier_turns_and_system_prompts_are_part_of_the_prompt(encoder: Encoder) -> None:
    encoder.tokenizer.chat_template = WRITES_THINKING
    turns = [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c")]
    record = Record((*(Message(*turn) for turn in turns), Message("assistant", "d")), "temporal")
    text = str(encoder.tokenizer.decode(encoder.encode(record).input_ids))
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>")
    assert text.endswith("assistant\n<|refuse:temporal|><think>\n\n</think>\n\nd<|im_end|>")
    assert text.count("<|refuse:temporal|>") == 1


def test_a_template_that_refuses_system_prompts_says_so(encoder: Encoder) -> None:
    encoder.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    with pytest.raises(EncodingError, match="of the roles system, user: no system role"):
        render(encoder.tokenizer, Prompt((Message("system", "s"), Message("user", "u"))))


def test_tools_are_rendered_and_are_no_part_of_the_answer(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tool = {"function": {"parameters": {"b": 1, "a": 2}, "name": "clock"}, "type": "function"}
    asked = replace(PROMPT, tools=(tool,))
    prompt = render(tokenizer, asked)
    # As vLLM hands it to the template (tests/test_vllm_pieces.py).
    assert '"name": "clock", "description": null, "parameters": {"b": 1, "a": 2}}' in prompt
    assert prompt.endswith(render(tokenizer, PROMPT))
    answer = answer_of(tokenizer, prompt, replace(answered("Yes."), tools=(tool,)))
    assert tokenizer.decode(answer.body) == "Yes.<|im_end|>"


def test_the_end_of_turn_is_the_templates_own(tokenizer: PreTrainedTokenizerFast) -> None:
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id
    # As with Gemma, whose turns do not end in its end-of-sequence token.
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.add_special_tokens(
        {"extra_special_tokens": ["<|im_end|>"]}, replace_extra_special_tokens=False
    )
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
