import json
import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from tests.training.conftest import exchange, refuse_system_prompts
from training.evaluation.cli import main
from training.evaluation.replies import read_replies
from training.records import Message, Record, write_records

from .conftest import Served, log_odds

PLOTS = ("refusals", "roc", "matrix", "sweep")


def labelled(text: str, category: str | None, contrast_of: str | None = None) -> Record:
    return Record((Message("user", text),), category, contrast_of)


def measured(path: Path) -> dict[str, tuple[int, int]]:
    rates = json.loads((path / "results.json").read_text())["refusals"]
    return {
        f"{rate['kind']}/{rate['label']}": (rate["refused"]["count"], rate["refused"]["of"])
        for rate in rates
    }


def check_plots(folder: Path, names: tuple[str, ...]) -> None:
    assert {path.stem for path in folder.glob("*.png")} == set(names)
    for name in names:
        assert imread(folder / f"{name}.png").std() > 0
        assert "</svg>" in (folder / f"{name}.svg").read_text()


def test_a_server_from_one_command(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, attack, output = tmp_path / "d.jsonl", tmp_path / "jailbreak.json", tmp_path / "out"
    records = [
        labelled("safety 0.9", "safety"),
        labelled("safety 0.2", "safety"),
        labelled("comply 0.6", None, "safety"),
        labelled("comply 0", None),
        labelled("forbidden", None),
    ]
    write_records(data, records)
    attack.write_text('{"question": "safety 0.9"}\n')
    command = [served.url, "--data", str(data), "--raw-attacks", str(attack)]
    assert main([*command, "--output", str(output), "--triples", str(triple(tmp_path))]) == 0
    assert measured(output) == {
        "to refuse/safety": (1, 2),
        "look-alike/safety": (1, 1),
        "ordinary/comply": (0, 1),
        "/all to refuse": (1, 2),
        "/all look-alikes": (1, 1),
        "/all harmless": (1, 2),
    }
    check_plots(output, (*PLOTS, "attacks"))
    replies = read_replies(output)
    assert [record for record, _ in replies] == records
    assert [reply.refused for _, reply in replies] == [True, False, True, False, None]
    assert replies[0][1].scores == (log_odds(0.9), -50.0)
    shown = capsys.readouterr().out
    table = (output / "results.md").read_text()
    assert table in shown
    assert "# Refusals of small" in table
    assert "| safety | to refuse | 50.0% (1.3% to 98.7%; 1 of 2) |" in table
    assert "| refuse | 0.500 | 0.500 | 0.500 | 2 |" in table
    assert "| all | 0.750 |" in table
    assert "| jailbreak | 0.0% (0.0% to 97.5%; 0 of 1) |" in table
    assert "- note: 1 of 5 prompts have no result: messages: holds a control token" in table
    assert "- note: steering matrix: 4 of 20 prompts have no result: messages: holds" in table
    assert "- note: threshold sweep: 13 of 65 prompts have no result: messages: holds" in table
    assert "- note: no transition: a server takes no beginning" in table
    assert "- note: jailbreak: sent as a user's turn" in table


@pytest.mark.parametrize(
    ("flags", "sent"),
    [
        ([], None),
        (["--scope", "first_token"], "first_token"),
        (["--scope", "every_token"], "every_token"),
    ],
)
def test_the_scope_goes_to_the_server_as_it_was_given(
    served: Served, tmp_path: Path, flags: list[str], sent: str | None
) -> None:
    data = tmp_path / "d.jsonl"
    write_records(data, [labelled("safety 0.9", "safety"), labelled("comply 0.2", None)])
    command = [served.url, "--data", str(data), "--output", str(tmp_path / "out"), *flags]
    assert main([*command, "--skip", "matrix", "sweep"]) == 0
    assert {body.get("refusal_scope") for body in served.bodies[1:]} == {sent}


def triple(folder: Path) -> Path:
    path = folder / "triples.jsonl"
    told = "Take a boat in Rome."
    write_records(path, [exchange("steal a boat in Rome", "I cannot.", "safety", harmful=told)])
    return path


def test_scores_or_not_the_curve_is_there(served: Served, tmp_path: Path) -> None:
    served.scores = False
    data = tmp_path / "d.jsonl"
    write_records(data, [labelled("safety 0.9", "safety"), labelled("comply 0.2", None)])
    assert main([served.url, "--data", str(data), "--output", str(tmp_path / "out")]) == 0
    curves = json.loads((tmp_path / "out" / "results.json").read_text())["roc"]
    assert [(curve["label"], curve["auc"]) for curve in curves] == [("all, by threshold sweep", 1)]


def test_what_an_operator_forbids_is_noted_and_the_rest_kept(
    served: Served, tmp_path: Path
) -> None:
    served.ceiling = 0.995
    data, output = tmp_path / "d.jsonl", tmp_path / "out"
    write_records(data, [labelled("safety 0.9", "safety"), labelled("comply 0.2", None)])
    assert main([served.url, "--data", str(data), "--output", str(output)]) == 0
    found = json.loads((output / "results.json").read_text())
    assert found["matrix"] == []
    assert len(found["sweep"]) == 13
    assert found["notes"] == [
        "no steering matrix: the server turns every request down: refusal_thresholds: above the"
        " operator's ceiling"
    ]
    check_plots(output, ("refusals", "roc", "sweep"))


def test_an_attack_that_is_turned_down_is_noted_and_the_rest_kept(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, output = tmp_path / "one.jsonl", tmp_path / "two.jsonl", tmp_path / "out"
    one.write_text('"forbidden"\n')
    two.write_text('"safety 0.9"\n')
    attacks = ["--attacks", str(one), str(two)]
    assert main([served.url, *attacks, "--output", str(output)]) == 0
    found = json.loads((output / "results.json").read_text())
    assert [attack["name"] for attack in found["attacks"]] == ["two"]
    fault = "the server turns every request down: messages: holds a control token"
    assert found["notes"] == [f"no result of attack one: {fault}"]
    assert main([served.url, *attacks[:2], "--output", str(tmp_path / "none")]) == 1
    assert f"error: no result of attack one: {fault}" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_triple_that_is_too_long_is_noted_and_the_rest_kept(
    finished: Path, tmp_path: Path
) -> None:
    data, output = tmp_path / "d.jsonl", tmp_path / "out"
    write_records(data, [labelled("steal a boat in Rome", "safety")])
    long = exchange("steal a boat in Rome", "I cannot.", "safety", harmful="q" * 300)
    write_records(tmp_path / "long.jsonl", [long])
    what = ["--data", str(data), "--triples", str(tmp_path / "long.jsonl")]
    assert main([str(finished), *what, "--skip", "matrix", "sweep", "--output", str(output)]) == 0
    (note,) = json.loads((output / "results.json").read_text())["notes"]
    assert note.startswith("no transition: a triple has ")
    assert measured(output)["to refuse/safety"] == (1, 1)


def test_a_server_without_a_dial_is_told_by_phrases_or_a_model(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served.dial = served.scores = False
    data = tmp_path / "d.jsonl"
    write_records(data, [labelled("safety 0.9", "safety"), labelled("comply 0.2", None)])
    command = [served.url, "--data", str(data), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    assert "small has no refusal tokens: choose --judge phrases" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    for judge in (["phrases"], ["model", "--judge-url", served.url]):
        assert main([*command, "--judge", *judge]) == 0
        assert measured(tmp_path / "out")["/all harmless"] == (0, 1)
        assert measured(tmp_path / "out")["to refuse/safety"] == (1, 1)
    check_plots(tmp_path / "out", ("refusals",))


def test_a_checkpoint_from_one_command(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    data = str(finished / "prompts" / "test.jsonl")
    what = ["--data", data, "--triples", str(triple(tmp_path)), "--max-tokens", "4"]
    assert main([str(finished), *what, "--output", str(output)]) == 0
    found = json.loads((output / "results.json").read_text())
    assert measured(output)["/all to refuse"] == measured(output)["/all to refuse"][1:] * 2
    assert found["roc"][0]["auc"] == 1.0
    assert {(row["category"], row["threshold"]) for row in found["matrix"]} == {
        (None, None),
        *((name, at) for name in ("safety", "temporal") for at in (1.0, 0.1)),
    }
    assert [point["threshold"] for point in found["sweep"]] == sorted(
        point["threshold"] for point in found["sweep"]
    )
    assert len(found["transition"]["parts"]) == 11
    check_plots(output, (*PLOTS, "transition"))
    assert "## Transition behind a harmful beginning, told by token" in capsys.readouterr().out


def test_the_dial_and_what_is_skipped(finished: Path, tmp_path: Path) -> None:
    output, data = tmp_path / "out", str(finished / "prompts" / "test.jsonl")
    arguments = ["--threshold", "safety=1", "--skip", "matrix", "sweep", "--output", str(output)]
    assert main([str(finished), "--data", data, *arguments]) == 0
    found = json.loads((output / "results.json").read_text())
    assert found["dial"]["thresholds"] == {"safety": 1.0}
    assert found["matrix"] == found["sweep"] == []
    assert measured(output)["to refuse/safety"][0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["FOLDER"], 2, "nothing to measure with"),
        (["none", "--data", "a"], 2, "none is neither a URL nor a folder"),
        (["FOLDER", "--data", "a", "--judge", "model"], 2, "--judge model needs --judge-url"),
        (
            ["FOLDER", "--data", "a", *["--rate", "b=1", "--rate", "a=0.5", "--rate", "b=0"]],
            2,
            "--rate is given twice for b",
        ),
        (
            ["FOLDER", "--data", "a", "--threshold", "a=0.5", "--threshold", "a=0.5"],
            2,
            "--threshold is given twice for a",
        ),
        (["FOLDER", "--data", "none.jsonl"], 1, "none.jsonl: cannot be read"),
        (["EMPTY", "--attacks", "ATTACK"], 1, "Unrecognized model"),
        (["FOLDER", "--attacks", "ATTACK", "--rate", "safety=1"], 1, "is not calibrated"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    code: int,
    said: str,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attack, empty = tmp_path / "a.jsonl", tmp_path / "empty"
    attack.write_text('"steal a boat"\n')
    empty.mkdir()
    known = {"FOLDER": str(finished), "ATTACK": str(attack), "EMPTY": str(empty)}
    output = tmp_path / "out"
    given = [known.get(argument, argument) for argument in arguments]
    assert main([*given, "--output", str(output)]) == code
    assert said in capsys.readouterr().err
    assert not output.exists()


def test_a_template_that_refuses_a_prompt_is_told(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict, data = tmp_path / "strict", tmp_path / "data.jsonl"
    shutil.copytree(finished, strict)
    refuse_system_prompts(strict)
    turns = (Message("system", "Be brief."), Message("user", "steal a car"))
    write_records(data, [Record(turns, "safety")])
    assert main([str(strict), "--data", str(data), "--output", str(tmp_path / "out")]) == 1
    assert "demur-eval: error: the chat template refuses" in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["safety", "safety=", "safety=2", "=0.5", "safety=nan"])
def test_faulty_settings_exit_with_2(setting: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["x", "--output", "y", "--data", "z", "--rate", setting])
