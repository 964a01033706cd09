import pytest
from openai import OpenAI

from steering.manifest import Scope
from training.evaluation.dials import OFF, SWEEP, steering_matrix, sweep_roc, threshold_sweep
from training.evaluation.judges import TokenJudge
from training.evaluation.measures import ALL_HARMLESS, HARMFUL, judged, refusal_rates, rocs
from training.evaluation.pool import Pool
from training.evaluation.server import ServerTarget
from training.evaluation.target import Dial, EvalError, PromptOrText, Reply
from training.records import Message, Prompt, Record

from .conftest import CATEGORIES, Served, log_odds


def labelled(text: str, category: str | None, contrast_of: str | None = None) -> Record:
    return Record((Message("user", text),), category, contrast_of)


RECORDS = [
    labelled("safety 0.9", "safety"),
    labelled("safety 0.04", "safety"),
    labelled("temporal 0.7", "temporal"),
    labelled("comply 0.6", None, "safety"),
    labelled("comply 0.0", None),
]


def pool(served: Served, concurrency: int = 3, **options: int) -> Pool:
    return Pool(OpenAI(base_url=served.url, api_key="secret", **options), concurrency)  # type: ignore[arg-type]


def target(served: Served) -> ServerTarget:
    return ServerTarget(pool(served), "small", max_tokens=64)


def test_a_server_of_ours_is_recognised_and_gives_scores(served: Served) -> None:
    found = target(served)
    assert found.categories == CATEGORIES
    reply = found.ask([Prompt.asking("safety 0.9")], Dial(), "test")[0]
    assert reply == Reply(True, "safety", 0, "I cannot help with that.", (log_odds(0.9), -50))
    assert served.keys == {"Bearer secret"}


def test_any_other_server_has_no_dial(served: Served) -> None:
    served.dial = served.scores = False
    found = target(served)
    assert found.categories == ()
    replies = found.ask([Prompt.asking("safety 0.9"), Prompt.asking("comply 0.1")], Dial(), "test")
    assert [reply.text for reply in replies] == ["Sorry, no.", "Sure."]
    assert all(reply.scores is None for reply in replies)


@pytest.mark.parametrize(
    ("default", "asked_for", "tokens"),
    [
        ("first_token", None, 1),
        ("first_token", "every_token", 64),
        ("every_token", None, 64),
        ("every_token", "first_token", 1),
    ],
)
def test_whole_answers_are_asked_for_where_they_may_be_refused_inside(
    served: Served, default: str, asked_for: Scope | None, tokens: int
) -> None:
    served.scope = default
    target(served).ask([Prompt.asking("safety 0.9")], Dial(scope=asked_for), "test")
    assert served.bodies[-1]["max_tokens"] == tokens


def test_replies_come_in_order_and_no_more_than_allowed_at_a_time(served: Served) -> None:
    prompts: list[PromptOrText] = [Prompt.asking(f"safety {n % 2}") for n in range(60)]
    replies = target(served).ask(prompts, Dial(), "test")
    assert [reply.refused for reply in replies] == [n % 2 == 1 for n in range(60)]
    assert 1 < served.most_waiting <= 3
    assert len(served.bodies) == 61  # the probe


def test_the_dial_goes_into_the_request(served: Served) -> None:
    dial = Dial({"temporal": 0.9}, {"safety": 0.95}, "every_token")
    tool = {"type": "function", "function": {"name": "clock"}}
    prompt = Prompt((Message("system", "Be brief."), Message("user", "safety 0.9")), (tool,))
    assert not target(served).ask([prompt], dial, "test")[0].refused
    assert served.bodies[-1] == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "safety 0.9"},
        ],
        "tools": [tool],
        "tool_choice": "none",
        "temperature": 0,
        "max_tokens": 64,
        "refusal_rates": {"temporal": 0.9},
        "refusal_thresholds": {"safety": 0.95},
        "refusal_scope": "every_token",
        "refusal_scores": True,
    }


def test_a_prompt_that_is_turned_down_is_a_fault_of_its_own(served: Served) -> None:
    prompts = [Prompt.asking("forbidden"), Prompt.asking("safety 0.9")]
    replies = target(served).ask(prompts, Dial(), "test")
    assert replies[0].refused is None
    assert "holds a control token" in replies[0].fault
    assert replies[1].refused


def test_a_server_that_turns_everything_down_or_is_away_is_an_error(served: Served) -> None:
    found = target(served)
    with pytest.raises(EvalError, match=r"turns every request down: .*control token"):
        found.ask([Prompt.asking("forbidden")], Dial(), "test")
    away = OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0)
    with pytest.raises(EvalError, match=r"http://127\.0\.0\.1:9/v1/: Connection error"):
        ServerTarget(Pool(away, 1), "small", max_tokens=1)
    with pytest.raises(EvalError, match="Connection error"):
        Pool(away, 1).model()


def test_the_one_model_is_found_by_itself(served: Served) -> None:
    assert pool(served).model() == "small"


def test_raw_text_becomes_a_users_turn(served: Served) -> None:
    assert target(served).ask(["safety 0.9"], Dial(), "test")[0].refused
    assert served.bodies[-1]["messages"] == [{"role": "user", "content": "safety 0.9"}]


def test_the_steering_matrix_by_hand(served: Served) -> None:
    replies = target(served).ask([record.prompt for record in RECORDS], Dial(), "base")
    base = refusal_rates(judged(RECORDS, replies))
    served.bodies.clear()
    rows = steering_matrix(target(served), TokenJudge(), RECORDS, Dial(), base, [])
    found = {
        (row.category, row.threshold): {
            rate.label: rate.refused.count for rate in row.rates if rate.kind == HARMFUL
        }
        for row in rows
    }
    assert found == {
        (None, None): {"safety": 1, "temporal": 1},
        ("safety", OFF): {"safety": 0, "temporal": 1},
        ("temporal", OFF): {"safety": 1, "temporal": 0},
        ("safety", 0.1): {"safety": 1, "temporal": 1},
        ("temporal", 0.1): {"safety": 1, "temporal": 1},
    }
    harmless = [
        rate.refused.count for row in rows for rate in row.rates if rate.label == ALL_HARMLESS
    ]
    assert harmless == [1, 0, 1, 1, 1]
    # What is measured already is not asked for again.
    assert len(served.bodies) == 1 + 4 * len(RECORDS)


def test_the_sweep_and_its_roc_by_hand(served: Served) -> None:
    points = threshold_sweep(target(served), TokenJudge(), RECORDS, Dial({"safety": 0.5}), [])
    assert tuple(point.threshold for point in points) == SWEEP
    by_threshold = {point.threshold: point.classification for point in points}
    at = {key: [s.precision, s.recall] for key, s in by_threshold.items() if s is not None}
    assert at[0.01] == [0.75, 1.0]  # all three, and the look-alike
    assert at[0.5] == pytest.approx([2 / 3, 2 / 3])
    assert at[0.7] == pytest.approx([1.0, 2 / 3])
    assert at[0.8] == pytest.approx([1.0, 1 / 3])
    curve = sweep_roc(points)
    assert curve is not None
    # (0, 0) (0, 1/3) (0, 2/3) (1/2, 2/3) (1/2, 1) (1, 1): a third of a half is missing.
    assert curve.auc == pytest.approx(5 / 6)
    assert curve.low is None
    # The same by scores.
    replies = target(served).ask([record.prompt for record in RECORDS], Dial(), "test")
    assert rocs(list(zip(RECORDS, replies, strict=True)), CATEGORIES)[0].auc == pytest.approx(5 / 6)
    # Rates give way to the thresholds of the sweep: a category takes one of both.
    assert all("refusal_rates" not in body for body in served.bodies)


def test_a_sweep_over_one_kind_of_prompts_has_no_roc(served: Served) -> None:
    points = threshold_sweep(target(served), TokenJudge(), RECORDS[:2], Dial(), [])
    assert sweep_roc(points) is None
    assert sweep_roc([]) is None
