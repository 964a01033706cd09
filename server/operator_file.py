"""Files in YAML that an operator writes: checked whole, and read again while the server runs."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError
from vllm.logger import init_logger

from server.yaml_lines import Lines, YamlError, load

Content = TypeVar("Content")
Model = TypeVar("Model", bound=BaseModel)

logger = init_logger("vllm.demur.operator_file")


class OperatorFileError(ValueError):
    """A file of the operator's cannot be used; the message has a line for each fault."""


def read(path: Path, model: type[Model]) -> tuple[Model, Lines]:
    """The file's content, and where everything in it stands.

    Raises OperatorFileError with every fault; an empty file is an empty map.
    """
    try:
        document, lines = load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorFileError(f"{path} cannot be read: {error}") from error
    except YamlError as error:
        raise OperatorFileError(f"{path}, line {error.line}: {error}") from error
    try:
        return model.model_validate({} if document is None else document), lines
    except ValidationError as error:
        faults = [
            fault(path, lines, each["loc"], f"{each['msg']}, not {each['input']!r:.80}")
            for each in error.errors()
        ]
        raise OperatorFileError("\n".join(faults)) from error


def fault(path: Path, lines: Lines, where: tuple[str | int, ...], what: str) -> str:
    """A line that says where in a file something is wrong."""
    key = ".".join(map(str, where)) or "the file"
    return f"{path}, line {lines.of(where)}, {key}: {what}"


class Live(ABC, Generic[Content]):
    """What a file of the operator's says, which may change while the server runs."""

    def __init__(self, what: str, path: Path | None) -> None:
        """what: names the content in the log; path: None without a file."""
        self._what = what
        self._path = path
        self._current = self._read()

    @property
    def current(self) -> Content:
        """What is in force; a request keeps what it was admitted under."""
        return self._current

    def reload(self) -> None:
        """Read the file again; a faulty one changes nothing, and the log says why.

        May be called in any thread: what is in force changes at once and whole.
        """
        if self._path is None:
            return
        try:
            self._current = self._read()
        except OperatorFileError as error:
            logger.error("The old %s stays in force: %s", self._what, error)  # noqa: TRY400
        else:
            logger.info("%s: read %s again", self._what.capitalize(), self._path)

    @abstractmethod
    def _read(self) -> Content:
        """The content of the file, or what stands for it without one."""
