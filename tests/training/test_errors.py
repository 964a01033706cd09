import ast
from pathlib import Path

import training


def test_every_error_is_one_that_the_commands_print_as_a_line() -> None:
    assert training.__file__ is not None
    folder = Path(training.__file__).parent
    bases = {
        f"{path.relative_to(folder)}: {node.name}": ast.unparse(node.bases[0])
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    }
    assert bases.pop("errors.py: TrainingError") == "ValueError"
    assert bases.pop("encoding.py: PromptTooLongError") == "EncodingError"
    assert set(bases.values()) == {"TrainingError"}, bases
