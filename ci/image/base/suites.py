"""Where the packages of a Debian suite are: old suites leave the mirrors for archive.debian.org one day.

https://www.debian.org/distrib/archive
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ci.host.errors import FetchError, HostError, ToolError
from ci.host.process import run

# apt's own fetcher, with its configuration: a proxy that is set up for apt is used here too.
APT_HELPER = "/usr/lib/apt/apt-helper"
SECONDS = 120
COMPONENT = "main"
SECURITY = "-security"  # of a suite, and of the archive beside the one that has it

_FAILED = re.compile(r"^E: Failed to fetch \S+\s+(.+)$", re.MULTILINE)


class Target(NamedTuple):
    """One of this machine's own package indices: the archive it is from, and the suite."""

    archive: str
    suite: str


def find_sources(suite: str, archives: Sequence[str]) -> list[str]:
    """Lines of sources.list(5) for `suite`: from the first archive that has it, with its updates and security updates.

    This machine's own archives come before `archives`. Raises FetchError where none has the suite.
    """
    own = own_targets()
    failures: list[str] = []
    found = _first_with(suite, in_order(suite, own, archives), failures)
    if found is None:
        raise FetchError(
            f"no package archive has {suite}, or none can be reached",
            hint="Name one that has it under `archives` in the definition's table `base.bootstrap`.",
            details="\n".join(failures),
        )
    mirrored = [target.archive for target in own if target.suite.endswith(SECURITY)]
    security = dict.fromkeys([*mirrored, found + SECURITY])
    more = {f"{suite}-updates": [found], suite + SECURITY: security}
    places = {suite: found} | {extra: _first_with(extra, where, []) for extra, where in more.items()}
    return [f"deb {archive} {name} {COMPONENT}" for name, archive in places.items() if archive]


def own_targets() -> tuple[Target, ...]:
    """What this machine's apt has of Debian; nothing on another distribution."""
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages", "Origin: Debian"]
    try:
        output = run(argv, timeout=SECONDS).stdout
    except (HostError, ToolError):
        return ()
    return tuple(Target(archive.rstrip("/"), suite) for archive, suite in map(str.split, output.splitlines()))


def in_order(suite: str, own: Iterable[Target], archives: Iterable[str]) -> list[str]:
    """The archives to ask for `suite`: those that this machine has it from, its others, and `archives`; each once."""
    own = [target for target in own if not target.suite.endswith(SECURITY)]
    ranked = sorted(own, key=lambda target: target.suite != suite)
    return list(dict.fromkeys([*(target.archive for target in ranked), *(archive.rstrip("/") for archive in archives)]))


def _first_with(suite: str, archives: Iterable[str], failures: list[str]) -> str | None:
    """The first archive with the signed list of what is in `suite`; appends to `failures` why the others have not."""
    with TemporaryDirectory(prefix="toolsmith-suite-") as folder:
        for archive in archives:
            url = f"{archive}/dists/{suite}/InRelease"
            target = Path(folder) / "InRelease"
            try:
                run([APT_HELPER, "-o", "Acquire::Retries=1", "download-file", url, os.fspath(target)], timeout=SECONDS)
            except ToolError as error:
                reason = _FAILED.search(error.details)
                failures.append(f"{url}: {reason[1] if reason else error.message}")
            else:
                return archive
    return None
