"""Where the words of a refusal come from: the model, or templates that the operator may edit.

Under templates the engine stops at the refuse token: the refusal costs that one token.
"""

from argparse import Namespace
from pathlib import Path
from typing import Self

from vllm.exceptions import VLLMValidationError

from server.operator_file import Live, OperatorFileError, fault, read
from steering.manifest import Manifest, RefusalText
from steering.refusal_templates import TEMPLATES_FILE, RefusalTemplates

ONLY_TEMPLATES = (
    "this checkpoint's refusals are templates, since its model was not trained to write them"
)


class LiveTemplates(Live[RefusalTemplates | None]):
    """The templates in force, which the operator may replace while the server runs."""

    def __init__(self, manifest: Manifest, path: Path | None) -> None:
        """Raises OperatorFileError if the file does not fit the manifest."""
        self._manifest = manifest
        super().__init__("file of refusal templates", path)

    def _read(self) -> RefusalTemplates | None:
        if self._path is None:
            return None
        templates, lines = read(self._path, RefusalTemplates)
        faults = [fault(self._path, lines, *each) for each in templates.faults(self._manifest)]
        if faults:
            raise OperatorFileError("\n".join(faults))
        return templates


class RefusalTexts:
    """What each request's refusals are written by."""

    def __init__(
        self, manifest: Manifest, path: Path | None = None, default: RefusalText | None = None
    ) -> None:
        """path: of the templates; default: for a request that says nothing, or None for the
        checkpoint's.

        Raises OperatorFileError if the templates cannot be used, or are missing where they are the
        default, or if the default is not among the checkpoint's refusals.
        """
        self._manifest = manifest
        self._live = LiveTemplates(manifest, path)
        self.default: RefusalText = default or (
            "generated" if manifest.writes_refusals else "template"
        )
        if default == "generated" and not manifest.writes_refusals:
            raise OperatorFileError(f"--refusal-text generated: {ONLY_TEMPLATES}")
        if self.default == "template" and path is None:
            why = "--refusal-text template" if manifest.writes_refusals else ONLY_TEMPLATES
            raise OperatorFileError(
                f"{why}: the checkpoint has no {TEMPLATES_FILE}; write one (docs/templates.md), and"
                " name it by --refusal-templates FILE"
            )

    @classmethod
    def of_server(cls, args: Namespace, manifest: Manifest) -> Self:
        """As the operator's flags say; the checkpoint's own templates where they name none."""
        own = Path(args.model, TEMPLATES_FILE)
        path = args.refusal_templates or (own if own.exists() else None)
        return cls(manifest, path, args.refusal_text)

    def reload(self) -> None:
        """Read the templates again."""
        self._live.reload()

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the templates, the default first; none without templates."""
        templates = self._live.current
        if templates is None:
            return ()
        return tuple(dict.fromkeys([templates.default, *templates.languages]))

    def resolve(self, text: RefusalText | None, language: str | None) -> tuple[str, ...] | None:
        """[C] what a refusal of each category says, or None for the model's own words.

        text, language: what the request asks for. Raises VLLMValidationError.
        """
        if text == "generated" and not self._manifest.writes_refusals:
            raise VLLMValidationError(
                f"refusal_text must be 'template', not 'generated': {ONLY_TEMPLATES}",
                parameter="refusal_text",
            )
        if (text or self.default) == "generated":
            if language is not None:
                raise VLLMValidationError(
                    "refusal_language goes with refusal_text 'template': the model chooses the"
                    " language of its own words",
                    parameter="refusal_language",
                )
            return None
        templates = self._live.current
        if templates is None:
            raise VLLMValidationError(
                "refusal_text must be 'generated', not 'template': this server has no templates",
                parameter="refusal_text",
            )
        if language is not None and language not in templates.languages:
            raise VLLMValidationError(
                f"refusal_language must be one of {', '.join(self.languages)}, not"
                f" {language!r:.80}",
                parameter="refusal_language",
            )
        return templates.texts(language or templates.default, self._manifest)
