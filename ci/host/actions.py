"""GitHub Actions' workflow commands: the one place that knows their syntax.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path


def in_actions(environ: Mapping[str, str] = os.environ) -> bool:
    """True on a GitHub Actions runner."""
    return environ.get("GITHUB_ACTIONS") == "true"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _emit(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def start_group(title: str) -> None:
    """Open a foldable section of the log."""
    _emit(f"::group::{_escape(title)}")


def end_group() -> None:
    """Close the section opened last; sections do not nest."""
    _emit("::endgroup::")


def error(message: str) -> None:
    """Annotate the run with an error."""
    _emit(f"::error::{_escape(message)}")


def warning(message: str) -> None:
    """Annotate the run with a warning."""
    _emit(f"::warning::{_escape(message)}")


def add_mask(value: str) -> None:
    """Have the runner show asterisks wherever `value` would be logged."""
    _emit(f"::add-mask::{_escape(value)}")


def append_summary(markdown: str, environ: Mapping[str, str] = os.environ) -> None:
    """Add to the run's summary page; does nothing outside Actions."""
    if path := environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(markdown.rstrip("\n") + "\n\n")


def set_outputs(values: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> None:
    """Hand `values` to later steps; does nothing outside Actions.

    The delimiter is random, so that no value can end its own block and define another output.
    """
    if path := environ.get("GITHUB_OUTPUT"):
        with Path(path).open("a", encoding="utf-8") as output:
            for name, value in values.items():
                end = f"end-{secrets.token_hex(16)}"
                output.write(f"{name}<<{end}\n{value}\n{end}\n")
