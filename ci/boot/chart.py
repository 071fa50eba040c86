"""The chart of how the guest spent its start, as systemd draws it."""

import contextlib
import xml.etree.ElementTree as ET
from pathlib import Path

from ci.boot.boot import Guest
from ci.host.errors import BootError
from ci.host.files import write_atomic

CHART_COMMAND = "systemd-analyze plot"
SVG = "{http://www.w3.org/2000/svg}"


async def save_boot_chart(guest: Guest, path: Path) -> None:
    """Write the chart to `path`, where the guest gives one. It is an extra: its lack is no failure."""
    with contextlib.suppress(BootError):
        answer = await guest.machine.until(guest.run(CHART_COMMAND), guest.boot.limit(), "the boot chart")
        if answer.exit_status == 0 and is_plain_svg(answer.stdout):
            write_atomic(path, answer.stdout)


def is_plain_svg(text: str) -> bool:
    """True for an SVG that can do nothing but be looked at: people open it in a browser, and the guest wrote it."""
    if "<!ENTITY" in text:
        return False
    try:
        root = ET.fromstring(text)  # noqa: S314 - without entities there is nothing to expand
    except ET.ParseError:
        return False
    names = {element.tag for element in root.iter()}
    attributes = {name.lower() for element in root.iter() for name in element.attrib}
    active = {f"{SVG}{name}" for name in ("script", "foreignObject", "image", "use", "a")}
    return root.tag == f"{SVG}svg" and not names & active and not any(name.startswith("on") for name in attributes)
