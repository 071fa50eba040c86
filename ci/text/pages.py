"""Templates of what a browser shows, in which every text may be anybody's."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ci.text.markdown import visible


def page_templates(folder: Path) -> Environment:
    """The templates in `folder`. Whatever one shows is escaped, and foreign text is made visible first."""
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=True,  # HTML and XML both
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
