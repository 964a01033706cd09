"""What `demur-train check` finds out about records: pure counting."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from training.datasets.convert import CONTRAST, label_of
from training.datasets.split import prompt_key
from training.records import Record


@dataclass(frozen=True)
class Repeated:
    """A prompt that stands in the data more than once, however it is cased or punctuated."""

    prompt: str
    """Its last turn, as it comes first."""
    splits: Mapping[str, int]
    """How often, by split."""
    labels: tuple[str, ...]
    """The labels that it has; more than one contradict each other."""


@dataclass(frozen=True)
class Statistics:
    """Counts of divided records."""

    counts: Mapping[str, Mapping[str, int]]
    """Number of records by split and label, as `label_of` calls them."""
    lengths: Mapping[str, Sequence[int]]
    """Length of every record, by split."""
    unit: str
    """What lengths are counted in: tokens or characters."""
    repeated: Sequence[Repeated]

    @property
    def labels(self) -> list[str]:
        """Every label: categories, then contrasts and triples, then comply."""
        found = {label for by_label in self.counts.values() for label in by_label}
        return sorted(found, key=lambda label: (label == "comply", ":" in label, label))

    def contrast_share(self, split: str) -> float | None:
        """Contrast records among the harmless ones; None where there are no harmless ones."""
        by_label = self.counts[split]
        contrast = sum(count for label, count in by_label.items() if label.startswith(CONTRAST))
        harmless = contrast + by_label.get("comply", 0)
        return contrast / harmless if harmless else None

    def duplicates(self, split: str) -> int:
        """Records of the split whose prompt came in it before."""
        return sum(max(0, prompt.splits.get(split, 0) - 1) for prompt in self.repeated)

    def leaks(self) -> dict[tuple[str, str], list[Repeated]]:
        """Prompts that stand in two splits, by the pair."""
        return {
            (one, other): [
                prompt
                for prompt in self.repeated
                if one in prompt.splits and other in prompt.splits
            ]
            for one, other in combinations(self.counts, 2)
        }

    def contradictions(self) -> list[Repeated]:
        """Prompts with more than one label."""
        return [prompt for prompt in self.repeated if len(prompt.labels) > 1]

    def longer_than(self, limit: int, split: str) -> int:
        """Records of the split that training cuts or leaves out."""
        return sum(length > limit for length in self.lengths[split])


def count(
    splits: Mapping[str, Sequence[Record]], length: Callable[[Record], int], unit: str
) -> Statistics:
    """Count the records of every split; `length` measures one in `unit`."""
    return Statistics(
        counts={name: Counter(map(label_of, records)) for name, records in splits.items()},
        lengths={name: [length(record) for record in records] for name, records in splits.items()},
        unit=unit,
        repeated=_repeated(splits),
    )


def characters(record: Record) -> int:
    """Characters of all turns, of a triple with the longer of its answers."""
    both = [record] if record.harmful is None else [record, record.harmfully_answered]
    return max(sum(len(message.content) for message in one.messages) for one in both)


def _repeated(splits: Mapping[str, Iterable[Record]]) -> list[Repeated]:
    places: dict[str, list[tuple[str, Record]]] = defaultdict(list)
    for name, records in splits.items():
        for record in records:
            places[prompt_key(record)].append((name, record))
    return [
        Repeated(
            prompt=found[0][1].prompt.messages[-1].content,
            splits=Counter(name for name, _ in found),
            labels=tuple(sorted({record.category or "comply" for _, record in found})),
        )
        for found in places.values()
        if len(found) > 1
    ]
