"""Whether a picture that people open in a browser can do anything but be looked at."""

import xml.etree.ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"


def is_plain_svg(text: str) -> bool:
    """True for an SVG that can do nothing but be looked at."""
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
