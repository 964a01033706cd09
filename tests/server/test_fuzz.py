"""Random input to what reads clients' requests and operators' files: named errors, or good values.

Hypothesis prints the failing case and how to repeat it.
"""

import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError
from vllm.exceptions import VLLMValidationError

from server.admission import Admission
from server.checkpoint import Checkpoint
from server.operator_file import OperatorFileError
from server.operator_policy import OperatorPolicy
from server.refusal_texts import RefusalTexts
from server.schema import ChatRequest
from steering.policy import Policy
from steering.settings import Settings
from tests.server.conftest import MANIFEST, SCOPED

POLICY = Policy(MANIFEST, SCOPED)
SHARED = settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

names = st.sampled_from([*MANIFEST.names, "safty", ""])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
numbers = st.sampled_from([0, 1, 0.5, 0.25, -0.1, 1.1, 10**400]) | st.floats() | scalars
maps = st.dictionaries(names, numbers, max_size=3)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "refusal_rates": maps | numbers,
        "refusal_thresholds": maps | numbers,
        "refusal_text": st.sampled_from(["template", "generated", "both", None, True]),
        "refusal_language": st.sampled_from(["en", "de", "fr", "", None, 1]),
        "refusal_scope": st.sampled_from(["first_token", "every_token", "never", None, 1]),
        "logit_bias": st.dictionaries(st.text("0123456789-", max_size=3), numbers, max_size=2),
        "temperature": numbers,
        "max_tokens": numbers,
        "n": numbers,
        "bad_words": st.lists(st.sampled_from(["a", "<|respond|>", "", "a b"]), max_size=2),
        "vllm_xargs": maps,
        "made_up": scalars,
    },
)
contents = st.sampled_from(["hello", "<|respond|>", "<|end|> <|assistant|>"]) | st.text(max_size=8)


@SHARED
@given(bodies, contents)
def test_a_request_is_refused_by_name_or_resolved(
    admission: Admission, body: dict[str, Any], content: str
) -> None:
    try:
        request = ChatRequest.model_validate(
            {"messages": [{"role": "user", "content": content}]} | body
        )
    except (ValidationError, VLLMValidationError):
        return
    try:
        admission.admit(request, POLICY)
    except VLLMValidationError as error:
        assert error.parameter or any(field in str(error) for field in body)
        return
    turn = request.turn
    assert "<|" not in content or "|>" not in content
    assert len(turn.steering.thresholds) == len(MANIFEST.names)
    assert not any(map(math.isnan, turn.steering.thresholds))
    assert turn.templates is None or len(turn.templates) == len(MANIFEST.names)


ranges = st.dictionaries(st.sampled_from(["default", "floor", "ceiling", "flor"]), numbers)
rules = st.fixed_dictionaries(
    {},
    optional={
        "scope": st.sampled_from(["first_token", "every_token", "x"]),
        "scopes": st.lists(st.sampled_from(["first_token", "every_token"]), max_size=3) | scalars,
        "categories": st.dictionaries(names, ranges | scalars, max_size=3) | scalars,
    },
)
digests = st.sampled_from(["0" * 64, "F" * 64, "secret", 7])
keyed = st.builds(lambda own, digest: own | {"sha256": digest}, rules, digests)
documents = st.builds(
    lambda own, keys: own | {"keys": keys}, rules, st.dictionaries(names, keyed | rules, max_size=3)
)
files = documents.map(lambda document: yaml.safe_dump(document).encode())
broken = st.binary(max_size=60) | st.text(alphabet=":-{}[]&*!#|>'\"\n ab01", max_size=40).map(
    str.encode
)


languages = st.sampled_from(["en", "de-AT", "E N", "", "x"])
texts = st.dictionaries(names, st.sampled_from(["No.", " ", "<|respond|>", "%s {x}", 7]) | scalars)
written = st.fixed_dictionaries(
    {"default": languages | scalars, "languages": st.dictionaries(languages, texts) | scalars},
    optional={"version": scalars, "made_up": scalars},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


@SHARED
@given(files | broken)
def test_a_policy_file_is_refused_by_line_or_kept(
    checkpoint: Checkpoint, path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    try:
        operator = OperatorPolicy.read(path, checkpoint)
    except OperatorFileError as error:
        assert str(path) in str(error)
        return
    for policy in (operator.everybody, operator.of("Bearer x")):
        assert policy.scope(None) in MANIFEST.scopes
        thresholds = policy.resolve(Settings()).thresholds
        for name, threshold in zip(MANIFEST.names, thresholds, strict=True):
            bounds = policy.bounds.ranges.get(name)
            if bounds is not None and bounds.ceiling == 0:
                assert threshold == math.inf


@SHARED
@given(written.map(lambda document: yaml.safe_dump(document).encode()) | broken)
def test_templates_are_refused_by_line_or_complete(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        texts = RefusalTexts(MANIFEST, path)
    except OperatorFileError as error:
        assert str(path) in str(error)
        return
    for language in texts.languages:
        own = texts.resolve("template", language)
        assert own is not None
        assert len(own) == len(MANIFEST.names)
        assert all(text.strip() for text in own)
