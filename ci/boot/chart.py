"""The chart of how the guest spent its start, as systemd draws it."""

import xml.etree.ElementTree as ET
from pathlib import Path

from ci.boot.vm.machine import Machine
from ci.boot.vm.ssh import Session
from ci.host.errors import BootError
from ci.host.files import write_atomic

CHART_COMMAND = "systemd-analyze plot"
SVG = "{http://www.w3.org/2000/svg}"


async def save_boot_chart(running: Machine, session: Session, path: Path, limit: float) -> bool:
    """Write the chart to `path`, and tell whether the guest gave one. It is an extra: its lack is no failure."""
    try:
        answer = await running.until(session.run(CHART_COMMAND, limit), limit, "the boot chart")
    except BootError:
        return False
    if answer.exit_status != 0 or not is_plain_svg(answer.stdout):
        return False
    write_atomic(path, answer.stdout)
    return True


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
