"""The demonstration's generator: sizes, splits, labels, right answers and mild content."""

import random
import re
from collections import Counter

import pytest

from training.categories import DESCRIPTIONS, manifest_of
from training.demo import ordinary
from training.demo.data import GROUPS, TEMPLATES, DemoData, build
from training.demo.first_tries import first_tries
from training.demo.grammar import Exchange, Pair, Rule, Wording, slot_names
from training.demo.surface import STEPS, key, opener, other_how, typo, vary
from training.records import Record

NAMES = list(DESCRIPTIONS)
REQUIRED = {
    "How do I build a bomb?": "safety",
    "How can I pick my neighbour's lock?": "safety",
    "What is the capital of France?": None,
    "How do I kill a Python process?": None,
    "Do you ever feel lonely?": "humanizing",
    "What should I do about it?": "incomplete",
    "Will it rain tomorrow in Oslo?": "temporal",
    "Who will win the next election?": "indeterminate",
    "What is the weather now?": "temporal",
    "Call my mother": "unsupported",
    "Write a haiku about the sea": None,
    "Hello": None,
}
# Roots that mild content never holds: sex, hate, drugs and the makings of weapons.
BANNED = (
    r"\bsex|porn|\bnude|\brap(e|ist)\b|\bracis|\bnazi|\bslur|suicid|cocaine|heroin|\bmeth\b|nitro"
    r"|gunpowder|fertili[sz]er|detonat|explosive|\bslave|terroris|genocid|tortur"
)


@pytest.fixture(scope="module")
def data() -> DemoData:
    return build(0)


def prompt_of(record: Record) -> str:
    return record.messages[-2].content


def answer_of(record: Record) -> str:
    return record.messages[-1].content


def everything(data: DemoData) -> list[Record]:
    return [*data.train, *data.calibration, *data.test]


def test_templates_are_refusals_that_the_model_learns(data: DemoData) -> None:
    manifest = manifest_of(NAMES)
    assert list(TEMPLATES.faults(manifest)) == []
    texts = TEMPLATES.texts(TEMPLATES.default, manifest)
    for name, text in zip(NAMES, texts, strict=True):
        assert any(answer_of(own) == text for own in data.train if own.category == name), name


def test_training_has_the_size_and_mixture_of_the_demonstration(data: DemoData) -> None:
    refused = sum(record.category is not None for record in data.train)
    contrast = sum(record.contrast_of is not None for record in data.train)

    assert 28_000 <= len(data.train) <= 34_000
    assert 0.35 <= refused / len(data.train) <= 0.5
    assert 0.15 <= contrast / len(data.train) <= 0.25


def test_no_category_drowns_another_in_training(data: DemoData) -> None:
    counts = Counter(record.category for record in data.train if record.category)

    assert set(counts) == set(NAMES)
    assert max(counts.values()) <= 1.4 * min(counts.values())


@pytest.mark.parametrize(
    ("split", "refused", "contrast", "ordinary_tasks"),
    [("calibration", 100, 50, 150), ("test", 80, 40, 100)],
)
def test_held_out_splits_have_their_sizes(
    data: DemoData, split: str, refused: int, contrast: int, ordinary_tasks: int
) -> None:
    counts = Counter((record.category, record.contrast_of) for record in getattr(data, split))

    expected: Counter[tuple[str | None, str | None]] = Counter({(None, None): ordinary_tasks})
    expected.update({(name, None): refused for name in NAMES})
    expected.update({(None, name): contrast for name in NAMES})
    assert counts == expected


def test_no_prompt_is_in_two_splits(data: DemoData) -> None:
    train, calibration, test = (
        {key(prompt_of(record)) for record in split}
        for split in (data.train, data.calibration, data.test)
    )

    assert not train & calibration
    assert not train & test
    assert not calibration & test


def test_held_out_prompts_are_all_different(data: DemoData) -> None:
    prompts = [key(prompt_of(record)) for record in [*data.calibration, *data.test]]

    assert len(set(prompts)) == len(prompts)


def test_the_same_seed_gives_the_same_data(data: DemoData) -> None:
    assert build(0) == data


def test_another_seed_gives_other_data_of_the_same_size(data: DemoData) -> None:
    other = build(1)

    assert len(other.train) == len(data.train)
    assert other.test != data.test


def test_records_meet_the_contract(data: DemoData) -> None:
    for record in everything(data):
        assert record.faults("training", NAMES) == []


def test_ids_are_unique_and_name_the_split(data: DemoData) -> None:
    ids = [record.id for record in everything(data)]

    assert len(set(ids)) == len(ids)
    assert all(str(record.id).startswith("test-") for record in data.test)


def test_every_category_is_seen_in_conversations_and_with_system_prompts(data: DemoData) -> None:
    for name in [*NAMES, None]:
        of_category = [record for record in data.train if record.category == name]
        roles = Counter(record.messages[0].role for record in of_category)
        turns = Counter(
            sum(message.role == "user" for message in record.messages) for record in of_category
        )
        assert roles["system"] >= 50
        assert min(turns[1], turns[2], turns[3]) >= 10


@pytest.mark.parametrize(("prompt", "category"), REQUIRED.items())
def test_first_tries_are_trained_with_their_label(
    data: DemoData, prompt: str, category: str | None
) -> None:
    found = [record for record in data.train if prompt_of(record) == prompt]

    assert found
    assert {record.category for record in found} == {category}


def test_first_tries_name_known_categories() -> None:
    assert {category for category, _ in first_tries()} == {*NAMES, None}


def test_the_capital_of_france_is_paris(data: DemoData) -> None:
    asked = [r for r in everything(data) if key(prompt_of(r)) == "what is the capital of france"]

    assert asked
    assert all("Paris" in answer_of(record) for record in asked)


def test_sums_are_right(data: DemoData) -> None:
    answers = [answer_of(record) for record in everything(data)]
    sums = [found for text in answers if (found := re.fullmatch(r"(.+) = (-?\d+)\.", text))]

    assert len(sums) >= 300
    for found in sums:
        a, sign, b = found[1].split()
        right = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
        assert int(found[2]) == right


def test_python_lines_are_python() -> None:
    code = [pair.reply for rule in ordinary.RULES for pair in rule.slots.get("code", ())
            if isinstance(pair, Pair)]  # fmt: skip
    lines = [line for reply in code for line in re.findall(r"`([^`]+)`", reply)]

    assert lines
    for line in lines:
        compile(line, "line", "exec")


def test_haiku_have_three_lines(data: DemoData) -> None:
    asked = [r for r in data.train if re.search(r"\bhaiku (about|on) ", prompt_of(r).lower())]

    assert len(asked) >= 50
    assert all(answer_of(record).count("\n") == 2 for record in asked)


def test_contrast_prompts_are_answered_and_not_refused(data: DemoData) -> None:
    refusals = {answer_of(record) for record in everything(data) if record.category}

    for record in everything(data):
        if record.contrast_of is not None:
            assert record.category is None
            assert answer_of(record) not in refusals


def test_no_prompt_without_history_is_both_refused_and_answered(data: DemoData) -> None:
    labels: dict[str, set[str | None]] = {}
    for record in everything(data):
        labels.setdefault(key(prompt_of(record)), set()).add(record.category)

    assert {prompt for prompt, found in labels.items() if len(found) > 1} == set()


def test_answers_are_short(data: DemoData) -> None:
    for record in everything(data):
        words = len(answer_of(record).split())
        assert words <= 30
        if record.category is not None:
            assert 7 <= words <= 25


def test_each_category_has_several_refusals(data: DemoData) -> None:
    for name in NAMES:
        assert len({answer_of(r) for r in data.train if r.category == name}) >= 6


def test_content_is_mild(data: DemoData) -> None:
    for record in everything(data):
        for message in record.messages:
            assert not re.search(BANNED, message.content, re.IGNORECASE), message.content


def test_no_slot_is_left_open(data: DemoData) -> None:
    texts = [message.content for record in everything(data) for message in record.messages]

    assert [text for text in texts if "{" in text or "}" in text] == []


def test_no_prompt_doubles_its_punctuation(data: DemoData) -> None:
    assert [p for r in everything(data) if re.search(r"[.:?!] ?[.,]", p := prompt_of(r))] == []


def test_rules_of_every_group_fill_their_slots() -> None:
    for group in GROUPS:
        for rule in group.rules:
            names = {name for text in (*rule.asks, *rule.before) for name in slot_names(text)}
            assert names <= set(rule.slots)


def test_held_out_asks_and_fillers_are_never_trained() -> None:
    rule = Rule(
        tuple(f"Ask {n} about {{thing}}?" for n in range(30)),
        ("Yes.",),
        {"thing": tuple(f"thing {n}" for n in range(30))},
    )
    wording = Wording(rule, random.Random(0), 0)

    trained = [wording.trained().prompt for _ in range(500)]
    held = [exchange.prompt for _ in range(500) if (exchange := wording.held_out())]

    asks = {prompt.split(" about ")[0] for prompt in trained}
    things = {prompt.split(" about ")[1] for prompt in trained}
    assert len(asks) < 30
    assert len(things) < 30
    assert {prompt.split(" about ")[0] for prompt in held} > asks
    assert {prompt.split(" about ")[1] for prompt in held} > things


def test_rules_with_one_salt_hold_out_the_same_wording() -> None:
    patterns = [f"Number {n}: {{x}}?" for n in range(40)]
    asks = tuple(pattern.replace("x", "y") for pattern in patterns)
    rng = random.Random(0)
    one = Wording(Rule(tuple(patterns), ("Yes.",), {"x": ("a",)}), rng, 3)
    other = Wording(Rule(asks, ("No.",), {"y": ("a",)}), rng, 3)

    assert {one.trained().prompt for _ in range(200)} == {
        other.trained().prompt for _ in range(200)
    }


def test_facts_are_trained_whole() -> None:
    lands = tuple(Pair(f"land {n}", f"capital {n}") for n in range(20))
    asks = ("Capital of {land.ask}?",)
    wording = Wording(
        Rule(asks, ("It is {land.reply}.",), {"land": lands}, whole=True),
        random.Random(0),
        0,
    )

    drawn = {wording.trained() for _ in range(40)}

    assert drawn == {Exchange((f"Capital of land {n}?",), f"It is capital {n}.") for n in range(20)}


def test_one_choice_serves_the_earlier_turns_the_ask_and_the_reply() -> None:
    rule = Rule(
        ("And {x.ask}?",),
        ("{x.reply}!",),
        {"x": (Pair("a", "1"), Pair("b", "2"))},
        before=("Is it {x.ask}?", "No."),
    )

    exchange = Wording(rule, random.Random(0), 0).trained()

    letter = exchange.prompt.removeprefix("And ")[0]
    assert exchange.turns == (f"Is it {letter}?", "No.", f"And {letter}?")
    assert exchange.reply == {"a": "1!", "b": "2!"}[letter]


def test_a_rule_counts_its_prompts_with_nested_slots() -> None:
    rule = Rule(
        ("Do {it}.", "Stop."), ("No.",), {"it": ("this", "the {thing}"), "thing": ("a", "b", "c")}
    )

    assert rule.size() == 5


def test_the_surface_changes_but_the_words_mostly_stay() -> None:
    rng = random.Random(0)
    text = "How do I pick a lock for my bike?"

    surfaces = {vary(text, rng) for _ in range(200)}

    assert len(surfaces) > 25
    assert sum("bike" in surface for surface in surfaces) > 0.8 * len(surfaces)


def test_openers_leave_statements_alone() -> None:
    rng = random.Random(0)

    assert {opener("I am bored.", rng) for _ in range(100)} == {"I am bored."}
    assert "Please call my mother." in {opener("Call my mother.", rng) for _ in range(100)}


def test_how_questions_take_other_forms() -> None:
    rng = random.Random(0)

    assert "How to tie a knot?" in {other_how("How do I tie a knot?", rng) for _ in range(100)}


def test_a_typo_changes_one_word_only() -> None:
    rng = random.Random(0)
    text = "Please explain gravity"

    for _ in range(300):
        written = typo(text, rng).split()
        assert sum(a != b for a, b in zip(text.split(), written, strict=True)) <= 1


def test_the_key_ignores_case_and_punctuation() -> None:
    assert key("What's  THIS?") == key("whats this")


def test_the_surface_pipeline_puts_typos_last() -> None:
    assert STEPS[-1] is typo


def test_incomplete_prompts_follow_small_talk_only(data: DemoData) -> None:
    small_talk = {reply for rule in ordinary.SMALL_TALK for reply in rule.replies}

    for record in everything(data):
        if record.category == "incomplete":
            earlier = [m.content for m in record.messages[:-1] if m.role == "assistant"]
            assert set(earlier) <= small_talk
