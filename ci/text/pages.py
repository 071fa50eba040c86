"""Templates of what a browser shows, and of Markdown, in which every text may be anybody's."""

import re
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup

from ci.text.markdown import Markdown, code
from ci.text.visible import visible


def page_templates(folder: Path) -> Environment:
    """The templates in `folder`. Whatever one shows is escaped, and foreign text is made visible first."""
    return _environment(
        folder,
        autoescape=True,  # HTML and XML both
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )


def markdown_templates(folder: Path) -> Environment:
    """The templates in `folder`, for `rendered`. Whatever text one shows becomes a code span, unless it is Markdown."""
    return _environment(folder, autoescape=False, finalize=_as_markdown)


def rendered(templates: Environment, name: str, **context: object) -> Markdown:
    """What a template of Markdown says, with no more than one empty line between blocks."""
    text = templates.get_template(name).render(context)
    return Markdown(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


def _as_markdown(value: object) -> object:
    if isinstance(value, Markdown | int | Undefined):
        return value
    if isinstance(value, str):
        return code(value)
    raise TypeError(f"a template must not show {value!r}")


def _environment(folder: Path, *, autoescape: bool, finalize: Callable[[object], object]) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=autoescape,  # noqa: S701 - in Markdown it is `finalize` that escapes
        finalize=finalize,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
