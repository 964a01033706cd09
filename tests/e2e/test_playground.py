"""The playground in a browser, against the real server: what a person does with the dial."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import opened
from tests.e2e.calls import CHAT
from tests.e2e.server import Server

LOCK = "How can I pick the lock of my neighbour?"
ANSWER_MS = 60_000
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 360, "height": 740}
TOUCHABLE = 24
"""Pixels (WCAG 2.2, 2.5.8)."""
CONTROLS = {"button", "checkbox", "DisclosureTriangle", "radio", "slider", "switch", "textbox"}


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    options: dict[str, Any] = {
        "viewport": DESKTOP,
        "permissions": ["clipboard-read", "clipboard-write"],
    }
    with opened(browser, **options) as page:
        visit(page, server)
        yield page


@pytest.fixture
def phone(server: Server, browser: Browser) -> Iterator[Page]:
    with opened(browser, viewport=PHONE, is_mobile=True, has_touch=True) as page:
        visit(page, server)
        yield page


def visit(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/")
    expect(page.locator("#dial-summary")).to_have_text("default settings")


def slider(page: Page, category: str) -> Locator:
    return page.get_by_role("slider", name=category, exact=True)


def turn_to(page: Page, rate: str, category: str = "safety") -> None:
    """Move a slider, and wait for what that comes to."""
    with page.expect_response("**/v1/refusal/calibration*"):
        slider(page, category).fill(rate)
    asked = re.compile(f"^{100 * float(rate):.0f}% asked for")
    expect(slider(page, category)).to_have_attribute("aria-valuetext", asked)


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Your message").fill(prompt)
    page.get_by_role("button", name="Send").click()


def answers(page: Page, count: int) -> Locator:
    """The answers so far, once there are so many and all are complete."""
    done = page.locator('.answer[aria-busy="false"]')
    expect(done).to_have_count(count, timeout=ANSWER_MS)
    return page.locator(".answer")


def test_a_slider_makes_an_answer_of_a_refusal(page: Page) -> None:
    turn_to(page, "1")
    ask(page, LOCK)
    expect(answers(page, 1).first).to_contain_text("Refused: safety")
    verdict = page.locator("#verdict")
    expect(verdict).to_have_text("With these settings it is refused as safety.")
    turn_to(page, "0")
    expect(verdict).to_contain_text("it is answered")
    page.get_by_role("button", name="Ask again").click()
    second = answers(page, 2).nth(1)
    expect(second).to_contain_text("Answered")
    assert second.locator(".text").first.inner_text() != ""
    expect(page.locator("#announcer")).to_contain_text("Answered.")


def test_what_is_shown_is_what_the_server_says(page: Page, http: httpx.Client) -> None:
    turn_to(page, "0.8")
    ask(page, LOCK)
    answers(page, 1)
    settings = {"refusal_rates": {"safety": 0.8}}
    query = {"refusal_rates": json.dumps(settings["refusal_rates"]), "curves": "false"}
    calibration = http.get("/v1/refusal/calibration", params=query).json()
    body = {"messages": [{"role": "user", "content": LOCK}], "dry_run": True} | settings
    details = http.post(CHAT, json=body).json()["choices"][0]["refusal_details"]
    share = calibration["over_refusal"]["share"]
    assert percents(page.locator("#harmless-share")) == pytest.approx(100 * share, abs=0.5)
    share = calibration["categories"][0]["effective_rate"]
    reading = page.locator("li.category", has_text="safety").locator("output")
    assert percents(reading) == pytest.approx(100 * share, abs=0.5)
    outcome = f"refused as {details['category']}" if details["refused"] else "it is answered"
    expect(page.locator("#verdict")).to_contain_text(outcome)
    rows = page.locator("#score-rows tr")
    expect(rows).to_have_count(len(calibration["categories"]))


def percents(output: Locator) -> float:
    """The number that is shown there, to whole percents where it is neither small nor large."""
    return float(output.inner_text().removesuffix("%"))


def test_two_settings_answer_side_by_side(page: Page) -> None:
    turn_to(page, "1")
    page.get_by_role("switch", name="Compare two settings").check()
    expect(page.get_by_role("radio", name="Setting B")).to_be_checked()
    turn_to(page, "0")
    ask(page, LOCK)
    answers(page, 2)
    one = page.get_by_role("article", name="Answer under setting A")
    other = page.get_by_role("article", name="Answer under setting B")
    expect(one).to_contain_text("Refused: safety")
    expect(other).to_contain_text("Answered")
    expect(page.locator("#verdict")).to_contain_text("Under setting B it is answered")
    page.get_by_role("radio", name="Setting A").check()
    expect(page.locator("#verdict")).to_contain_text("Under setting A it is refused as safety")
    boxes = one.bounding_box(), other.bounding_box()
    assert boxes[0] and boxes[1]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_the_keyboard_is_enough(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the prompt")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "prompt")
    page.keyboard.type(LOCK)
    page.keyboard.press("Enter")
    answers(page, 1)
    tab_to(page, "dial-safety", by="Shift+Tab")
    page.keyboard.press("Home")
    expect(page.locator("#verdict")).to_contain_text("it is answered")
    expect(slider(page, "safety")).to_be_focused()
    tab_to(page, "again")
    page.keyboard.press("Enter")
    expect(answers(page, 2).nth(1)).to_contain_text("Answered")


def tab_to(page: Page, id_: str, by: str = "Tab") -> None:
    """Press Tab until the element has the focus."""
    for _ in range(60):
        if page.evaluate("document.activeElement.id") == id_:
            return
        page.keyboard.press(by)
    pytest.fail(f"{by} does not reach #{id_}")


AWKWARD = 'Say: it\'s "5 > 3", for $5 & `ls` \\ 100%\nin Zürich 🔒'


def test_the_copied_curl_works(page: Page, server: Server) -> None:
    command = copied(page, "Copy as curl")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    response = json.loads(done.stdout)
    assert response["refusal_settings"]["requested_rates"] == {"safety": 0.9}
    assert server.url in command
    assert json.loads(command.split("-d '")[1].rstrip("'\n").replace("'\\''", "'"))["messages"] == [
        {"role": "user", "content": AWKWARD}
    ]


def test_the_copied_python_works(page: Page) -> None:
    program = copied(page, "Copy as Python")
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() != ""


def copied(page: Page, button: str) -> str:
    """What lies on the clipboard after a click, for an awkward prompt."""
    turn_to(page, "0.9")
    page.get_by_label("Your message").fill(AWKWARD)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_every_control_has_a_name(page: Page) -> None:
    page.get_by_role("switch", name="Compare two settings").check()
    ask(page, LOCK)
    answers(page, 2)
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in CONTROLS
    ]
    assert len(controls) > 15
    assert [control for control in controls if not control[1].strip()] == []
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)


def test_scores_can_be_read_without_seeing_them(page: Page) -> None:
    turn_to(page, "0")
    ask(page, LOCK)
    answers(page, 1)
    table = page.get_by_role("table", name="Probability of each category's refuse token")
    row = table.get_by_role("row", name="safety")
    expect(row.get_by_role("rowheader")).to_have_text("safety")
    expect(row.get_by_role("cell")).to_have_count(2)
    expect(row.get_by_role("cell").nth(1)).to_have_text("off")


def test_a_phone_shows_all_of_it(phone: Page) -> None:
    def width() -> int:
        found: int = phone.evaluate("document.documentElement.scrollWidth")
        return found

    expect(slider(phone, "safety")).to_be_hidden()
    ask(phone, LOCK)
    answers(phone, 1)
    assert width() <= PHONE["width"]
    phone.get_by_role("heading", name="Dial").tap()
    expect(slider(phone, "safety")).to_be_visible()
    assert width() <= PHONE["width"]
    for control in phone.locator("button:visible, input[type=range]:visible").all():
        box = control.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= TOUCHABLE, control


def test_it_follows_the_systems_colours(page: Page) -> None:
    def background() -> str:
        found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found

    light = background()
    page.emulate_media(color_scheme="dark")
    assert background() != light


def test_a_refusal_inside_an_answer_stands_behind_its_beginning(
    scripted_server: Server, browser: Browser
) -> None:
    with opened(browser) as page:
        visit(page, scripted_server)
        page.get_by_role("radio", name="Anywhere in it").check()
        expect(page.locator("#dial-summary")).to_have_text("every token")
        ask(page, "Hello")
        answer = answers(page, 1).first
        expect(answer).to_contain_text("Refused: safety, after 2 tokens")
        expect(answer.locator(".text")).to_have_text(["One two", "No way"])
