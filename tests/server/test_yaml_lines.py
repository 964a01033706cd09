import pytest

from server.yaml_lines import YamlError, load

TEXT = """\
first: 1

second:
  inner: [a, b]
  other: 0.5
"""


def test_says_what_stands_where() -> None:
    value, lines = load(TEXT)
    assert value == {"first": 1, "second": {"inner": ["a", "b"], "other": 0.5}}
    assert lines.of(("first",)) == 1
    assert lines.of(("second",)) == 3
    assert lines.of(("second", "inner", 1)) == 4
    assert lines.of(("second", "other")) == 5


def test_says_where_something_would_stand() -> None:
    _, lines = load(TEXT)
    assert lines.of(("second", "missing")) == 3
    assert lines.of(("missing",)) == 1


def test_an_empty_text_is_nothing() -> None:
    value, lines = load("")
    assert value is None
    assert lines.of(()) == 1


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: [1\n", 3, "expected ',' or ']'"),
        ("a: 1\na: 2\n", 2, "'a' stands here twice"),
        ("a: 1\n2: b\n", 2, "'2' is not text"),
        ("a: &x 1\nb: *x\n", 2, "aliases"),
        ("a: !!python/object:os.system 1\n", 1, "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", 2, "but found another document"),
        ("a: 2026-13-45\n", 1, "month must be in 1..12"),
        ("a: \x00\n", 1, "special characters are not allowed"),
        ("[" * 5000 + "]" * 5000, 1, "recursion"),
    ],
)
def test_names_the_line_of_a_fault(text: str, line: int, what: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)
    assert what in str(caught.value)
    assert caught.value.line == line
