"""List the commands, with what each does."""

import argparse
import ast
import shutil
import sys
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
        "workflow.bundle_ensure_vm", "workflow.prepare_release", "workflow.check_rollout",
    ),
}  # fmt: skip
HEADING = "python -m ci.NAME --help tells what one of these takes."
HERE = Path(__file__).parent


def summary(name: str) -> str:
    """The first line of the command's docstring, read without importing it."""
    path = HERE.joinpath(*name.split("."))
    module = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    return text.partition("\n")[0] if text else ""


def listing(columns: int) -> str:
    """The commands by group, in so many columns."""
    parser = argparse.ArgumentParser(
        usage=argparse.SUPPRESS,
        description=HEADING,
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=columns),
    )
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            group.add_argument(name, help=summary(name).replace("%", "%%"))
    return parser.format_help()


if __name__ == "__main__":
    sys.stdout.write(listing(shutil.get_terminal_size().columns))
