"""One evaluation: what is asked for, measured in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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

    What it does not allow is noted in the report. Raises EvalError if the target cannot be asked.
    """
    report = Report(target.name, judge.name, plan.dial, list(plan.data), len(plan.records))
    report.notes.extend(_not_possible(target, plan))
    if plan.records:
        _measure(target, judge, plan, report)
    report.attacks = [run_attack(target, judge, attack, plan.dial) for attack in plan.attacks]
    if plan.triples and isinstance(target, CheckpointTarget):
        report.transition = transition(
            target, judge, plan.triples, plan.dial, words=plan.words, max_tokens=plan.max_tokens
        )
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
    # An operator's bounds may forbid a turn: what is measured already is worth keeping.
    if plan.matrix:
        try:
            report.matrix = steering_matrix(target, judge, plan.records, plan.dial)
        except EvalError as error:
            report.notes.append(f"no steering matrix: {error}")
    if plan.sweep:
        try:
            report.sweep = threshold_sweep(target, judge, plan.records, plan.dial)
        except EvalError as error:
            report.notes.append(f"no threshold sweep: {error}")


def _not_possible(target: Target, plan: Plan) -> Iterator[str]:
    if plan.records and (plan.matrix or plan.sweep) and not target.categories:
        yield "no steering matrix, sweep or ROC: the target has no refusal tokens"
    if plan.triples and not isinstance(target, CheckpointTarget):
        yield "no transition: a server takes no beginning of an answer; evaluate the checkpoint"
    if not isinstance(target, CheckpointTarget):
        for attack in plan.attacks:
            if any(isinstance(prompt, str) for prompt in attack.prompts):
                yield f"{attack.name}: sent as a user's turn: a server takes no raw prompts"
