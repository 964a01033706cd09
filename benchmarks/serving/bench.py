"""The whole comparison: every arm in every repetition, then the report."""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from benchmarks.serving import machine
from benchmarks.serving.arms import ARMS, Arm, order, settings
from benchmarks.serving.cells import Cell
from benchmarks.serving.cli import Options
from benchmarks.serving.deeper import deepen
from benchmarks.serving.load import Target, put_under, write_prompts
from benchmarks.serving.opening import control_tokens
from benchmarks.serving.plots import draw_all
from benchmarks.serving.report import report, summary
from benchmarks.serving.results import FILE, Journal, Many, Memory, Requests, Run, Saturation, Setup
from benchmarks.serving.servers import Started, started
from benchmarks.serving.shared import side
from benchmarks.soak_memory import peak_mib, proportional_mib
from steering.manifest import Manifest
from training.datasets.load import load_records
from training.export import TEST_PROMPTS

SHARED = Arm("stock vLLM and Demur in one server", "shared")
REPORT, SUMMARY = "report.md", "summary.json"


class Bench:
    """One comparison, on this machine, into one folder."""

    def __init__(self, options: Options, logs: Path) -> None:
        self._options = options
        self._logs = logs
        self._cores = machine.Cores.of(frozenset(os.sched_getaffinity(0)))
        logs.mkdir(parents=True, exist_ok=True)
        self._checkpoint = options.checkpoint
        self._manifest = Manifest.load(self._checkpoint)
        self._control_tokens: list[int] = []
        """In front of stock vLLM's answers; once they were asked for."""
        if options.layers is not None:
            self._checkpoint = deepen(self._checkpoint, options.layers, logs / "checkpoint")
        prompts = single_turns(self._checkpoint, self._manifest.names)
        most = max(cell.requests for cell in options.load.cells())
        self._prompts = (prompts * (most // len(prompts) + 1))[:most]
        self._prompts_file = write_prompts(logs / "prompts.jsonl", self._prompts)
        self.journal = Journal(options.output)
        self._start = time.monotonic()
        self._made = 0

    def run(self) -> None:
        """All that is not in the journal yet."""
        os.sched_setaffinity(0, self._cores.client)
        self._check_setup()
        todo = self._missing()
        if todo and self._options.load.shares and self.journal.first(Saturation) is None:
            self.journal.add(self._saturation())
        self._start = time.monotonic()
        for arms, repetition in todo:
            for run in self._repeat(arms, repetition):
                self.journal.add(run)
            self._made += 1
            self._say(f"{' '.join(arms)}, repetition {repetition + 1}", len(todo))
        if self._options.many and self.journal.first(Many) is None:
            self.journal.add(self._many())

    def _check_setup(self) -> None:
        """Raise ValueError if the journal's runs were made otherwise than these would be."""
        options = self._options
        setup = Setup(
            machine=machine.describe(),
            versions=machine.versions(),
            checkpoint=str(options.checkpoint),
            options=options.fixed(),
        )
        before = self.journal.first(Setup)
        if before is None:
            self.journal.add(setup)
            return
        where = options.output / FILE
        if not options.resume:
            raise ValueError(
                f"{where} is there: --resume goes on with it, or name another --output"
            )
        if before != setup:
            raise ValueError(f"{where} was made otherwise:\n{before}\nNow it would be:\n{setup}")

    def _missing(self) -> list[tuple[list[str], int]]:
        """Arms whose servers are up at the same time, and in which repetition."""
        done = {(run.arm, run.repetition) for run in self.journal.runs()}
        found = []
        for repetition in range(self._options.repetitions):
            ordered = order(self._options.under_load, repetition)
            arms = [arm for arm in ordered if (arm, repetition) not in done]
            at_once = self._options.together or self._options.shared
            groups = [arms] if at_once else [[arm] for arm in arms]
            found += [(group, repetition) for group in groups if group]
        return found

    def _saturation(self) -> Saturation:
        """What stock vLLM answers at most; the machine is warm afterwards."""
        cells = [self._options.load.cells()[0], self._options.load.saturating()]
        arm = SHARED if self._options.shared else ARMS["a"]
        with self._server(arm, "saturation") as server:
            for cell in cells:
                found = self._put_under(server, "a", cell, 0, None)
        rate = found.figures()["requests"]
        print(f"saturation: {rate:.2f} requests a second", flush=True)
        return Saturation(requests_per_s=rate)

    def _repeat(self, arms: list[str], repetition: int) -> list[Run]:
        """Start these arms' servers, and put each load on one after the other."""
        saturation = self.journal.first(Saturation)
        cells = self._options.load.cells()
        found: dict[str, dict[str, list[Requests]]] = {arm: defaultdict(list) for arm in arms}
        with ExitStack() as stack:
            if self._options.shared:
                shared = stack.enter_context(self._server(SHARED, f"shared-{repetition}"))
                servers = dict.fromkeys(arms, shared)
            else:
                servers = {
                    arm: stack.enter_context(self._server(ARMS[arm], f"{arm}-{repetition}"))
                    for arm in arms
                }
            # The warm-up comes once; then all loads, as often as there are rounds.
            loads = cells[:1] + cells[1:] * self._options.rounds
            for turn, cell in enumerate(loads):
                for arm in order(arms, turn):
                    found[arm][cell.name].append(
                        self._put_under(servers[arm], arm, cell, repetition, saturation)
                    )
            return [
                Run(
                    arm=arm,
                    repetition=repetition,
                    listens_s=server.listens_s,
                    first_answer_s=server.first_answer_s,
                    memory=_memory([server]),
                    cells={name: Requests.joined(parts) for name, parts in found[arm].items()},
                )
                for arm, server in servers.items()
            ]

    def _put_under(
        self, server: Started, arm: str, cell: Cell, repetition: int, saturation: Saturation | None
    ) -> Requests:
        load = self._options.load
        url = server.url
        if self._options.shared:
            url = side(url, ours=ARMS[arm].gated)
        target = Target(
            server.server,
            url,
            self._checkpoint,
            self._prompts_file,
            load.tokens,
            self._logs / "load.log",
        )
        rate = None
        if cell.share is not None and saturation is not None:
            rate = cell.share * saturation.requests_per_s
        names = self._manifest.names
        own = settings(ARMS[arm], names, cell.requests, f"{cell.name}/{repetition}")
        in_front = self._in_front(arm, url)[: cell.requests]
        return put_under(target, cell, rate, repetition, own, in_front)

    def _in_front(self, arm: str, url: str) -> list[int]:
        """Control tokens in front of the answer to each prompt."""
        if ARMS[arm].gated:
            return [0] * len(self._prompts)
        if not self._control_tokens:
            self._control_tokens = control_tokens(url, self._prompts, self._manifest.tokens)
        return self._control_tokens

    def _many(self) -> Many:
        """Several servers, started one behind the other; each has given an answer."""
        count = self._options.servers
        with ExitStack() as stack:
            servers = [
                stack.enter_context(self._server(ARMS["a"], f"many-{number}"))
                for number in range(count)
            ]
            return Many(servers=count, memory=_memory(servers))

    def _server(self, arm: Arm, name: str) -> AbstractContextManager[Started]:
        log = self._logs / f"{name}.log"
        return started(arm, self._checkpoint, log, self._cores)

    def _say(self, what: str, total: int) -> None:
        spent = time.monotonic() - self._start
        left = spent / self._made * (total - self._made) / 60
        print(f"{self._made}/{total} {what}; {spent / 60:.1f} min, {left:.0f} left", flush=True)


def single_turns(checkpoint: Path, names: tuple[str, ...]) -> list[str]:
    """The checkpoint's test prompts of one turn. Raises ValueError if there are none."""
    file = checkpoint / TEST_PROMPTS
    if not file.is_file():
        raise ValueError(
            f"{file} is not there: prompts to ask are what training held out for tests"
        )
    records = load_records([str(file)], categories=names)
    prompts = [record.prompt for record in records]
    found = [
        prompt.messages[0].content
        for prompt in prompts
        if len(prompt.messages) == 1 and not prompt.tools
    ]
    if not found:
        raise ValueError(f"{file} has no prompt of one turn")
    return found


def _memory(servers: list[Started]) -> Memory:
    groups = [server.server.process.pid for server in servers]
    return Memory(peak=sum(map(peak_mib, groups)), proportional=sum(map(proportional_mib, groups)))


def write(journal: Journal, output: Path) -> Iterator[Path]:
    """The report, its figures as JSON, and its plots; yields their paths."""
    (output / REPORT).write_text("\n".join(report(journal)) + "\n", encoding="utf-8")
    yield output / REPORT
    (output / SUMMARY).write_text(json.dumps(summary(journal), indent=1) + "\n", encoding="utf-8")
    yield output / SUMMARY
    yield from draw_all(journal, output)


def run(options: Options) -> int:
    """Run what is missing and write the report. Returns the exit code."""
    try:
        bench = Bench(options, options.output / "logs")
        bench.run()
    except ValueError as error:
        print(f"benchmarks.serving: {error}", file=sys.stderr)
        return 1
    for path in write(bench.journal, options.output):
        print(f"wrote {path}")
    print((options.output / REPORT).read_text(encoding="utf-8"))
    return 0
