"""One evaluation: what is asked for, measured in turn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError
from training.evaluation.attacks import Attack, run_attack
from training.evaluation.checkpoint import CheckpointTarget
from training.evaluation.dials import steering_matrix, sweep_roc, threshold_sweep
from training.evaluation.judges import Judge
from training.evaluation.measures import (
    classification,
    failures,
    judged,
    naming,
    refusal_rates,
    rocs,
)
from training.evaluation.plots import draw_all
from training.evaluation.report import Report, write
from training.evaluation.target import Dial, EvalError, Target
from training.evaluation.transition import transition
from training.records import Record


@dataclass(frozen=True)
class Plan:
    """What to measure, and with what."""

    records: Sequence[Record]
    data: tuple[str, ...]
    """The sources' names."""
    dial: Dial
    attacks: Sequence[Attack] = ()
    triples: Sequence[Record] = ()
    matrix: bool = True
    sweep: bool = True
    words: tuple[str, ...] = ()
    """What refusals begin with, where there are no tokens."""
    max_tokens: int = 0
    """That a model writes on behind a harmful beginning."""


def evaluate(target: Target, judge: Judge, plan: Plan) -> Report:
    """Measure everything that the plan asks for and the target allows.

    What it does not allow is noted in the report. Raises EvalError if the target cannot be asked,
    or if nothing could be measured.
    """
    report = Report(target.name, judge.name, plan.dial, list(plan.data), len(plan.records))
    report.notes.extend(_not_possible(target, plan))
    if plan.records:
        _measure(target, judge, plan, report)
    for attack in plan.attacks:
        with _noted(report, f"result of attack {attack.name}"):
            report.attacks.append(run_attack(target, judge, attack, plan.dial, report.notes))
    if plan.triples and isinstance(target, CheckpointTarget):
        with _noted(report, "transition"):
            report.transition = transition(
                target,
                judge,
                plan.triples,
                plan.dial,
                words=plan.words,
                max_tokens=plan.max_tokens,
                notes=report.notes,
            )
    if not report.refusals and not report.attacks and report.transition is None:
        raise EvalError("; ".join(report.notes))
    return report


def save(report: Report, folder: Path) -> list[Path]:
    """Write the report and its plots into `folder`. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [*write(report, folder), *draw_all(report, folder)]


def _measure(target: Target, judge: Judge, plan: Plan, report: Report) -> None:
    prompts = [record.prompt for record in plan.records]
    replies = judge.judge(prompts, target.ask(prompts, plan.dial, "refusals"))
    report.notes.extend(failures(replies))
    report.replies = list(zip(plan.records, replies, strict=True))
    pairs = judged(plan.records, replies)
    report.refusals = refusal_rates(pairs)
    whole = classification(pairs)
    named = [] if judge.reads_text else naming(pairs, target.categories)
    report.classification = ([] if whole is None else [whole]) + named
    report.roc = rocs(pairs, target.categories)
    if target.categories:
        _turn(target, judge, plan, report)
    if not report.roc and (curve := sweep_roc(report.sweep)) is not None:
        report.roc = [curve]


def _turn(target: Target, judge: Judge, plan: Plan, report: Report) -> None:
    # An operator's bounds may forbid a turn.
    if plan.matrix:
        with _noted(report, "steering matrix"):
            report.matrix = steering_matrix(
                target, judge, plan.records, plan.dial, report.refusals, report.notes
            )
    if plan.sweep:
        with _noted(report, "threshold sweep"):
            report.sweep = threshold_sweep(target, judge, plan.records, plan.dial, report.notes)


@contextmanager
def _noted(report: Report, what: str) -> Iterator[None]:
    """Note what cannot be measured inside: what is measured already is worth keeping."""
    try:
        yield
    except TrainingError as error:
        report.notes.append(f"no {what}: {error}")


def _not_possible(target: Target, plan: Plan) -> Iterator[str]:
    if plan.records and (plan.matrix or plan.sweep) and not target.categories:
        yield "no steering matrix, sweep or ROC: the target has no refusal tokens"
    if plan.triples and not isinstance(target, CheckpointTarget):
        yield "no transition: a server takes no beginning of an answer; evaluate the checkpoint"
    if not isinstance(target, CheckpointTarget):
        for attack in plan.attacks:
            if any(isinstance(prompt, str) for prompt in attack.prompts):
                yield f"{attack.name}: sent as a user's turn: a server takes no raw prompts"
