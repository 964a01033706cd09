"""Surface variation: the same request as different people type it."""

import random
import re
import string
from collections.abc import Callable

AMERICAN = {
    "neighbour": "neighbor",
    "colour": "color",
    "favourite": "favorite",
    "summarise": "summarize",
    "organise": "organize",
    "apologise": "apologize",
    "flavour": "flavor",
    "theatre": "theater",
    "flatmate": "roommate",
    "mum": "mom",
    "grey": "gray",
    "metre": "meter",
    "litre": "liter",
    "centre": "center",
    "mobile phone": "cell phone",
    "holiday": "vacation",
}
HOW = ("How do I ", "How can I ", "How could I ", "How would I ", "How to ", "How does one ")
CONTRACTIONS = (
    ("What is ", "What's "),
    ("Who is ", "Who's "),
    ("I am ", "I'm "),
    ("do not ", "don't "),
    ("cannot ", "can't "),
)
ASKING = (
    "Can you tell me: ",
    "Please tell me: ",
    "Hey, ",
    "Hi, ",
    "Hello, ",
    "Hi there! ",
    "Quick question: ",
    "So, ",
    "OK, ",
    "I wonder, ",
    "Tell me, ",
    "Answer this question: ",
    "I have a question: ",
    "In one sentence: ",
    "My son asks: ",
    "For school: ",
)
BIDDING = (
    "Please ",
    "Please ",
    "Can you ",
    "Could you ",
    "Could you please ",
    "Would you ",
    "Hey, ",
    "I want you to ",
    "I need you to ",
    "OK, now ",
)
NOT_A_REQUEST = re.compile(r"(I|I'm|My|It|There|In|For|You|A|The|Bomb|Any|Is|\d+)\b")
TYPO_RATE = 0.06


def vary(text: str, rng: random.Random, *, openers: bool = True) -> str:
    """Another surface of ``text``: spelling, opener, case, punctuation, perhaps a typo."""
    for step in STEPS:
        if openers or step is not opener:
            text = step(text, rng)
    return text


def key(text: str) -> str:
    """What makes two prompts the same: lower case, no punctuation, single spaces."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(bare.split())


def american(text: str, rng: random.Random) -> str:
    """American words, often."""
    if rng.random() < 0.4:
        for british, other in AMERICAN.items():
            text = re.sub(rf"\b{british}", other, text)
            text = re.sub(rf"\b{british.capitalize()}", other.capitalize(), text)
    return text


def other_how(text: str, rng: random.Random) -> str:
    """Another way to begin a question with how; as written is the most frequent."""
    for how in HOW[:4]:
        if text.startswith(how) and " my" not in text and rng.random() < 0.35:
            return rng.choice(HOW) + text.removeprefix(how)
        if text.startswith(how) and rng.random() < 0.35:
            return rng.choice(HOW[:-1]) + text.removeprefix(how)
    return text


def contract(text: str, rng: random.Random) -> str:
    """Short forms, sometimes."""
    for long, short in CONTRACTIONS:
        if long in text and rng.random() < 0.3:
            text = text.replace(long, short)
    return text


def opener(text: str, rng: random.Random) -> str:
    """A polite or casual opener: one kind for questions, another for requests."""
    chance = rng.random()
    if text.endswith("?"):
        if chance < 0.12:
            return rng.choice(ASKING) + _lower_first(text)
        return text + " Please." if chance < 0.13 else text
    if NOT_A_REQUEST.match(text):
        return text
    if chance < 0.3:
        start = rng.choice(BIDDING)
        end = "?" if start.startswith(("Can", "Could", "Would")) else "."
        return start + _lower_first(text.rstrip(".:")) + end
    return text.rstrip(".:") + " please" if chance < 0.36 else text


def case(text: str, rng: random.Random) -> str:
    """All lower case, sometimes."""
    return text.lower() if rng.random() < 0.25 else text


def punctuation(text: str, rng: random.Random) -> str:
    """No mark at the end, sometimes."""
    return text.rstrip("?.!") if rng.random() < 0.25 else text


def typo(text: str, rng: random.Random) -> str:
    """Sometimes two letters swapped, one lost or one doubled, in one longer word."""
    places = [match.start() for match in re.finditer(r"\b[a-zA-Z]{5,}\b", text)]
    if not places or rng.random() >= TYPO_RATE:
        return text
    at = rng.choice(places) + rng.randint(1, 3)
    a, b = text[at], text[at + 1]
    return text[:at] + rng.choice((b + a, b, a + a + b)) + text[at + 2 :]


def _lower_first(text: str) -> str:
    """The first letter lowered, but for "I" and for words in capitals."""
    if text[1:2] in ("", " ", "'") or text[:2].isupper():
        return text
    return text[0].lower() + text[1:]


STEPS: tuple[Callable[[str, random.Random], str], ...] = (
    american,
    other_how,
    contract,
    opener,
    case,
    punctuation,
    typo,
)
