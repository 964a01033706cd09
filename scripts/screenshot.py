"""The README's picture of the playground: python -m scripts.screenshot URL FILE.png.

URL is a running server's with the demonstration model; needs Chromium and Playwright.
"""

import sys

from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import chromium

PROMPT = "Are you happy today?"
CATEGORY = "humanizing"
PATIENCE_MS = 60_000


def main(url: str, file: str) -> None:
    """Ask, turn the dial down, ask again, and take a picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium())
        page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
        page.goto(url)
        page.get_by_label("Your message").fill(PROMPT)
        page.keyboard.press("Enter")
        wait_for_answers(page, 1)
        page.get_by_role("slider", name=CATEGORY).fill("0")
        expect(page.locator("#verdict")).to_contain_text("it is answered")
        page.get_by_role("button", name="Ask again").click()
        wait_for_answers(page, 2)
        page.screenshot(path=file)
        browser.close()


def wait_for_answers(page: Page, count: int) -> None:
    """Return once there are so many answers, all complete."""
    answers = page.locator('.answer[aria-busy="false"]')
    expect(answers).to_have_count(count, timeout=PATIENCE_MS)


if __name__ == "__main__":
    main(*sys.argv[1:])
