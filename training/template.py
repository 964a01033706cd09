r"""The chat template of checkpoints that Demur makes from scratch (ChatML).

A turn is `<|im_start|>role\ncontent<|im_end|>\n`; a prompt ends in `<|im_start|>assistant\n`,
where the model goes on with a control token. The template itself never writes one.
"""

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
"""Ends a turn; as the model's end-of-sequence token it ends generation."""
PADDING = "<|endoftext|>"
SPECIAL_TOKENS = (PADDING, TURN_START, TURN_END)
GENERATION_PROMPT = f"{TURN_START}assistant\n"

CHAT_TEMPLATE = """\
{%- set first = messages[0] if messages else none %}
{%- set opening = first.content if first and first.role == 'system' else none %}
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if opening %}{{- opening + '\\n\\n' }}{%- endif %}
    {{- 'Tools, one in JSON per line:' }}
    {%- for tool in tools %}{{- '\\n' + tool | tojson }}{%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant', 'tool'] %}
        {{- raise_exception('role ' ~ message.role ~ ': none of system, user, assistant, tool') }}
    {%- endif %}
    {%- if not (loop.first and tools and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n' if message.content or not loop.first }}
            {{- (call.function or call) | tojson }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
