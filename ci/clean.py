"""Tell how big the parts of the cache are; with --cache, empty it.

The next build downloads and makes again what it needs. While a build is running nothing is removed; the demo's key
stays, which images let in.
"""

import argparse
import shutil
import sys
from pathlib import Path

from ci.host import cli
from ci.host.errors import RefusedError, toolsmith
from ci.host.progress import Reporter
from ci.host.workspace import IN_USE, WORK_PREFIX, cache_folder, in_use, work_folder
from ci.text.figures import megabytes

KEPT = ("demo", IN_USE)


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("toolsmith-image clean", __doc__)
    result.add_argument("--cache", action="store_true", help="remove what the table lists")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    cache = cache_folder()
    if not cache.is_dir():
        reporter.note(f"There is no cache: {cache}")
        return
    parts = {path: disk_usage(path) for path in sorted(cache.iterdir()) if path.name not in KEPT}
    rows = [(path.name, megabytes(size)) for path, size in parts.items()]
    reporter.table(str(cache), ("what", "size"), [*rows, ("all", megabytes(sum(parts.values())))])
    if options.cache:
        empty(cache)
        removed = sum(parts.values()) - sum(map(disk_usage, parts))
        reporter.note(f"{megabytes(removed)} are removed.")
    else:
        reporter.note(f"Nothing is removed. To remove it: {toolsmith('clean', '--cache')}")


def disk_usage(path: Path) -> int:
    """What a file or a folder takes on its disk, in bytes; what vanishes meanwhile takes nothing."""
    try:
        size = path.lstat().st_blocks * 512
        return size + (sum(map(disk_usage, path.iterdir())) if path.is_dir() and not path.is_symlink() else 0)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def empty(cache: Path) -> None:
    """Remove the cache's content; raises RefusedError while a build uses it. Folders of runs that are on stay."""
    with in_use(cache, alone=True) as alone:
        if not alone:
            raise RefusedError(f"a build is using {cache}: nothing was removed", hint="Run it again when that ended.")
        for path in cache.iterdir():
            if path.name in KEPT:
                continue
            if not path.is_dir() or path.is_symlink():
                path.unlink()
                continue
            with work_folder(path):  # which takes away what killed runs left, and nothing of a run that is on
                for child in path.iterdir():
                    if not child.name.startswith(WORK_PREFIX):
                        shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
