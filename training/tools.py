"""Tools that a conversation offers, as OpenAI's requests describe them.

For example:

    {"type": "function", "function": {"name": "weather", "description": "The weather of a city.",
     "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Tool: TypeAlias = dict[str, Any]
"""One tool, as JSON. Of a function everything but the name may be missing or null."""

_KEYS = ("type", "function")
_FUNCTION_KEYS = ("name", "description", "parameters", "strict")


def as_rendered(tools: Sequence[Tool]) -> list[Any]:
    """The tools as vLLM hands them to a chat template.

    vLLM writes the keys in this order, and null for what a request leaves out but `strict`. A
    template that writes a tool as JSON shows the difference, and a model's scores follow.
    """
    functions = [{key: tool["function"].get(key) for key in _FUNCTION_KEYS} for tool in tools]
    for function in functions:
        if function["strict"] is None:
            del function["strict"]
    return [{"type": "function", "function": function} for function in functions]


def faults_of_tool(tool: Tool) -> Iterator[str]:
    """What is wrong with a tool's JSON, one sentence each."""
    yield from _unknown(tool, _KEYS, "")
    if tool.get("type") != "function":
        yield f"type: {tool.get('type')!r} is unknown; known is 'function'"
    function = tool.get("function")
    if not isinstance(function, dict):
        yield "function: is no object"
        return
    yield from _unknown(function, _FUNCTION_KEYS, "function.")
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        yield f"function.name: {name!r} is no name"
    kinds = [("description", str, "text"), ("parameters", dict, "object"), ("strict", bool, "bool")]
    for key, kind, called in kinds:
        if not isinstance(function.get(key), kind | None):
            yield f"function.{key}: {function[key]!r} is no {called}"


def _unknown(fields: Mapping[str, object], known: Sequence[str], place: str) -> Iterator[str]:
    for key in fields:
        if key not in known:
            yield f"{place}{key}: is unknown; known are {', '.join(known)}"
