"""A command without the pauses that spare GitHub: python -m tests.support.unpaced ci.publish_release --dist ..."""

import functools
import importlib
import sys

from ci.fetch.retry import Patience
from ci.host import cli

if __name__ == "__main__":
    command = importlib.import_module(sys.argv[1])
    patience = Patience(seconds_between_requests=0, seconds_between_writes=0, sleep=lambda _: None)
    sys.exit(cli.run(functools.partial(command.main, patience=patience), command.arguments(), sys.argv[2:]))
