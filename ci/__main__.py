"""The one command that people type: `scripts/toolsmith-image` starts this. Without an argument it lists the others.

What only some of it needs is imported there: `exec` takes a tenth of a second, and half of that would be for this.
"""

import importlib
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "toolsmith-image"
WORKFLOWS = "Called by workflows only"
# In the order in which a reader meets them: each with its module, which `python -m ci.MODULE` runs too.
GROUPS = {
    "The line, from a base image to its consumers": {
        "build": "build_image", "validate": "validate_image", "publish": "publish_release",
        "roll-out": "propose_rollout",
    },
    "To try it": {"demo": "demo", "rehearse": "rehearse", "doctor": "doctor"},
    "To run commands in the image": {
        "run": "machine.commands.run", "shell": "machine.commands.shell", "start": "machine.commands.start",
        "exec": "machine.commands.exec", "stop": "machine.commands.stop",
    },
    "Around it": {
        "refresh-base": "refresh_base", "compare": "compare", "verify": "verify_release", "ensure-vm": "ensure_vm",
        "catalogue": "build_catalogue",
    },
    "To measure it, and to tidy up": {"bench": "bench.__main__", "clean": "clean"},
    WORKFLOWS: {
        "plan-images": "workflow.plan_images", "collect-images": "workflow.collect_images",
        "verify-images": "workflow.verify_images", "report-pull-request": "workflow.report_pull_request",
        "bundle-ensure-vm": "workflow.bundle_ensure_vm", "prepare-release": "workflow.prepare_release",
        "check-roll-out": "workflow.check_rollout",
    },
}  # fmt: skip
COMMANDS = {name: f"ci.{module}" for group in GROUPS.values() for name, module in group.items()}
HEADING = (
    f"{PROGRAM} COMMAND --help tells what one of these takes, {PROGRAM} --version which commit this is, and "
    f"{PROGRAM} --print-completion bash (or zsh) what completes them in a shell."
)
ROOT = Path(__file__).resolve().parents[1]


def summary(name: str) -> str:
    """The first line of the command's docstring, read without importing it."""
    import ast  # noqa: PLC0415

    text = ast.get_docstring(ast.parse(ROOT.joinpath(*COMMANDS[name].split(".")).with_suffix(".py").read_bytes()))
    return text.partition("\n")[0] if text else ""


def listing(columns: int) -> str:
    """The commands by group, in so many columns."""
    import argparse  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        usage=argparse.SUPPRESS,
        description=HEADING,
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=columns),
    )
    for title, commands in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in commands:
            group.add_argument(name, help=summary(name).replace("%", "%%"))
    return parser.format_help()


def completion(shell: str) -> str:
    """What completes the commands of people in a shell. To be kept in a file: it takes a second to be made."""
    import argparse  # noqa: PLC0415

    import shtab  # noqa: PLC0415

    whole = argparse.ArgumentParser(prog=PROGRAM)
    commands = whole.add_subparsers()
    for name in [name for title, group in GROUPS.items() if title != WORKFLOWS for name in group]:
        flags = importlib.import_module(COMMANDS[name]).arguments()
        for action in flags._actions:  # noqa: SLF001 - argparse has no other way to see them
            if action.type is Path:
                action.complete = shtab.FILE
        commands.add_parser(name, parents=[flags], add_help=False, help=summary(name).replace("%", "%%"))
    return shtab.complete(whole, shell)


def main(argv: Sequence[str]) -> None:
    """Run the command that comes first; exits with its code, or with 2 where there is none of that name."""
    match argv:
        case [] | ["-h" | "--help"]:
            import shutil  # noqa: PLC0415

            sys.stdout.write(listing(shutil.get_terminal_size().columns))
        case ["--version"]:
            sys.stdout.write(f"{PROGRAM} {importlib.import_module('ci.host.repository').described()}\n")
        case ["--print-completion", "bash" | "zsh" as shell]:
            sys.stdout.write(completion(shell))
        case [name, *others] if name in COMMANDS:
            # Until the command handles it itself: while it is loaded there is nothing to clear up.
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
            sys.argv = [PROGRAM, *others]
            runpy.run_module(COMMANDS[name], run_name="__main__")
        case _:
            import difflib  # noqa: PLC0415
            import shlex  # noqa: PLC0415

            near = "".join(f"; {PROGRAM} {name}?" for name in difflib.get_close_matches(argv[0], COMMANDS, 1))
            told = f"error: a command comes first, and {shlex.join(argv)} is none{near}"
            sys.stderr.write(f"{told}\nnext:  {PROGRAM} lists them\n")
            sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
