"""The signal is real, so each case runs in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

ALONE = """
import os, signal, threading
from server import hangup

hangup.hold()
threading.Thread(target=threading.Event().wait, daemon=True).start()  # any other thread
heard = threading.Event()
hangup.watch()
os.kill(os.getpid(), signal.SIGHUP)  # before anybody listens: nothing is lost but the call
hangup.listen(heard.set)
hangup.watch()
while not heard.wait(0.05):
    os.kill(os.getpid(), signal.SIGHUP)
print("heard")
"""

CHILDREN = """
import multiprocessing, os, signal
from server import hangup

def child(ready, heard):
    ready.wait()  # a signal that comes while the child starts waits for it
    hangup.listen(heard.set)
    heard.wait()

if __name__ == "__main__":
    hangup.hold()
    hangup.watch()
    context = multiprocessing.get_context("spawn")
    ready, heard = context.Event(), context.Event()
    process = context.Process(target=child, args=(ready, heard), name="ApiServer_0")
    process.start()
    os.kill(os.getpid(), signal.SIGHUP)
    ready.set()
    assert heard.wait(30)
    process.join()
    assert process.exitcode == 0
    print("heard")
"""

ENDED = """
import os, signal
from server import hangup

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever this process inherited
hangup.hold()
hangup.release()
os.kill(os.getpid(), signal.SIGHUP)
"""


def run(code: str, folder: Path) -> str:
    script = folder / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listeners_hear_it(tmp_path: Path) -> None:
    assert run(ALONE, tmp_path) == "heard\n"


def test_api_servers_hear_it_even_while_they_start(tmp_path: Path) -> None:
    assert run(CHILDREN, tmp_path) == "heard\n"


def test_without_a_watch_it_ends_the_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ENDED)
    assert subprocess.run([sys.executable, script], timeout=60).returncode == -signal.SIGHUP
