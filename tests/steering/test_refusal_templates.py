from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from steering.manifest import Category, Manifest
from steering.refusal_templates import TEMPLATES_FILE, RefusalTemplates

MANIFEST = Manifest(
    respond_token="<|respond|>",
    categories=(
        Category(name="safety", token="<|refuse:safety|>"),
        Category(name="temporal", token="<|refuse:temporal|>"),
    ),
)
TEXTS = {"temporal": "Später: morgen.", "safety": "No.\nNot here."}


def test_survive_saving_as_text_that_people_can_edit(tmp_path: Path) -> None:
    templates = RefusalTemplates.of_texts("de", TEXTS)
    templates.save(tmp_path)
    written = (tmp_path / TEMPLATES_FILE).read_text(encoding="utf-8")
    assert "Später" in written
    assert RefusalTemplates.model_validate(yaml.safe_load(written)) == templates


def test_come_in_the_manifests_order() -> None:
    templates = RefusalTemplates.of_texts("en", TEXTS)
    assert list(templates.faults(MANIFEST)) == []
    assert templates.texts("en", MANIFEST) == ("No.\nNot here.", "Später: morgen.")


@pytest.mark.parametrize(
    ("default", "languages", "where", "what"),
    [
        ("fr", {"en": TEXTS}, ("default",), "'fr' is none of en"),
        (
            "en",
            {"en": TEXTS, "de": {"safety": "Nein."}},
            ("languages", "de"),
            "category 'temporal' has no text; every one of safety, temporal needs one",
        ),
        (
            "en",
            {"en": TEXTS | {"safty": "No."}},
            ("languages", "en", "safty"),
            "category 'safty' is unknown; known are safety, temporal",
        ),
        (
            "en",
            {"en": TEXTS | {"safety": "No. <|respond|>"}},
            ("languages", "en", "safety"),
            "the text spells <|respond|>, a control token",
        ),
    ],
)
def test_that_do_not_fit_say_where(
    default: str, languages: Any, where: tuple[str, ...], what: str
) -> None:
    templates = RefusalTemplates(default=default, languages=languages)
    assert list(templates.faults(MANIFEST)) == [(where, what)]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"languages": {}}, "at least 1 item"),
        ({"languages": {"en": {"safety": "  "}}}, "at least 1 character"),
        ({"languages": {"en": {"safety": "x" * 4097}}}, "at most 4096 characters"),
        ({"languages": {"english language": TEXTS}}, "should match pattern"),
        ({"version": 2}, "Input should be 1"),
        ({"texts": TEXTS}, "Extra inputs are not permitted"),
    ],
)
def test_what_the_file_may_hold(fields: dict[str, Any], fault: str) -> None:
    plain: dict[str, Any] = {"default": "en", "languages": {"en": TEXTS}}
    with pytest.raises(ValidationError, match=fault):
        RefusalTemplates.model_validate(plain | fields)
