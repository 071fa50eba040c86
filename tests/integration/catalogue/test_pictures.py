"""The pages as pictures, to be looked at: dist/catalogue-pictures."""

import pytest

from tests.integration.catalogue.conftest import PICTURES
from tests.support.browser import Browser

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [("desktop", 1280, False), ("desktop-dark", 1280, True), ("phone", 360, False), ("phone-dark", 360, True)],
)
def test_pictures_are_kept(browser: Browser, site: str, name: str, width: int, *, dark: bool) -> None:
    browser.open(site, width=width, dark=dark)
    browser.picture(PICTURES / f"{name}.png")
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.picture(PICTURES / f"{name}-open.png")
    assert (PICTURES / f"{name}.png").stat().st_size > 10_000
