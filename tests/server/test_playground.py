"""The playground in a browser, over the server's own answers about the dial, without an engine.

What needs a model's answers is in tests/e2e/test_playground.py.
"""

import json
import socket
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Locator, Page, Route, expect

from server.checkpoint import Checkpoint
from server.keys import KeyGuard
from server.operator_policy import OperatorPolicy
from server.plugin import DemurPlugin
from server.refusal_texts import RefusalTexts
from server.routes import CHAT, RouteGuard
from steering.bounds import Bounds, Range
from steering.policy import Policy
from tests.browser import opened

READY_S = 60
KEY = "open sesame"


def application(checkpoint: Checkpoint, policy: Policy, keys: list[str]) -> FastAPI:
    """Our routes and the page, with vLLM's list of models in front of no engine."""
    app = FastAPI()
    app.state.args = Namespace(playground=True, api_key=keys, log_error_stack=False)
    app.add_api_route("/v1/models", lambda: {"data": [{"id": "tiny"}]})
    DemurPlugin().attach_router(app)
    operator = Namespace(current=OperatorPolicy(policy))
    app.state.openai_serving_chat = Namespace(
        checkpoint=checkpoint,
        operator=operator,
        admission=Namespace(texts=RefusalTexts(checkpoint.manifest)),
        model_config=Namespace(dtype="torch.float32"),
    )
    app.add_middleware(KeyGuard)
    app.add_middleware(RouteGuard)
    return app


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The URL at which `app` is served until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + READY_S
        while not server.started and time.monotonic() < end:
            time.sleep(0.01)
        assert server.started
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(READY_S)


Visit = Callable[..., Page]


@pytest.fixture
def visit(checkpoint: Checkpoint, browser: Browser) -> Iterator[Visit]:
    """A page on a server with these keys, and this policy instead of the checkpoint's."""
    with ExitStack() as stack:

        def go(
            policy: Policy | None = None, keys: list[str] | None = None, expected: str | None = None
        ) -> Page:
            app = application(checkpoint, policy or checkpoint.policy, keys or [])
            url = stack.enter_context(listening(app))
            page = stack.enter_context(opened(browser, expected))
            page.goto(url)
            return page

        yield go


def slider(page: Page, category: str) -> Locator:
    return page.get_by_role("slider", name=category, exact=True)


class TestSliders:
    def test_say_what_a_rate_comes_to(self, visit: Visit) -> None:
        page = visit()
        row = page.locator("li.category", has_text="safety")
        expect(row.locator("output")).to_have_text("100%")
        expect(row.locator(".interval")).to_have_text("16\N{EN DASH}100%")
        slider(page, "safety").fill("0")
        expect(row.locator("output")).to_have_text("0%")
        expect(row.locator(".interval")).to_have_text("0\N{EN DASH}84%")
        expect(slider(page, "safety")).to_have_attribute(
            "aria-valuetext", "0% asked for; 0% refused, 0 to 84% of new prompts"
        )

    def test_go_back_to_the_default(self, visit: Visit) -> None:
        page = visit()
        slider(page, "safety").fill("0.5")
        expect(page.locator("#dial-summary")).to_have_text("safety 50%")
        page.get_by_role("button", name="Default for safety").click()
        expect(page.locator("#dial-summary")).to_have_text("default settings")
        expect(slider(page, "safety")).to_have_value("1")
        expect(slider(page, "safety")).to_be_focused()

    def test_stay_within_the_operators_bounds(self, visit: Visit, checkpoint: Checkpoint) -> None:
        ranges = {"safety": Range(default=0.5, floor=0.5), "temporal": Range(0.5, 0.5, 0.5)}
        page = visit(checkpoint.policy_within(Bounds(ranges)))
        safety = slider(page, "safety")
        expect(safety).to_have_attribute("min", "0.5")
        safety.focus()
        page.keyboard.press("Home")
        expect(safety).to_have_value("0.5")
        expect(safety).to_have_accessible_description("At least 50% here.")
        expect(slider(page, "temporal")).to_be_disabled()
        expect(slider(page, "temporal")).to_have_accessible_description(
            "The operator fixed it at 50%."
        )
        expect(page.get_by_role("alert")).to_have_count(0)

    def test_say_what_does_not_come_out_as_asked(self, visit: Visit) -> None:
        page = visit()
        slider(page, "safety").fill("0.25")
        expect(page.locator("#warnings p")).not_to_have_count(0)
        expect(page.locator("#warnings")).to_contain_text("safety")

    def test_show_the_latest_answer_only(self, visit: Visit) -> None:
        page = visit()
        for value in ("0.1", "0.9", "0.3", "0"):
            slider(page, "safety").fill(value)
        row = page.locator("li.category", has_text="safety")
        expect(row.locator("output")).to_have_text("0%")
        expect(page.locator("#dial-summary")).to_have_text("safety 0%")


class TestWithoutCalibration:
    @pytest.fixture
    def page(self, visit: Visit, checkpoint: Checkpoint) -> Page:
        return visit(Policy(checkpoint.manifest, {}))

    def test_sliders_are_thresholds(self, page: Page) -> None:
        expect(page.locator("#dial-help")).to_contain_text("no calibration")
        safety = slider(page, "safety")
        expect(safety).to_have_attribute("aria-valuetext", "p ≥ 50.0%")
        safety.fill("1")
        expect(safety).to_have_attribute("aria-valuetext", "off")
        safety.fill("0")
        expect(safety).to_have_attribute("aria-valuetext", "refuses all")
        expect(page.locator("#dial-summary")).to_have_text("safety from p = 0")

    def test_there_is_no_over_refusal_to_expect(self, page: Page) -> None:
        expect(slider(page, "safety")).to_have_attribute("aria-valuetext", "p ≥ 50.0%")
        expect(page.locator("#harmless")).to_be_hidden()


class TestScope:
    def test_is_a_switch_where_there_are_several(self, visit: Visit) -> None:
        page = visit()
        anywhere = page.get_by_role("radio", name="Anywhere in it")
        expect(page.get_by_role("radio", name="Before the answer")).to_be_checked()
        with page.expect_response("**/v1/refusal/calibration*") as answer:
            anywhere.check()
        assert answer.value.json()["refusal_settings"]["scope"] == "every_token"
        expect(page.locator("#dial-summary")).to_have_text("every token")

    def test_is_no_question_where_there_is_one(self, visit: Visit, checkpoint: Checkpoint) -> None:
        page = visit(checkpoint.policy_within(Bounds({}, scopes=("first_token",))))
        expect(slider(page, "safety")).to_be_visible()
        expect(page.locator("#scope")).to_be_hidden()


class TestKey:
    @pytest.fixture
    def page(self, visit: Visit) -> Page:
        # A browser logs every 401 to its console.
        return visit(keys=[KEY], expected="401")

    def test_is_asked_for_when_the_server_wants_one(self, page: Page) -> None:
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog).to_contain_text("This server asks for an API key (it answered 401).")
        dialog.get_by_label("Key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("The server does not know this key")
        dialog.get_by_label("Key", exact=True).fill(KEY)
        page.keyboard.press("Enter")
        expect(slider(page, "safety")).to_be_visible()
        expect(page.locator("#model")).to_have_text("tiny")

    def test_stays_in_the_tab_and_out_of_what_is_shown(self, page: Page) -> None:
        page.get_by_label("Key", exact=True).fill(KEY)
        page.keyboard.press("Enter")
        expect(slider(page, "safety")).to_be_visible()
        page.reload()
        expect(slider(page, "safety")).to_be_visible()
        assert KEY not in page.content()
        assert page.context.cookies() == []
        assert page.evaluate("localStorage.length") == 0
        page.get_by_role("button", name="API key").click()
        page.get_by_role("button", name="Forget it").click()
        expect(page.get_by_role("dialog", name="API key")).to_contain_text("answered 401")


class TestAnswers:
    """Of a server that says what no model here would."""

    HTML = "<img src=x onerror=alert(1)><b>bold</b>"

    def test_are_text_whatever_they_say(self, visit: Visit) -> None:
        page = visit()
        chunk = json.dumps({"choices": [{"index": 0, "delta": {"content": self.HTML}}]})
        page.route(
            f"**{CHAT}",
            lambda route: route.fulfill(body=f"data: {chunk}\n\ndata: [DONE]\n\n"),
        )
        page.get_by_label("Your message").fill(self.HTML)
        page.keyboard.press("Enter")
        expect(page.locator(".answer .text").first).to_have_text(self.HTML)
        expect(page.locator(".turn .prompt")).to_contain_text(self.HTML)
        expect(page.locator(".turn :is(img, b)")).to_have_count(0)

    def test_come_to_what_was_asked_before_the_page_knew_its_server(self, visit: Visit) -> None:
        page, held = visit(), list[Route]()
        page.route("**/v1/models", lambda route: held.append(route))
        page.route(f"**{CHAT}", lambda route: route.fulfill(body="data: [DONE]\n\n"))
        with page.expect_request("**/v1/models"):
            page.reload()
        message = page.get_by_label("Your message")
        message.fill("Hello")
        message.press("Enter")
        message.press("Enter")
        expect(page.locator(".turn")).to_have_count(0)
        expect(message).to_have_value("Hello")
        held[0].continue_()
        expect(page.locator(".turn .prompt")).to_contain_text("Hello")
        expect(page.locator(".turn")).to_have_count(1)
        expect(message).to_have_value("")

    def test_can_be_stopped(self, visit: Visit) -> None:
        page, held = visit(), list[Route]()
        page.route(f"**{CHAT}", lambda route: held.append(route))
        page.get_by_label("Your message").fill("Hello")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_role("article", name="Answer")).to_contain_text("Stopped.")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        assert len(held) == 1

    def test_that_break_off_are_said_to(self, visit: Visit) -> None:
        page = visit()
        page.route(f"**{CHAT}", lambda route: route.fulfill(body='data: {"choices": []}\n\n'))
        page.get_by_label("Your message").fill("Hello")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("before it was complete")


def test_no_script_can_write_html(visit: Visit) -> None:
    page = visit(expected="TrustedHTML")
    refused = page.evaluate(
        "(() => { try { document.body.innerHTML = 'x' } catch (error) { return error.name } })()"
    )
    assert refused == "TypeError"
