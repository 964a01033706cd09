from pathlib import Path

import pytest
from vllm.exceptions import VLLMValidationError

from server.operator_file import OperatorFileError
from server.refusal_texts import RefusalTexts
from steering.manifest import RefusalText
from steering.refusal_templates import TEMPLATES_FILE
from tests.server.conftest import MANIFEST, TEMPLATES

ENGLISH = ("I can't help with that.", "I have no news.")
GERMAN = ("Dabei helfe ich nicht.", "Ich weiß nichts Neues.")
FILE = """\
default: en
languages:
  en:
    safety: No.
    temporal: Not yet.
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    TEMPLATES.save(tmp_path)
    return tmp_path / TEMPLATES_FILE


class TestOfTemplatesOnly:
    """A checkpoint whose model was not trained to write refusals."""

    MANIFEST = MANIFEST.model_copy(update={"refusal_texts": ("template",)})
    WHY = "refusals are templates, since its model was not trained to write them"

    def test_templates_are_the_default(self, path: Path) -> None:
        texts = RefusalTexts(self.MANIFEST, path)
        assert texts.default == "template"
        assert texts.resolve(None, "de") == GERMAN

    def test_its_words_are_nobodys_to_ask_for(self, path: Path) -> None:
        with pytest.raises(OperatorFileError, match=f"--refusal-text generated: .*{self.WHY}"):
            RefusalTexts(self.MANIFEST, path, "generated")
        with pytest.raises(VLLMValidationError, match=f"not 'generated': .*{self.WHY}") as caught:
            RefusalTexts(self.MANIFEST, path).resolve("generated", None)
        assert caught.value.parameter == "refusal_text"

    @pytest.mark.parametrize("default", [None, "template"])
    def test_templates_must_be_there(self, default: RefusalText | None) -> None:
        with pytest.raises(OperatorFileError, match=rf"{self.WHY}.*has no {TEMPLATES_FILE}"):
            RefusalTexts(self.MANIFEST, None, default)


class TestWhoseWords:
    @pytest.mark.parametrize(
        ("default", "text", "language", "expected"),
        [
            ("generated", None, None, None),
            ("generated", "template", None, ENGLISH),
            ("generated", "template", "de", GERMAN),
            ("template", None, None, ENGLISH),
            ("template", None, "de", GERMAN),
            ("template", "generated", None, None),
        ],
    )
    def test_are_the_requests_or_the_operators_choice(
        self,
        path: Path,
        default: RefusalText,
        text: RefusalText | None,
        language: str | None,
        expected: tuple[str, ...] | None,
    ) -> None:
        assert RefusalTexts(MANIFEST, path, default).resolve(text, language) == expected

    @pytest.mark.parametrize(
        ("text", "language", "field", "what"),
        [
            ("template", "fr", "refusal_language", "must be one of en, de, not 'fr'"),
            ("template", "EN", "refusal_language", "must be one of en, de, not 'EN'"),
            ("generated", "en", "refusal_language", "goes with refusal_text 'template'"),
            (None, "en", "refusal_language", "goes with refusal_text 'template'"),
        ],
    )
    def test_cannot_be_others(
        self, path: Path, text: RefusalText | None, language: str, field: str, what: str
    ) -> None:
        with pytest.raises(VLLMValidationError, match=what) as caught:
            RefusalTexts(MANIFEST, path).resolve(text, language)
        assert caught.value.parameter == field

    def test_are_the_models_without_templates(self) -> None:
        texts = RefusalTexts(MANIFEST)
        assert texts.resolve(None, None) is None
        assert texts.languages == ()
        with pytest.raises(VLLMValidationError, match="this server has no templates") as caught:
            texts.resolve("template", None)
        assert caught.value.parameter == "refusal_text"

    def test_cannot_be_templates_by_default_without_any(self) -> None:
        with pytest.raises(OperatorFileError, match="--refusal-text template: the checkpoint has"):
            RefusalTexts(MANIFEST, default="template")


class TestFiles:
    def test_name_the_default_language_first(self, path: Path) -> None:
        assert RefusalTexts(MANIFEST, path).languages == ("en", "de")

    @pytest.mark.parametrize(
        ("text", "faults"),
        [
            ("", ["line 1, default: Field required", "line 1, languages: Field required"]),
            (FILE + "    safty: No.", ["line 6, languages.en.safty: category 'safty' is unknown"]),
            (FILE.replace("    safety: No.\n", ""), ["line 3, languages.en: category 'safety'"]),
            (FILE.replace("No.", "''"), ["line 4, languages.en.safety: ", "at least 1 character"]),
            (FILE.replace("No.", "[no]"), ["line 4, languages.en.safety: ", "valid string"]),
            (FILE.replace("No.", "no"), ["line 4, languages.en.safety: ", "not False"]),
            (FILE.replace("  en:", "  no:"), ["line 3: the key 'no' is not text"]),
            (FILE.replace("default: en", "default: de"), ["line 1, default: 'de' is none of en"]),
            (FILE.replace("No.", "<|refuse:safety|>"), ["line 4, languages.en.safety: the text"]),
            (
                "default: de\nlanguages: {en: {safety: 'No.'}}",
                ["line 1, default", "line 2, languages.en: category 'temporal' has no text"],
            ),
        ],
    )
    def test_that_cannot_be_used_say_where(self, path: Path, text: str, faults: list[str]) -> None:
        path.write_text(text)
        with pytest.raises(OperatorFileError) as caught:
            RefusalTexts(MANIFEST, path)
        assert all(f"{path}, {fault}" in str(caught.value) for fault in faults[:1]), caught.value
        assert all(fault in str(caught.value) for fault in faults), caught.value

    def test_are_read_again(self, path: Path, log: list[str]) -> None:
        texts = RefusalTexts(MANIFEST, path)
        path.write_text(FILE)
        assert texts.resolve("template", None) == ENGLISH
        texts.reload()
        assert texts.resolve("template", None) == ("No.", "Not yet.")
        assert texts.languages == ("en",)
        assert any("File of refusal templates: read" in line for line in log)

    def test_that_became_faulty_change_nothing(self, path: Path, log: list[str]) -> None:
        texts = RefusalTexts(MANIFEST, path)
        path.write_text("default: en")
        texts.reload()
        assert texts.resolve("template", None) == ENGLISH
        assert any("The old file of refusal templates stays in force" in line for line in log)
