import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.threads import wait_without_spinning


def test_threads_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    wait_without_spinning()
    assert os.environ == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_a_policy_in_the_environment_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE"})
    wait_without_spinning()
    assert os.environ == {"OMP_WAIT_POLICY": "ACTIVE"}


@pytest.mark.parametrize("flags", [(), ("--traffic", "0.5")])
def test_demur_calibrate_says_so_before_torch_comes(flags: tuple[str, ...], finished: Path) -> None:
    script = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            print('torch comes,', os.environ.get('OMP_WAIT_POLICY'), flush=True)\n"
        "            os._exit(0)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from training.calibrate import main\n"
        "main(sys.argv[1:])\n"
    )
    prompts = finished / "prompts" / "calibration.jsonl"
    shown = subprocess.run(
        [sys.executable, "-c", script, str(finished), str(prompts), *flags],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"},
    )
    assert shown.stdout == "torch comes, PASSIVE\n"
