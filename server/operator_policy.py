"""The operator's policy: default rates and bounds, for everybody and by API key.

A file in YAML (docs/policy.md). Keys are named in it by their SHA-256, never as they are:

    categories:
      safety: {default: 0.95, floor: 0.9}
    keys:
      kiosk:
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        categories:
          safety: {floor: 0.99, default: 0.99}
"""

import hashlib
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from vllm import envs
from vllm.logger import init_logger

from server.checkpoint import Checkpoint
from server.operator_file import Live, OperatorFileError, fault, read
from server.yaml_lines import Lines
from steering.bounds import Bounds, BoundsError, Range
from steering.manifest import Scope
from steering.policy import Policy

Rate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{64}$", to_lower=True)]
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=64)]

logger = init_logger("vllm.demur.policy")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Range(_Section):
    default: Rate | None = None
    floor: Rate | None = None
    ceiling: Rate | None = None


class _Rules(_Section):
    scope: Scope | None = None
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] | None = None
    categories: dict[str, _Range] = {}


class _KeyRules(_Rules):
    sha256: Sha256


class _File(_Rules):
    version: Literal[1] = 1
    keys: dict[KeyName, _KeyRules] = {}


@dataclass(frozen=True)
class KeyPolicy:
    """The policy of one API key, with the name that the operator gave the key."""

    name: str
    policy: Policy


class OperatorPolicy:
    """Who gets which policy."""

    def __init__(self, everybody: Policy, by_key: Mapping[str, KeyPolicy] | None = None) -> None:
        self.everybody = everybody
        """For requests without a key, or with one that has no rules of its own."""
        self._by_key = dict(by_key or {})
        """By the key's SHA-256 in lower-case hex."""

    @classmethod
    def read(cls, path: Path, checkpoint: Checkpoint) -> Self:
        """Read the file for this checkpoint; raises OperatorFileError with every fault."""
        rules, lines = read(path, _File)
        return cls._of(rules, path, lines, checkpoint)

    @classmethod
    def _of(cls, rules: _File, path: Path, lines: Lines, checkpoint: Checkpoint) -> Self:
        faults: list[str] = []

        def policy(own: _Rules, where: tuple[str, ...]) -> Policy:
            try:
                return checkpoint.policy_within(_bounds(rules, own))
            except BoundsError as error:
                # What a key's rules make of everybody's stands at the key.
                at = (*where, "categories", error.category) if error.category else where
                faults.append(fault(path, lines, at, str(error)))
                return checkpoint.policy

        everybody = policy(rules, ())
        by_key: dict[str, KeyPolicy] = {}
        for name, own in rules.keys.items():
            if own.sha256 in by_key:
                faults.append(fault(path, lines, ("keys", name), "the same sha256 as another key"))
            by_key[own.sha256] = KeyPolicy(name, policy(own, ("keys", name)))
        if faults:
            raise OperatorFileError("\n".join(dict.fromkeys(faults)))
        return cls(everybody, by_key)

    def strangers(self, api_keys: Iterable[str]) -> list[str]:
        """Names of the keys in the file that are none of the server's."""
        known = {sha256_of(key) for key in api_keys}
        return [own.name for sha256, own in self._by_key.items() if sha256 not in known]

    def of(self, authorization: str | None) -> Policy:
        """The policy for a request with this `Authorization` header.

        The key is looked up by its hash, so the time that it takes says nothing of other keys.
        """
        own = self._own(authorization)
        return self.everybody if own is None else own.policy

    def name_of(self, authorization: str | None) -> str | None:
        """What the operator calls the key in this `Authorization` header, if it has rules."""
        own = self._own(authorization)
        return None if own is None else own.name

    def _own(self, authorization: str | None) -> KeyPolicy | None:
        if authorization is None or not self._by_key:
            return None
        return self._by_key.get(sha256_of(authorization.partition(" ")[2]))


class LivePolicy(Live[OperatorPolicy]):
    """The policy in force, which the operator may replace while the server runs."""

    def __init__(self, checkpoint: Checkpoint, path: Path | None, api_keys: Iterable[str]) -> None:
        self._checkpoint = checkpoint
        self._api_keys = tuple(api_keys)
        super().__init__("refusal policy", path)

    def _read(self) -> OperatorPolicy:
        if self._path is None:
            return OperatorPolicy(self._checkpoint.policy)
        policy = OperatorPolicy.read(self._path, self._checkpoint)
        if strangers := policy.strangers(self._api_keys):
            logger.warning(
                "%s: no --api-key of this server has the sha256 of: %s",
                self._path,
                ", ".join(strangers),
            )
        return policy


def api_keys(args: Namespace) -> list[str]:
    """The keys that vLLM (0.32) accepts: from its flag, else from its variable."""
    return [key for key in (args.api_key or [envs.VLLM_API_KEY]) if key]


def authorization(request: Request | None) -> str | None:
    """The header that carries a request's key."""
    return None if request is None else request.headers.get("Authorization")


def sha256_of(key: str) -> str:
    """How the policy file names an API key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _bounds(everybody: _Rules, own: _Rules) -> Bounds:
    """The rules of one key laid over those for everybody."""
    ranges = {}
    for name in {**everybody.categories, **own.categories}:
        layers = [rules.categories.get(name, _Range()) for rules in (everybody, own)]
        merged = {
            field: value
            for layer in layers
            for field, value in layer.model_dump(exclude_none=True).items()
        }
        try:
            ranges[name] = Range(**merged)
        except BoundsError as error:
            raise BoundsError(name, str(error)) from error
    return Bounds(ranges, own.scope or everybody.scope, own.scopes or everybody.scopes)
