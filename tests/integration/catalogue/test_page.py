"""What the page does in a real browser: with a mouse, with a keyboard, without a network, without scripts."""

import json
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from ci.records.manifest_rules import read_manifest
from ci.records.release import ReleaseRecord
from tests.integration.catalogue.conftest import build, serving
from tests.support.browser import Browser
from tests.support.rehearsed import RELEASES

pytestmark = pytest.mark.integration

TAGS = [one.tag for one in reversed(RELEASES)]
WIDTHS = (1280, 768, 360, 320)

SHOWN = """
return [...document.querySelectorAll("tbody.release")].filter((one) => one.offsetParent).map((one) => one.id);
"""
# Boxes of texts and controls that a person must be able to tell apart.
OVERLAPS = """
const boxes = [...document.querySelectorAll("h1,h2,h3,dt,dd,th,td,button,input,label,summary,pre,svg,p,svg text.axis")]
  .filter((one) => !one.closest(".hidden-text, .skip") && one.checkVisibility())
  .map((one) => ({ one, box: one.getBoundingClientRect() }))
  .filter(({ box }) => box.width > 0 && box.height > 0);
const found = [];
for (const [number, a] of boxes.entries()) {
  for (const b of boxes.slice(number + 1)) {
    if (a.one.contains(b.one) || b.one.contains(a.one)) continue;
    const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
    const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
    if (wide > 1 && high > 1) found.push(`${a.one.outerHTML.slice(0, 80)} | ${b.one.outerHTML.slice(0, 80)}`);
  }
}
return found;
"""
OUTSIDE = """
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll("body *")]
  .filter((one) => !one.closest("pre, svg, .hidden-text, .skip") && one.getBoundingClientRect().right > width + 0.5)
  .map((one) => one.outerHTML.slice(0, 80));
"""


def record(releases: Path, tag: str) -> ReleaseRecord:
    return ReleaseRecord.model_validate_json((releases / f"{tag}.json").read_bytes())


def press(browser: Browser, *keys: str) -> None:
    """Type to whatever has the focus."""
    browser.driver.switch_to.active_element.send_keys(*keys)


def wait_until_said(browser: Browser, words: str) -> None:
    found = browser.driver.find_element(By.ID, "said")
    WebDriverWait(browser.driver, 30).until(lambda _: words in (found.get_attribute("textContent") or ""))


def clipboard(browser: Browser) -> str:
    text: str = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    return text


def allow_clipboard(browser: Browser, origin: str) -> None:
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.command("Browser.grantPermissions", {"origin": origin, "permissions": permissions})


def test_every_release_is_there_newest_first(browser: Browser, site: str, releases: Path) -> None:
    browser.open(site)
    assert browser.value(SHOWN) == TAGS
    for tag in TAGS:
        rows = browser.driver.find_element(By.ID, tag)
        image = record(releases, tag).image
        for words in (tag, f"{image.built_at:%Y-%m-%d}", image.qcow2.sha256, image.distribution, "without KVM"):
            assert words in rows.text
        assert f"{image.validation.ssh_seconds['consumer']:.1f} s" in rows.text
        assert rows.find_element(By.LINK_TEXT, tag).get_attribute("href") == record(releases, tag).url
    assert "1 upgraded, 1 added, 1 removed" in browser.driver.find_element(By.ID, TAGS[1]).text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("opened", [False, True], ids=["closed", "open"])
def test_nothing_overlaps_or_is_cut_off(browser: Browser, site: str, width: int, *, opened: bool) -> None:
    browser.open(site, width=width)
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = arguments[0]; })", opened)
    assert browser.value("return document.documentElement.scrollWidth") == width
    assert browser.value(OUTSIDE) == []
    assert browser.value(OVERLAPS) == []


def test_nothing_is_asked_of_others_and_nothing_is_complained_of(browser: Browser, site: str) -> None:
    browser.complaints()
    for dark in (False, True):
        browser.open(site, dark=dark)
        browser.driver.find_element(By.ID, "filter").send_keys("curl", Keys.ESCAPE)
        browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert browser.requests() == [site]
    assert browser.complaints() == []


def test_a_request_to_elsewhere_would_be_refused_by_the_pages_own_policy(browser: Browser, site: str) -> None:
    browser.open(site)
    script = """
    const done = arguments[0];
    addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
    document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/picture.png" }));
    """
    assert browser.driver.execute_async_script(script) == "img-src"
    assert len(browser.complaints()) == 1


@pytest.mark.parametrize("what", ["digest", "snippet"])
def test_a_button_copies(browser: Browser, site: str, releases: Path, what: str) -> None:
    browser.open(site)
    allow_clipboard(browser, site)
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.driver.find_element(By.CSS_SELECTOR, f"button[data-copy='{what}-{TAGS[1]}']").click()
    wait_until_said(browser, f"of {TAGS[1]}")
    copied, image = clipboard(browser), record(releases, TAGS[1]).image
    if what == "digest":
        assert copied == image.qcow2.sha256
    else:
        document = json.dumps({**json.loads(copied), "tools": {}, "operations": []})
        found = read_manifest(document.encode(), "copied")["image"]
        assert (found["qcow2"], found["qcow2_sha256"]) == (image.qcow2.url, image.qcow2.sha256)


def test_the_latest_releases_snippet_is_copied_from_the_top(browser: Browser, site: str, releases: Path) -> None:
    browser.open(site)
    allow_clipboard(browser, site)
    browser.driver.find_element(By.CSS_SELECTOR, "button[data-copy='latest-snippet']").click()
    wait_until_said(browser, "Copied the manifest snippet")
    assert json.loads(clipboard(browser))["image"]["qcow2_sha256"] == record(releases, TAGS[0]).image.qcow2.sha256


@pytest.mark.parametrize("works", [True, False], ids=["old command", "neither"])
def test_where_the_clipboard_is_closed_the_text_is_selected(
    browser: Browser, site: str, releases: Path, *, works: bool
) -> None:
    browser.open(site)
    refuse = "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
    browser.value(refuse + ("" if works else "document.execCommand = () => false;"))
    browser.driver.find_element(By.CSS_SELECTOR, f"button[data-copy='digest-{TAGS[0]}']").click()
    wait_until_said(browser, "Copied" if works else "Ctrl+C")
    sha256 = record(releases, TAGS[0]).image.qcow2.sha256
    assert browser.value("return getSelection().toString()") == sha256
    if works:
        browser.open(site)
        allow_clipboard(browser, site)
        assert clipboard(browser) == sha256


def test_the_filter_works_from_the_keyboard(browser: Browser, site: str) -> None:
    browser.open(site)
    count = browser.driver.find_element(By.ID, "count")
    for _ in range(40):
        press(browser, Keys.TAB)
        if browser.value("return document.activeElement.id") == "filter":
            break
    press(browser, "nano 11.16")
    assert browser.value(SHOWN) == [TAGS[1]]
    assert count.text == "1 of 3 releases"
    press(browser, Keys.ENTER)
    assert browser.driver.current_url == site
    press(browser, "!")
    assert browser.value(SHOWN) == []
    assert count.text.startswith("0 of 3 releases")
    press(browser, Keys.ESCAPE)
    assert browser.value(SHOWN) == TAGS
    assert count.text == "3 releases"


def test_escape_empties_the_filter_in_browsers_that_do_not_do_so_themselves(browser: Browser, site: str) -> None:
    browser.open(site)
    browser.driver.find_element(By.ID, "filter").send_keys("nano")
    assert browser.value(SHOWN) != TAGS
    # A key that a script pressed has no effect of the browser's own.
    browser.value("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
    assert browser.value(SHOWN) == TAGS


def test_the_first_stop_of_the_keyboard_leads_to_the_releases(browser: Browser, site: str) -> None:
    browser.open(site)
    press(browser, Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Skip to the releases"
    assert browser.value("return document.activeElement.getBoundingClientRect().left") >= 0
    press(browser, Keys.ENTER)
    assert browser.value("return document.activeElement.id") == "releases"


def test_a_keyboard_sees_where_it_is(browser: Browser, site: str) -> None:
    browser.open(site)
    for _ in range(12):
        press(browser, Keys.TAB)
        outline = browser.value("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", browser.value("return document.activeElement.outerHTML")


def test_without_scripts_everything_can_be_read_and_no_dead_control_is_shown(
    browser: Browser, site: str, releases: Path
) -> None:
    browser.open(site, script=False)
    text = browser.driver.find_element(By.TAG_NAME, "body").text
    for tag in TAGS:
        assert record(releases, tag).image.qcow2.sha256 in text
    assert not any(one.is_displayed() for one in browser.driver.find_elements(By.CSS_SELECTOR, "button, input"))
    browser.driver.find_element(By.TAG_NAME, "summary").click()
    assert browser.driver.find_element(By.ID, f"snippet-{TAGS[0]}").is_displayed()
    browser.open(site)


def test_a_page_opened_from_disk_works_too(browser: Browser, catalogue: Path) -> None:
    browser.complaints()
    url = (catalogue / "index.html").as_uri()
    browser.open(url)
    browser.driver.find_element(By.CSS_SELECTOR, f"button[data-copy='digest-{TAGS[0]}']").click()
    wait_until_said(browser, "the SHA-256")
    browser.driver.find_element(By.ID, "filter").send_keys(TAGS[0])
    assert browser.value(SHOWN) == [TAGS[0]]
    assert browser.requests() == [url]
    assert browser.complaints() == []


def test_before_the_first_release_the_page_says_how_it_comes(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    browser.complaints()
    with serving(build(tmp_path / "releases", tmp_path / "site", tmp_path / "log")) as url:
        browser.open(url, width=320)
        assert "No release yet" in browser.driver.find_element(By.TAG_NAME, "main").text
        assert browser.value("return document.documentElement.scrollWidth") == 320
    assert browser.complaints() == []
