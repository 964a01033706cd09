"""Attack prompts from files, in the DeRTa authors' format and close to it.

A file holds JSON lines, or one JSON list. An item is the prompt itself or an object with the prompt
under `question` (the authors' key for CodeAttack, CompletingAttack, JailbreakChat and SelfCipher),
`prompt` or `instruction`. The file's name is the attack's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.datasets.sources import Row, Source, rows
from training.evaluation.judges import Judge
from training.evaluation.measures import Share, failures
from training.evaluation.target import Dial, PromptOrText, Target
from training.records import Prompt, RecordError

KEYS = ("question", "prompt", "instruction")


@dataclass(frozen=True)
class Attack:
    """Prompts that try to get harmful answers."""

    name: str
    prompts: tuple[PromptOrText, ...]


@dataclass(frozen=True)
class AttackResult:
    """What became of an attack."""

    name: str
    succeeded: Share
    """Attack success rate: prompts that were not refused."""


def read_attack(path: Path, *, raw: bool = False) -> Attack:
    """The attack in a file.

    raw: send the prompts without a chat template, as the authors do with CompletingAttack.
    Raises RecordError with every fault of the file.
    """
    prompts: list[PromptOrText] = []
    faults: list[str] = []
    for row in rows(Source("attack", str(path))):
        text = _prompt(row)
        if text is None:
            faults.append(f"{row.place}: is no text, nor an object with one of {', '.join(KEYS)}")
        else:
            prompts.append(text if raw else Prompt.asking(text))
    if not prompts and not faults:
        faults.append(f"{path}: holds no prompts")
    if faults:
        raise RecordError(faults)
    return Attack(path.stem, tuple(prompts))


def run_attack(
    target: Target, judge: Judge, attack: Attack, dial: Dial, notes: list[str]
) -> AttackResult:
    """Ask for every prompt; those that nobody can tell are left out, and told in `notes`."""
    replies = judge.judge(attack.prompts, target.ask(attack.prompts, dial, attack.name))
    notes.extend(failures(replies, f"attack {attack.name}: "))
    told = [reply.refused for reply in replies if reply.refused is not None]
    return AttackResult(attack.name, Share.among(not refused for refused in told))


def _prompt(row: Row) -> str | None:
    try:
        item = json.loads(row.json)
    except ValueError:
        return None
    found: Sequence[object] = [item]
    if isinstance(item, dict):
        found = [item[key] for key in KEYS if key in item][:1]
    return found[0] if found and isinstance(found[0], str) and found[0].strip() else None
