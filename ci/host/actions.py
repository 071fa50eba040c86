"""GitHub Actions' workflow commands: the one place that knows their syntax.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ci.text.markdown import Markdown
from ci.text.visible import visible


def in_actions(environ: Mapping[str, str] = os.environ) -> bool:
    """True on a GitHub Actions runner."""
    return environ.get("GITHUB_ACTIONS") == "true"


def tell(command: Literal["error", "warning", "add-mask"], text: str) -> None:
    """Give the runner a command.

    `error` and `warning` annotate the run. After `add-mask` the runner shows asterisks wherever the text would be
    logged. There are no groups: what our tools print goes to the log file, so that a fold would hide nothing.
    """
    shown = text if command == "add-mask" else visible(text, "", "\r\n\t")
    escaped = shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::{command}::{escaped}", file=sys.stderr, flush=True)


def append_summary(markdown: Markdown, environ: Mapping[str, str] = os.environ) -> None:
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
