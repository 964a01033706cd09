"""YAML whose errors can name their line."""

from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]


class YamlError(ValueError):
    """Text that is not plain YAML; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Lines:
    """Where each key and item of a document stands."""

    _lines: dict[Path, int] = field(default_factory=dict)

    def note(self, path: Path, node: yaml.Node) -> None:
        """Remember that `path` stands where `node` does."""
        self._lines[path] = _line(node.start_mark)

    def of(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that the document has."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


def load(text: str) -> tuple[Any, Lines]:
    """Parse one YAML document; also say where everything in it stands.

    Raises YamlError for what YAML or its safe tags do not allow, and for what configuration should
    not have: a key twice, a key that is no text, anchors and aliases.
    """
    lines = Lines()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise YamlError(_line(event.start_mark), "anchors and aliases are not allowed")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return (None if node is None else _value(node, (), lines)), lines
    except yaml.MarkedYAMLError as error:
        raise YamlError(
            _line(error.problem_mark or error.context_mark), str(error.problem)
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(1, str(error)) from error


def _value(node: yaml.Node, path: Path, lines: Lines) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines.note((*path, index), item)
            items.append(_value(item, (*path, index), lines))
        return items
    return yaml.SafeLoader("").construct_object(node)


def _mapping(node: yaml.MappingNode, path: Path, lines: Lines) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = _line(key_node.start_mark)
        key = key_node.value
        if key_node.tag != "tag:yaml.org,2002:str":
            raise YamlError(line, f"the key {key!r} is not text: put it in quotes")
        if key in mapping:
            raise YamlError(line, f"the key {key!r} stands here twice")
        lines.note((*path, key), key_node)
        mapping[key] = _value(value_node, (*path, key), lines)
    return mapping


def _line(mark: Any) -> int:
    """From 1; where YAML gives no mark, the first."""
    return 1 if mark is None else int(mark.line) + 1
