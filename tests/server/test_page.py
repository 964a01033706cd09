"""The playground's files: what is served, how, and to whom."""

import re
from argparse import Namespace
from html.parser import HTMLParser
from itertools import product

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from server.keys import KeyGuard
from server.page import FOLDER
from server.plugin import DemurPlugin
from server.routes import CATEGORIES, PLAYGROUND, RouteGuard

TEXT_CONTRAST, CONTROL_CONTRAST = 4.5, 3.0
"""WCAG 2.2, 1.4.3 and 1.4.11, level AA."""


def served(*, playground: bool = True) -> FastAPI:
    app = FastAPI()
    app.state.args = Namespace(playground=playground, api_key=["secret"], log_error_stack=False)
    DemurPlugin().attach_router(app)
    app.add_middleware(KeyGuard)
    app.add_middleware(RouteGuard)
    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(served())


class References(HTMLParser):
    """Addresses in a page, and whatever would need an exception from its policy."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [given[name] or "" for name in ("src", "href") if name in given]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


class TestFiles:
    def test_all_are_served_and_no_others(self) -> None:
        assert sorted(PLAYGROUND.values()) == sorted(path.name for path in FOLDER.iterdir())

    @pytest.mark.parametrize(("path", "name"), PLAYGROUND.items())
    def test_arrive_as_they_are(self, client: TestClient, path: str, name: str) -> None:
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.content == (FOLDER / name).read_bytes()
        kinds = {"html": "text/html", "css": "text/css", "svg": "image/svg+xml"}
        kind = kinds.get(name.rpartition(".")[2], "javascript")
        assert kind in answer.headers["content-type"]
        assert client.head(path).status_code == 200

    def test_name_only_each_other(self) -> None:
        page = References()
        page.feed((FOLDER / "index.html").read_text())
        named = [address for address in page.addresses if not address.startswith("#")]
        assert named
        assert {f"/{address}" for address in named} <= PLAYGROUND.keys()
        for script in FOLDER.glob("*.js"):
            for name in re.findall(r'from "(.+?)"', script.read_text()):
                assert (FOLDER / name).is_file(), (script.name, name)

    def test_have_nothing_inline(self) -> None:
        page = References()
        page.feed((FOLDER / "index.html").read_text())
        assert page.inline == []


class TestHeaders:
    @pytest.mark.parametrize("path", PLAYGROUND)
    def test_let_nothing_in_from_elsewhere(self, client: TestClient, path: str) -> None:
        policy = client.get(path).headers["content-security-policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["require-trusted-types-for"] == "'script'"
        assert set(rules.values()) == {"'none'", "'self'", "'script'"}

    def test_let_no_site_frame_it(self, client: TestClient) -> None:
        assert "frame-ancestors 'none'" in client.get("/").headers["content-security-policy"]
        assert client.get("/").headers["x-content-type-options"] == "nosniff"


class TestWhoGetsIt:
    def test_no_key_is_needed_for_the_page_but_for_what_it_asks(self, client: TestClient) -> None:
        assert client.get("/").status_code == 200
        assert client.get(CATEGORIES).status_code == 401

    @pytest.mark.parametrize("path", PLAYGROUND)
    def test_nobody_where_it_is_turned_off(self, path: str) -> None:
        assert TestClient(served(playground=False)).get(path).status_code == 404

    @pytest.mark.parametrize("path", ["/playground/", "/playground/x.js", "/playground/../page.py"])
    def test_nothing_else_of_the_folder(self, client: TestClient, path: str) -> None:
        assert client.get(path).status_code == 404

    def test_it_is_no_part_of_the_api(self, client: TestClient) -> None:
        assert PLAYGROUND.keys().isdisjoint(client.app.openapi()["paths"])  # type: ignore[attr-defined]


def colours(scheme: int) -> dict[str, str]:
    """The palette by name, as #rrggbb; scheme: 0 for light, 1 for dark."""
    found = re.findall(
        r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", (FOLDER / "base.css").read_text()
    )
    return {name: pair[scheme] for name, *pair in found}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
class TestColours:
    def test_text_can_be_read(self, scheme: int) -> None:
        palette = colours(scheme)
        pairs = list(product(("text", "muted"), ("page", "surface", "raised")))
        pairs += [("on-accent", "accent"), ("accent", "surface"), ("refuse", "surface")]
        pairs += [("accent", "accent-soft"), ("refuse", "refuse-soft")]
        low = {pair: contrast(*(palette[name] for name in pair)) for pair in pairs}
        assert {pair: ratio for pair, ratio in low.items() if ratio < TEXT_CONTRAST} == {}

    def test_controls_can_be_seen(self, scheme: int) -> None:
        palette = colours(scheme)
        assert contrast(palette["control-line"], palette["surface"]) >= CONTROL_CONTRAST
