"""A reporter for tests that do not look at what is shown."""

import sys

from rich.console import Console

from ci.host.progress import Reporter


def quiet_reporter() -> Reporter:
    """Shows nothing."""
    return Reporter(Console(file=sys.stderr, quiet=True), in_actions=False)
