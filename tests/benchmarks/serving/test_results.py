from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmarks.serving.compare import WAITS
from benchmarks.serving.results import FILE, Journal, Many, Requests, Run, Saturation, of_bench
from tests.benchmarks.serving.made import MEMORY, SPENT, requests, run

BENCH: dict[str, Any] = {
    "duration": 2.0,
    "errors": ["", "", "Bad Request"],
    "ttfts": [0.010, 0.020, 0.0],
    # vLLM's empty piece is followed by the first token at once, or a decode step later; a control
    # token has an empty piece of its own.
    "itls": [[0.0, 0.005, 0.005], [0.004, 0.006], []],
    "latencies": [0.020, 0.030, 0.0],
    "output_lens": [3, 2, 0],
    "generated_texts": ["One two", "", ""],
}
NONE = [0, 0, 0]
"""Control tokens in front of each of these answers."""


class TestOfBench:
    def test_times_are_in_milliseconds_and_failures_are_counted(self) -> None:
        found = of_bench(BENCH, NONE, SPENT)
        assert found.ttft == pytest.approx((10, 20))
        assert found.first_text == pytest.approx((10, 24))
        assert found.gap == pytest.approx((5, 6))
        assert found.e2e == pytest.approx((20, 30))
        assert (found.tokens, found.failed, found.seconds) == ((3, 2), 1, 2.0)

    def test_a_control_token_is_no_token_of_an_answer(self) -> None:
        found = of_bench(BENCH, [1, 0, 0], SPENT)
        assert found.tokens == (2, 2)
        assert found.first_text == pytest.approx((15, 24))
        assert found.gap == pytest.approx((5, 6))
        assert found.figures()["throughput"] == 2
        assert found.figures()["tpot"] == pytest.approx((5 + 6) / 2)
        assert of_bench(BENCH, [3, 0, 0], SPENT).tokens == (2,)

    def test_an_answer_without_content_is_a_refusal(self) -> None:
        assert of_bench(BENCH, NONE, SPENT).refused == (False, True)

    def test_an_answer_that_ends_at_once_is_none(self) -> None:
        ended = BENCH | {"output_lens": [3, 1, 0]}
        assert of_bench(ended, NONE, SPENT).refused == (False, False)

    def test_nothing_answered_names_the_first_error(self) -> None:
        none = BENCH | {"errors": ["Unauthorized"] * 3}
        with pytest.raises(ValueError, match="Unauthorized"):
            of_bench(none, NONE, SPENT)


class TestFigures:
    def test_time_per_token_starts_behind_the_first_one(self) -> None:
        found = requests(10.0, count=4, tokens=11).figures()
        assert found["ttft"] == 10
        assert found["first_text"] == 20
        assert found["tpot"] == pytest.approx(10)
        assert found["e2e"] == 120
        assert found["throughput"] == 44
        assert found["requests"] == 4

    def test_an_answer_of_one_token_has_no_time_per_token(self) -> None:
        assert not {"tpot", "step"} & requests(tokens=1).figures().keys()

    def test_cpu_time_is_of_each_request_and_of_each_token(self) -> None:
        found = requests(count=4, tokens=11).figures()
        assert found["front_cpu"] == pytest.approx(100)
        assert found["engine_cpu"] == pytest.approx(25)

    def test_what_a_request_waits_for_adds_up_to_its_first_piece(self) -> None:
        found = requests(10.0).figures()
        waits = {name: found[name] for name in WAITS}
        assert waits == pytest.approx({"outside": 2, "inside": 2, "queue": 1, "prefill": 5})
        assert sum(waits.values()) == pytest.approx(found["ttft"])

    def test_rounds_of_the_same_load_are_one(self) -> None:
        one, two = requests(10.0, count=4), requests(30.0, count=2)
        both = Requests.joined([one, two])
        assert both.ttft == one.ttft + two.ttft
        assert both.seconds == 2.0
        assert both.spent.requests == 2 * SPENT.requests
        assert Requests.joined([one]) == one

    def test_answered_and_refused_apart(self) -> None:
        mixed = requests(count=4, refused=4)
        assert mixed.figures(refused=False) == {}
        apart = mixed.figures(refused=True)
        assert apart["e2e"] == 120
        assert "throughput" not in apart


class TestJournal:
    def test_what_was_written_is_read_again(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path)
        journal.add(Saturation(requests_per_s=3.5))
        journal.add(run("a", 0, one=requests()))
        journal.add(Many(servers=3, memory=MEMORY))
        again = Journal(tmp_path)
        assert again.lines == journal.lines
        assert again.runs() == [run("a", 0, one=requests())]
        assert again.first(Saturation) == Saturation(requests_per_s=3.5)
        assert again.first(Run) is not None

    @pytest.mark.parametrize("whole", [0, 1])
    def test_a_line_that_was_cut_off_is_left_out(self, tmp_path: Path, whole: int) -> None:
        line = Saturation(requests_per_s=3.5)
        text = line.model_dump_json()
        (tmp_path / FILE).write_text(f"{text}\n" * whole + text[:9])
        journal = Journal(tmp_path)
        assert journal.lines == [line] * whole
        journal.add(line)
        assert Journal(tmp_path).lines == [line] * (whole + 1)

    def test_a_new_folder_holds_nothing(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "new")
        assert (journal.runs(), journal.first(Saturation)) == ([], None)

    def test_a_line_of_another_kind_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / FILE).write_text('{"something": 1}\n')
        with pytest.raises(ValidationError):
            Journal(tmp_path)
