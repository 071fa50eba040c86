"""The page by the rules of axe-core, contrast included: on both kinds of screen, in both colour schemes."""

from typing import Any

import pytest

from ci.host.repository import ROOT
from tests.support.browser import Browser

pytestmark = pytest.mark.integration

AXE = (ROOT / "tests/support/node_modules/axe-core/axe.min.js").read_text()
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations", "incomplete"] }).then(
  (found) => done(["violations", "incomplete"].map((kind) => found[kind].map((rule) => ({
    id: rule.id, help: rule.help, nodes: rule.nodes.map((node) => `${node.html.slice(0, 120)}: ${node.failureSummary}`),
  })))),
  (error) => done(String(error)),
);
"""
DRAWN = """
return [...new Set([...document.querySelectorAll("svg text")].map((one) => getComputedStyle(one).fill))].sort();
"""
DECIDED = """
return ["figcaption", ".panel dd"].map((one) => getComputedStyle(document.querySelector(one)).color).sort();
"""


def examine(browser: Browser) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What axe finds wrong, and what it cannot decide."""
    browser.value(AXE)
    violations, undecided = browser.driver.execute_async_script(RUN)
    return violations, undecided


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_rule_is_broken(browser: Browser, site: str, width: int, *, dark: bool) -> None:
    browser.open(site, width=width, dark=dark)
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    violations, undecided = examine(browser)
    assert violations == []
    # axe does not look behind the text of a drawing, which has the colours of texts that it did decide about.
    nodes = [node for rule in undecided for node in rule["nodes"]]
    assert [node for node in nodes if not node.startswith('<text class="')] == []
    assert browser.value(DRAWN) == browser.value(DECIDED)


def test_the_two_colour_schemes_differ(browser: Browser, site: str) -> None:
    colours = set()
    for dark in (False, True):
        browser.open(site, dark=dark)
        colours.add(browser.value("return getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2


def test_poor_contrast_would_be_found(browser: Browser, site: str) -> None:
    browser.open(site)
    browser.value("for (const one of document.querySelectorAll('h1')) { one.style.color = '#c0c0c0'; }")
    violations, _ = examine(browser)
    assert [rule["id"] for rule in violations] == ["color-contrast"]


def test_a_screen_reader_meets_a_table_on_a_phone_too(browser: Browser, site: str) -> None:
    browser.open(site, width=360)
    tree = browser.command("Accessibility.getFullAXTree", {})["nodes"]
    roles = [node["role"]["value"] for node in tree if not node["ignored"]]
    assert roles.count("rowheader") == 3
    assert roles.count("image") + roles.count("img") == 4  # two charts, and two of the latest release
    assert "table" in roles
