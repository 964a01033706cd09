"""SIGHUP, by which an operator has files read again, in every process that serves requests.

vLLM serves from one process or from several that it starts, and an operator knows one id: the
signal is passed on. It is held back from the start, in all threads and child processes, so one
that comes while a process starts waits until that process is ready.
"""

import logging
import multiprocessing
import os
import signal
import threading
from argparse import Namespace
from collections.abc import Callable

API_SERVERS = "ApiServer_"
"""How vLLM (0.32) names its API server processes, if there is more than one."""

# vLLM's own logger function would import vLLM, which starts threads.
logger = logging.getLogger("vllm.demur.hangup")
_listeners: list[Callable[[], object]] = []
_watching = threading.Event()


def hold() -> None:
    """Hold SIGHUP back. Call before anything is imported that starts threads: they inherit it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def release() -> None:
    """Let SIGHUP end the process, as it would without this module. Call in the main thread."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def is_asked_for(args: Namespace) -> bool:
    """Whether the operator named files that may be read again; else SIGHUP ends the server."""
    return args.refusal_policy is not None or args.refusal_templates is not None


def watch() -> None:
    """Wait for SIGHUP from now on, in a process in which it is held back."""
    if _watching.is_set():
        return
    _watching.set()
    threading.Thread(target=_wait, name="demur-hangup", daemon=True).start()


def listen(callback: Callable[[], object]) -> None:
    """Call `callback` at each SIGHUP, in a thread of its own; `watch` is called if it was not."""
    _listeners.append(callback)  # first: a signal that waits comes as soon as there is a watch
    watch()


def _wait() -> None:
    while True:
        signal.sigwait({signal.SIGHUP})
        logger.info("SIGHUP: files are read again")
        for child in multiprocessing.active_children():
            if child.name.startswith(API_SERVERS) and child.pid is not None:
                os.kill(child.pid, signal.SIGHUP)
        for listener in _listeners:
            listener()
