"""List the commands, with what each does."""

import ast
import shutil
import sys
import textwrap
from pathlib import Path

# In the order in which a reader meets them. Each is run as `python -m ci.NAME`.
GROUPS = {
    "The line, from a base image to its consumers": (
        "build_image", "validate_image", "publish_release", "propose_rollout",
    ),
    "To try it": ("demo", "rehearse", "doctor"),
    "Around it": ("refresh_base", "compare", "verify_release", "ensure_vm", "build_catalogue"),
    "To measure it": ("bench",),
    "Called by workflows only": (
        "workflow.plan_images", "workflow.collect_images", "workflow.verify_images", "workflow.report_pull_request",
        "workflow.bundle_ensure_vm", "workflow.check_rollout",
    ),
}  # fmt: skip
HEADING = "python -m ci.NAME --help tells what one of these takes."
HERE = Path(__file__).parent
NAME_WIDTH = max(len(name) for names in GROUPS.values() for name in names) + 4
LEAST_BESIDE = 40  # with fewer columns beside the names, what a command does goes below its name


def summary(name: str) -> str:
    """The first line of the command's docstring, read without importing it."""
    path = HERE.joinpath(*name.split("."))
    module = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    return text.partition("\n")[0] if text else ""


def listing(columns: int) -> str:
    """The commands by group, in so many columns."""
    lines = textwrap.wrap(HEADING, columns)
    for title, names in GROUPS.items():
        lines += ["", *textwrap.wrap(title, columns)]
        for name in names:
            lines += _entry(name, columns)
    return "\n".join(lines) + "\n"


def _entry(name: str, columns: int) -> list[str]:
    if columns - NAME_WIDTH >= LEAST_BESIDE:
        first, rest, above = f"  {name}".ljust(NAME_WIDTH), " " * NAME_WIDTH, []
    else:
        first, rest, above = " " * 6, " " * 6, [f"  {name}"]
    return above + textwrap.wrap(
        summary(name), columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


if __name__ == "__main__":
    sys.stdout.write(listing(shutil.get_terminal_size().columns))
