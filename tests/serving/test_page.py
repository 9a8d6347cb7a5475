"""The page in a real browser: a member is scored against jobs, and coefficients move as they are learned."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pydantic import SecretStr
from serving_ground import application, learn, listening

from stream_qa.coefficients import CoefficientStore

pytestmark = pytest.mark.browser

# On a busy machine; what is expected is waited for, and no longer.
expect.set_options(timeout=60_000)

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give the system's chromium."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("there is no chromium: apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def store() -> CoefficientStore:
    """Give a store in which a member and a job have learned."""
    store = CoefficientStore()
    learn(store, "member", "m-1", [0.5, 2.0], version=3, labels=4)
    learn(store, "job", "j-1", [-1.0, 0.25, 0.5], version=9, labels=7)
    return store


@pytest.fixture
def page(browser: Browser, store: CoefficientStore) -> Iterator[Page]:
    """Give the page of a service over it; anything it complains about, or asks for elsewhere, fails the test."""
    with listening(application(store)) as address, browser.new_context(base_url=address) as context:
        page = context.new_page()
        complaints: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto("/")
        yield page
        assert complaints == []
        assert [url for url in asked if not url.startswith((address, "data:"))] == []


def score(page: Page, jobs: str = "j-1 5\nj-new\t1") -> None:
    """Fill the form in and send it, by the names that a screen reader says."""
    expect(page.get_by_text("Model 2026-01-01-abc: features two-and-one")).to_be_visible()
    page.get_by_label("Features of the member").fill("3, 14")
    page.get_by_label("Jobs and their features").fill(jobs)
    page.get_by_role("button", name="Score").click()


def rows(page: Page, table: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in row.locator("th, td").all_inner_texts()]
        for row in page.get_by_role("table", name=table).locator("tbody tr").all()
    ]


def test_a_member_is_scored_against_jobs_part_by_part_the_best_first(page: Page) -> None:
    score(page)
    expect(page.get_by_role("status")).to_have_text("2 scored.")
    assert rows(page, "Scores of the jobs, the best first") == [
        ["j-1", "95.3%", "+3.000", "\u22120.250", "+2.500", "+0.750", "7"],
        ["j-new", "50.0%", "0.000", "\u22120.500", "+0.500", "0.000", "0"],
    ]
    bars = page.locator("#scores tbody tr").first.locator("rect")
    assert [(bar.get_attribute("class"), float(bar.get_attribute("width") or 0)) for bar in bars.all()] == [
        ("against", 5.0),
        ("for", 50.0),
        ("for", 15.0),
    ]


def test_what_was_learned_of_the_member_and_of_each_job_can_be_looked_at(page: Page) -> None:
    score(page)
    expect(page.get_by_text("Version 3, from 4 labels, the newest of 2026-01-05 00:00:00 UTC.")).to_be_visible()
    coefficients = "Coefficients, and how far they have moved since they were first shown"
    assert rows(page, coefficients) == [
        ["everything (intercept)", "+0.500", "0.000"],
        ["feature 1 of the job", "+2.000", "0.000"],
    ]
    page.get_by_label("Coefficients of").select_option("job j-1")
    expect(page.get_by_text("Version 9, from 7 labels")).to_be_visible()
    assert [row[1] for row in rows(page, coefficients)] == ["\u22121.000", "+0.250", "+0.500"]
    page.get_by_label("Coefficients of").select_option("job j-new")
    expect(page.get_by_text("The job j-new has not learned yet: the global model decides.")).to_be_visible()


def test_kept_up_to_date_scores_and_coefficients_move_as_they_are_learned(page: Page, store: CoefficientStore) -> None:
    score(page)
    expect(page.get_by_text("Version 3, from 4 labels")).to_be_visible()
    page.get_by_label("Keep up to date").check()
    learn(store, "member", "m-1", [1.5, 2.0], version=4, labels=5)
    expect(page.get_by_role("status")).to_have_text("The member m-1 moved to version 4.")
    expect(page.get_by_text("Version 4, from 5 labels")).to_be_visible()
    first = page.locator("#coefficients tbody tr").first
    expect(first).to_contain_text("+1.500")
    expect(first.locator("td").last).to_have_text("+1.000")
    expect(page.locator("#scores tbody tr").first).to_contain_text("+4.000")


def test_what_is_wrong_is_said_and_what_was_shown_stays(page: Page) -> None:
    score(page)
    expect(page.get_by_role("status")).to_have_text("2 scored.")
    page.get_by_label("Features of the member").fill("3, many")
    page.get_by_role("button", name="Score").click()
    expect(page.get_by_role("alert")).to_have_text("many is not a number.")
    assert len(rows(page, "Scores of the jobs, the best first")) == 2


def test_an_id_is_shown_as_text_whatever_it_is(page: Page) -> None:
    score(page, "<img/src=x/onerror=alert(1)> 1")
    expect(page.locator("#scores tbody th")).to_have_text("<img/src=x/onerror=alert(1)>")
    assert page.locator("#scores img").count() == 0


def test_it_can_be_used_with_the_keyboard_alone_and_everything_has_a_name(page: Page) -> None:
    expect(page.get_by_text("Model 2026-01-01-abc")).to_be_visible()
    page.get_by_label("Member", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 scored.")
    unnamed = page.locator("input, textarea, select, button").evaluate_all(
        "all => all.filter(one => one.tagName !== 'BUTTON' && one.labels.length === 0).map(one => one.id)"
    )
    assert unnamed == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("heading", level=1).count() == 1


def test_with_a_token_it_asks_for_it(browser: Browser, store: CoefficientStore) -> None:
    served = application(store, settings={"serve_token": SecretStr("secret")})
    with listening(served) as address, browser.new_context(base_url=address) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.get_by_text("401: the header Authorization must be Bearer")).to_be_visible()
        page.get_by_label("Token").fill("secret")
        page.get_by_label("Token").press("Tab")
        score(page)
        expect(page.get_by_role("status")).to_have_text("2 scored.")
