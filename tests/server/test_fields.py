"""The tables of fields against vLLM's own request model: an upgrade fails here first."""

import re
from pathlib import Path

import pytest

from server.fields import BOUNDED, IGNORED, PASSED, REFUSED
from server.schema import ChatRequest


def test_every_field_is_in_one_table() -> None:
    tables = [set(PASSED), set(BOUNDED), set(REFUSED)]
    assert set.union(*tables) == set(ChatRequest.model_fields)
    assert sum(map(len, tables)) == len(set.union(*tables))


def test_ignored_fields_are_none_of_vllms() -> None:
    assert not IGNORED & set(ChatRequest.model_fields)


def test_what_is_served_for_a_refused_field_is_vllms_default() -> None:
    for name, refused in REFUSED.items():
        default = ChatRequest.model_fields[name].get_default(call_default_factory=True)
        assert default == refused.harmless, name


DOCUMENT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


@pytest.mark.parametrize("name", sorted({*PASSED, *BOUNDED, *REFUSED}))
def test_the_document_has_a_row_for(name: str) -> None:
    assert re.search(rf"^\| [^|]*`{name}[`:]", DOCUMENT, re.MULTILINE)


def test_the_document_names_what_is_ignored() -> None:
    (line,) = re.findall(r"^Ignored, as vLLM does: .*$", DOCUMENT, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) == IGNORED
