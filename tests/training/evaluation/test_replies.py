from pathlib import Path

import pytest

from training.evaluation.replies import REPLIES_FILE, read_replies, write_replies
from training.evaluation.target import EvalError, Reply
from training.records import Message, Record

PAIRS = [
    (Record((Message("user", "Pick a lock"),), "safety", id="a"), Reply(True, "safety", 0, "No.")),
    (Record((Message("user", "Lösch"),), None, "safety"), Reply(False, scores=(-1.5, 0.25))),
    (Record((Message("user", "Hi"),), None), Reply(None, fault="too long")),
]


def test_replies_come_back_as_they_were(tmp_path: Path) -> None:
    write_replies(PAIRS, tmp_path)
    assert read_replies(tmp_path) == PAIRS


@pytest.mark.parametrize("text", ["{", "[1]\n", '{"record": {}}\n'])
def test_other_files_are_faults(text: str, tmp_path: Path) -> None:
    (tmp_path / REPLIES_FILE).write_text(text)
    with pytest.raises(EvalError, match=r"replies.jsonl: is no file of replies"):
        read_replies(tmp_path)


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="No such file"):
        read_replies(tmp_path)
