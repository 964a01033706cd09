"""The real server as a subprocess, for tests that call it as clients do."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from openai import OpenAI

START_S = 240
CLIENT_S = 120
STOP_S = 60
LINGER_S = 5
DEMUR_SERVE = (str(Path(sys.executable).with_name("demur-serve")),)
IN_ONE_PROCESS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
"""The model runs in the engine's process, as vLLM has it on one GPU. On CPUs there is a worker
process by default, and the two talk by spinning: two such servers on one core starve each other."""
IN_WORKERS = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
"""As by default on CPUs, and for tensor parallelism anywhere."""
SMALL = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
"""Asks nobody, and leaves memory to others."""
LOGGED = {"VLLM_LOGGING_LEVEL": "INFO"}
"""TRL (1.16) sets this to ERROR when it is imported, for the whole process and its children."""


def free_port() -> int:
    """A TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cores() -> tuple[int, int]:
    """The first and the last core that a test may use: one for each of an engine's two workers."""
    own = sorted(os.sched_getaffinity(0))
    return own[0], own[-1]


@dataclass
class Server:
    """`demur-serve`, or another program, started on a free port, with its output in `log`."""

    checkpoint: Path
    log: Path
    flags: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    program: Sequence[str] = DEMUR_SERVE

    def __post_init__(self) -> None:
        command = [*self.program, str(self.checkpoint)]
        command += ["--port", str(self.port), "--enforce-eager", "--shutdown-timeout", "0"]
        command += self.flags
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=IN_ONE_PROCESS | SMALL | os.environ | LOGGED | self.environment,
                start_new_session=True,
            )

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        """All that it has printed."""
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Return once /health answers; raise RuntimeError with the log's end if it never does."""
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.5)
        tail = "\n".join(self.output().splitlines()[-40:])
        raise RuntimeError(f"{self.program[-1]} is not ready (exit {self.process.poll()}):\n{tail}")

    def wait_until_ended(self) -> int:
        """The exit status, once it has ended by itself."""
        return self.process.wait(START_S)

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """End it as Ctrl-C does, and whatever is left of its process group after a while."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, by)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def leftovers(self) -> list[str]:
        """Processes of its group that still run a moment after it has ended.

        Those that only wait to be reaped do not run.
        """
        end = time.monotonic() + LINGER_S
        while (running := self._group()) and time.monotonic() < end:
            time.sleep(0.2)
        return running

    def _group(self) -> list[str]:
        found = subprocess.run(
            ["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True
        ).stdout
        lines = (line.split(maxsplit=2) for line in found.splitlines())
        group = str(self.process.pid)
        return [args for pgid, state, args in lines if pgid == group and state[0] != "Z"]


def client_of(server: Server) -> httpx.Client:
    """A client of its API; close it, or use it as a context."""
    return httpx.Client(base_url=server.url, timeout=CLIENT_S)


def sdk_of(server: Server) -> OpenAI:
    """OpenAI's own client of it, without retries; close it, or use it as a context."""
    url = f"{server.url}/v1"
    return OpenAI(base_url=url, api_key="none", timeout=CLIENT_S, max_retries=0)


@contextmanager
def serving(
    checkpoint: Path,
    folder: Path,
    flags: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    program: Sequence[str] = DEMUR_SERVE,
) -> Iterator[Server]:
    """A server that is ready, with its log in `folder`, until the block ends."""
    log = folder / "log"
    server = Server(checkpoint, log, flags, environment or {}, program=program)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
