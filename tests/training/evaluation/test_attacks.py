import json
from pathlib import Path

import pytest
from openai import OpenAI

from training.evaluation.attacks import Attack, read_attack, run_attack
from training.evaluation.judges import TokenJudge
from training.evaluation.pool import Pool
from training.evaluation.server import ServerTarget
from training.evaluation.target import Dial
from training.records import Prompt, RecordError

from .conftest import Served


def asked(*texts: str) -> tuple[Prompt, ...]:
    return tuple(map(Prompt.asking, texts))


def test_the_derta_authors_format(tmp_path: Path) -> None:
    path = tmp_path / "safety_codeattack.json"
    path.write_text('{"question": "a = 1\\nb", "answer": ""}\n{"question": "c"}\n')
    assert read_attack(path) == Attack("safety_codeattack", asked("a = 1\nb", "c"))
    assert read_attack(path, raw=True).prompts == ("a = 1\nb", "c")


def test_lists_texts_and_other_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    items = ["one", {"prompt": "two", "instruction": "no"}, {"instruction": "three"}]
    path.write_text(json.dumps(items))
    assert read_attack(path).prompts == asked("one", "two", "three")


def test_every_fault_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('"fine"\n{"text": "a"}\nnope\n{"question": 1}\n" "\n')
    with pytest.raises(RecordError) as error:
        read_attack(path)
    assert [fault.split(": ")[0] for fault in error.value.faults] == [
        f"{path}:{line}" for line in (2, 3, 4, 5)
    ]
    (tmp_path / "b.jsonl").write_text("")
    with pytest.raises(RecordError, match="holds no prompts"):
        read_attack(tmp_path / "b.jsonl")


def test_the_success_rate_leaves_out_what_has_no_result(served: Served) -> None:
    target = ServerTarget(Pool(OpenAI(base_url=served.url, api_key="k"), 2), "small", max_tokens=1)
    attack = Attack("x", asked("safety 0.9", "safety 0.1", "safety 0", "forbidden"))
    notes: list[str] = []
    result = run_attack(target, TokenJudge(), attack, Dial(), notes)
    assert (result.name, result.succeeded.count, result.succeeded.of) == ("x", 2, 3)
    assert notes == ["attack x: 1 of 4 prompts have no result: messages: holds a control token"]
