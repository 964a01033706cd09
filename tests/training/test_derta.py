import random
from collections import Counter

import pytest

from training.config import MethodsConfig
from training.derta import draw_positions, draw_prefix_length, prefix_layout, rto_layout
from training.encoding import Example, PromptTooLongError

# 1-3 prompt, 8 respond, 9 refuse, 4-6 the harmful answer, 0 end of turn, 20-22 the safe answer.
X = -100


def test_a_prefix_by_hand() -> None:
    assert prefix_layout([1, 2, 3], [8], [4, 5], [9, 20, 21, 0], max_length=20) == Example(
        input_ids=[1, 2, 3, 8, 4, 5, 9, 20, 21, 0],
        labels=[X, X, X, X, X, X, 9, 20, 21, 0],
    )


def test_a_prefix_as_in_the_paper_without_control_tokens() -> None:
    assert prefix_layout([1, 2], [], [4], [20, 0], max_length=20) == Example(
        [1, 2, 4, 20, 0], [X, X, X, 20, 0]
    )


def test_a_prefix_has_no_loss_even_where_the_prompt_has_one() -> None:
    example = prefix_layout([1, 2], [8], [4], [9, 20, 0], 20, "all")
    assert example.labels == [1, 2, X, X, 9, 20, 0]


@pytest.mark.parametrize(
    ("max_length", "tail", "labels"),
    [
        (8, [8, 4, 5, 9, 20, 0], [X, X, X, 9, 20, 0]),
        (7, [8, 4, 9, 20, 0], [X, X, 9, 20, 0]),  # the prefix gives way first,
        (6, [8, 9, 20, 0], [X, 9, 20, 0]),
        (5, [8, 9, 20], [X, 9, 20]),  # then the refusal loses its end.
        (4, [8, 9], [X, 9]),
    ],
)
def test_a_prefix_cut_to_fit(max_length: int, tail: list[int], labels: list[int]) -> None:
    example = prefix_layout([1, 2], [8], [4, 5], [9, 20, 0], max_length)
    assert example == Example([1, 2, *tail], [X, X, *labels])


def test_a_prefix_without_room_for_a_refusal() -> None:
    with pytest.raises(PromptTooLongError, match="2 tokens: no room for a refusal in 3"):
        prefix_layout([1, 2], [8], [4], [9, 20, 0], max_length=3)


def test_an_empty_prefix_and_an_empty_safe_answer() -> None:
    assert prefix_layout([1], [8], [], [9, 0], 9) == Example([1, 8, 9, 0], [X, X, 9, 0])


def test_rto_by_hand() -> None:
    assert rto_layout([1, 2, 3], [8], [4, 5, 6, 0], 9, 9, max_length=20) == Example(
        input_ids=[1, 2, 3, 8, 4, 5, 6, 0],
        labels=[X, X, X, 9, 9, 9, 9, 9],
    )


def test_rto_as_in_the_paper_without_control_tokens() -> None:
    # 30 stands for the paper's "Sorry".
    assert rto_layout([1, 2], [], [4, 5, 0], None, 30, max_length=20) == Example(
        [1, 2, 4, 5, 0], [X, X, 30, 30, 30]
    )


def test_rto_decides_by_the_token_and_turns_by_the_word() -> None:
    assert rto_layout([1], [8], [4, 5], 9, 30, 20).labels == [X, 9, 30, 30]


def test_rto_without_a_respond_token_decides_at_the_first_position_of_the_answer() -> None:
    assert rto_layout([1], [], [4, 5], 9, 30, 20) == Example([1, 4, 5], [X, 9, 30])


def test_rto_leaves_the_rest_of_the_opening_without_labels() -> None:
    # 40, 41 are what a template writes before the text.
    assert rto_layout([1], [8, 40, 41], [4], 9, 9, 20).labels == [X, 9, X, X, 9]
    assert rto_layout([1], [40, 41], [4], None, 30, 20).labels == [X, X, X, 30]


def test_rto_at_some_positions() -> None:
    assert rto_layout([1], [8], [4, 5, 6, 0], 9, 9, 20, {1, 3}).labels == [X, 9, X, 9, X, 9]
    assert rto_layout([1], [], [4, 5, 6, 0], None, 30, 20, {2}).labels == [X, X, X, 30, X]


def test_rto_with_loss_on_the_prompt() -> None:
    assert rto_layout([1, 2], [8], [4], 9, 9, 20, None, "all").labels == [1, 2, 9, 9]


@pytest.mark.parametrize(("max_length", "kept"), [(6, 4), (5, 3), (4, 2), (3, 1)])
def test_rto_cut_to_fit(max_length: int, kept: int) -> None:
    example = rto_layout([1, 2], [8], [4, 5, 0], 9, 9, max_length)
    assert example.input_ids == [1, 2, *[8, 4, 5, 0][:kept]]
    assert example.labels == [X, X, *[9] * kept]


def test_rto_without_room_for_a_label() -> None:
    with pytest.raises(PromptTooLongError, match="2 tokens: no room for a refusal in 2"):
        rto_layout([1, 2], [8], [4, 0], 9, 9, max_length=2)
    with pytest.raises(PromptTooLongError):
        rto_layout([1, 2], [], [4, 5, 0], None, 30, max_length=4, positions={2})
    with pytest.raises(PromptTooLongError):
        rto_layout([1, 2], [], [4, 5, 0], None, 30, max_length=2, positions=())


def test_rto_of_an_empty_answer() -> None:
    # The decision is left, or nothing.
    assert rto_layout([1], [8], [], 9, 9, 20) == Example([1, 8], [X, 9])
    with pytest.raises(ValueError, match="no position to refuse at"):
        rto_layout([1], [], [], None, 30, 20)
    with pytest.raises(ValueError, match="no position to refuse at"):
        rto_layout([1], [], [4, 5], None, 30, 20, positions=())


def draws(count: int, length: int, room: int, **methods: object) -> Counter[int]:
    config = MethodsConfig.model_validate(methods)
    rng = random.Random(0)
    return Counter(draw_prefix_length(rng, length, room, config) for _ in range(count))


def test_a_third_of_the_triples_has_no_prefix_and_the_others_a_uniform_one() -> None:
    found = draws(30_000, length=10, room=99)
    assert set(found) == set(range(11))
    assert found[0] / 30_000 == pytest.approx(1 / 3, abs=0.01)
    for k in range(1, 11):
        assert found[k] / 30_000 == pytest.approx(2 / 30, abs=0.01)


@pytest.mark.parametrize(
    ("length", "room", "methods", "allowed"),
    [
        (10, 99, {"prefix_min": 3, "prefix_max": 5}, {3, 4, 5}),
        (10, 4, {"prefix_min": 3}, {3, 4}),
        (10, 2, {"prefix_min": 3}, {2}),  # too little room: as much as there is.
        (2, 99, {"prefix_min": 3, "prefix_max": 5}, {2}),  # a short answer is taken whole.
        (0, 99, {}, {0}),
        (10, -1, {}, {0}),
    ],
)
def test_bounds_of_the_prefix(
    length: int, room: int, methods: dict[str, int], allowed: set[int]
) -> None:
    assert set(draws(300, length, room, no_prefix_share=0, **methods)) == allowed


def test_no_prefix_at_all() -> None:
    assert set(draws(100, 10, 99, no_prefix_share=1)) == {0}


@pytest.mark.parametrize(
    ("rto_positions", "length", "count"),
    [(3, 10, 3), (30, 10, 10), (0.25, 8, 2), (0.05, 8, 1), (0.05, 100, 5), (1, 10, 1), (2, 0, 0)],
)
def test_positions_are_as_many_as_asked(rto_positions: float, length: int, count: int) -> None:
    methods = MethodsConfig(rto_positions=rto_positions)
    rng = random.Random(0)
    found = [draw_positions(rng, length, methods) for _ in range(200)]
    assert {len(places) for places in found if places is not None} == {count}
    if 0 < count < length:
        assert set().union(*(places or () for places in found)) == set(range(length))


def test_all_positions_by_default() -> None:
    assert draw_positions(random.Random(0), 5, MethodsConfig()) is None
