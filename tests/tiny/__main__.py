"""Write the tiny model's records and refusal templates: python -m tests.tiny FOLDER."""

import sys
from pathlib import Path

from steering.refusal_templates import RefusalTemplates
from tests.tiny.data import build
from tests.tiny.patterns import REFUSALS
from training.records import write_records


def main(folder: Path) -> None:
    """Write a file for each split, and the templates."""
    folder.mkdir(parents=True, exist_ok=True)
    data = build()
    for name in ("train", "calibration", "test"):
        write_records(folder / f"{name}.jsonl", getattr(data, name))
    RefusalTemplates.of_texts("en", {name: texts[0] for name, texts in REFUSALS.items()}).save(
        folder
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
