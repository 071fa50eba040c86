"""A headless Chromium of the test's own, which tells what it asks the network for and what it complains of."""

import json
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.command import Command

from ci.host import actions
from ci.host.process import held_port

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # for root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
BROWSERS = ("chromium", "google-chrome")


class Browser:
    """One window. `driver` is Selenium's."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False, script: bool = True) -> None:
        """Open a page anew, on a screen of this size and in this colour scheme."""
        self.command("Network.enable", {})
        self.command("Emulation.setScriptExecutionDisabled", {"value": not script})
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", {"features": scheme})
        self.resize(width, height)
        self.requests()
        self.driver.get(url)

    def resize(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", metrics)

    def command(self, name: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        return self.driver.execute_cdp_cmd(name, parameters)

    def value(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - JSON
        """What a function's body returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def requests(self) -> list[str]:
        """The addresses asked for since this was last looked at, but for data in the address itself."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if urlsplit(url).scheme != "data"]

    def complaints(self) -> list[str]:
        """What was written to the console since this was last looked at: errors, warnings, broken rules."""
        return [entry["message"] for entry in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, str]]:
        entries: list[dict[str, str]] = self.driver.execute(Command.GET_LOG, {"type": kind})["value"]
        return entries

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save what the page looks like, all of it or what the screen shows."""
        size = self.command("Page.getLayoutMetrics", {})["cssContentSize"]
        area = {"clip": {**size, "scale": 1}, "captureBeyondViewport": True} if whole else {}
        data = self.command("Page.captureScreenshot", {"format": "png", **area})["data"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b64decode(data))


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile is new, in `folder`."""
    options = ChromeOptions()
    options.binary_location = _found(*BROWSERS)
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with held_port() as port:
        driver = Chrome(options=options, service=Service(executable_path=_found("chromedriver"), port=port))
        try:
            driver.set_page_load_timeout(120)
            driver.set_script_timeout(120)
            yield Browser(driver)
        finally:
            driver.quit()


def _found(*names: str) -> str:
    path = next((path for name in names if (path := shutil.which(name))), None)
    if path is None:
        problem = f"none of {', '.join(names)} is installed; scripts/setup.sh --tests does that where it can"
        if actions.in_actions():
            pytest.fail(problem)
        pytest.skip(problem)
    return path
