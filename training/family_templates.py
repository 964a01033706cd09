"""Chat templates of model families, for base models, whose tokenizers often have none.

Each is written for the special tokens that the family's base vocabulary holds already. A prompt
rendered with the generation prompt is the beginning of the rendered conversation, and none of them
writes a control token.
"""

from dataclasses import dataclass
from string import Template

from training.template import CHAT_TEMPLATE, TURN_END, chatml


@dataclass(frozen=True)
class ChatTemplate:
    """How a family writes a conversation."""

    jinja: str
    turn_end: str
    """The token that ends an answer: the checkpoint's end-of-sequence token."""


_LLAMA3 = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
    {{- message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

_WITHOUT_SYSTEM = """\
{{- bos_token }}
{%- set state = namespace(system='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set state.system = message.content + '\\n\\n' %}
    {%- elif message.role == 'user' %}
        {{- $user }}
        {%- set state.system = '' %}
    {%- elif message.role == 'assistant' %}
        {{- $assistant }}
    {%- else %}
        {{- raise_exception('role ' ~ message.role ~ ': none of system, user, assistant') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- $opening }}{%- endif %}"""
"""For families without a system turn: that prompt stands before the first question."""


def _without_system(user: str, assistant: str, opening: str) -> str:
    """The template whose turns, and generation prompt, these Jinja expressions write."""
    return Template(_WITHOUT_SYSTEM).substitute(user=user, assistant=assistant, opening=opening)


# Mistral's own template writes [/INST] behind every user's turn. As a generation prompt the server
# can tell by it where an answer begins. The spaces are not quite those of Mistral's versions, which
# differ among themselves: `[INST] question[/INST] answer</s>` in 0.3.
_MISTRAL = _without_system(
    user="'[INST] ' + state.system + message.content + ' '",
    assistant="'[/INST]' + message.content + eos_token",
    opening="'[/INST]'",
)
_GEMMA = _without_system(
    user="'<start_of_turn>user\\n' + state.system + message.content | trim + '<end_of_turn>\\n'",
    assistant="'<start_of_turn>model\\n' + message.content | trim + '<end_of_turn>\\n'",
    opening="'<start_of_turn>model\\n'",
)

_SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

TEMPLATES = {
    "chatml": ChatTemplate(CHAT_TEMPLATE, TURN_END),
    "gemma": ChatTemplate(_GEMMA, "<end_of_turn>"),
    "llama3": ChatTemplate(_LLAMA3, "<|eot_id|>"),
    "mistral": ChatTemplate(_MISTRAL, "</s>"),
    "smollm2": ChatTemplate(chatml(_SMOLLM2_SYSTEM), TURN_END),
}
