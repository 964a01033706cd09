r"""The chat template of checkpoints that Demur makes from scratch (ChatML).

A turn is `<|im_start|>role\ncontent<|im_end|>\n`; a prompt ends in `<|im_start|>assistant\n`,
where the model goes on with a control token. The template itself never writes one.

Tools are listed in the system turn, and calls and results written, in the format of Hermes and
Qwen, which vLLM's tool parser `hermes` reads. A conversation without `tools` is plain ChatML.
"""

import json
from string import Template

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
"""Ends a turn; as the model's end-of-sequence token it ends generation."""
PADDING = "<|endoftext|>"
SPECIAL_TOKENS = (PADDING, TURN_START, TURN_END)
GENERATION_PROMPT = f"{TURN_START}assistant\n"

TOOLS_START = "# Tools\n\n<tools>"
TOOLS_END = """
</tools>

To call a tool, answer with
<tool_call>
{"name": ..., "arguments": ...}
</tool_call>"""

_CHATML = """\
{%- set instructed = messages and messages[0].role == 'system' %}
{%- set opening = messages[0].content if instructed else $system %}
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if opening %}{{- opening + '\\n\\n' }}{%- endif %}
    {{- $start }}
    {%- for tool in tools %}{{- '\\n' + tool | tojson }}{%- endfor %}
    {{- $end + '<|im_end|>\\n' }}
{%- elif messages and opening and not instructed %}
    {{- '<|im_start|>system\\n' + opening + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant', 'tool'] %}
        {{- raise_exception('role ' ~ message.role ~ ': none of system, user, assistant, tool') }}
    {%- endif %}
    {%- if tools and message.role == 'tool' %}
        {{- '<|im_start|>user' if loop.first or loop.previtem.role != 'tool' }}
        {{- '\\n<tool_response>\\n' + (message.content or '') + '\\n</tool_response>' }}
        {{- '<|im_end|>\\n' if loop.last or loop.nextitem.role != 'tool' }}
    {%- elif not (loop.first and tools and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
        {%- for call in message.tool_calls or [] %}
            {%- set function = call.function or call %}
            {{- '\\n' if message.content or not loop.first }}
            {%- if tools %}
                {{- '<tool_call>\\n{"name": ' + function.name | tojson + ', "arguments": ' }}
                {%- set given = function.arguments %}
                {{- (given if given is string else given | tojson) + '}\\n</tool_call>' }}
            {%- else %}
                {{- function | tojson }}
            {%- endif %}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


def chatml(system: str = "") -> str:
    """The ChatML template; `system` is what conversations without a system turn begin with."""
    # JSON's strings are Jinja's, too.
    literals = {"system": system, "start": TOOLS_START, "end": TOOLS_END}
    return Template(_CHATML).substitute({key: json.dumps(text) for key, text in literals.items()})


CHAT_TEMPLATE = chatml()
