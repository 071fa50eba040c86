"""Files out of a finished image, read by debugfs: no appliance, no mount, no root.

The image is data that its own packages and scripts have written. All that leaves it are the contents of files that were
asked for, in files that are named here. debugfs' own `rdump` is not used: it takes names from the image for names on
this machine (https://github.com/tytso/e2fsprogs/issues/272).
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ci.host.errors import BuildError, ToolError, ToolTimeoutError
from ci.host.process import require_tool, run

SECONDS = 300
MEMORY_BYTES = 1 << 30
FOLDER_BYTES = 4 << 20  # 100 times the largest folder that is looked into
MAX_LINKS = 8

# What may be in a path: nothing that debugfs' command line would take apart.
_PLAIN = re.compile(r"/[A-Za-z0-9._+:~@%=,/-]+", re.ASCII)
_INODE = re.compile(r"^Inode: \d+ +Type: (\w+)", re.ASCII | re.MULTILINE)
_SIZE = re.compile(r" Size: (\d+)$", re.ASCII | re.MULTILINE)
_TARGET = re.compile(r'^Fast link dest: "([^"\n]+)"$', re.MULTILINE)
_ENTRY = re.compile(r"/\d+/\d+/\d+/\d+/([^/\n]+)/\d*/", re.ASCII)


class _Status(NamedTuple):
    """What `stat` says of the path `at`; `target` is where a symbolic link points, '' where it is none."""

    at: str
    kind: str
    size: int
    target: str


class RootFiles:
    """A root file system in a file, as debugfs names it. Paths are absolute, links are followed inside of it.

    `folder` takes what is read.
    """

    def __init__(self, device: str, folder: Path) -> None:
        self._device = device
        self._folder = folder

    def names(self, folders: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """What is in each of these folders, sorted; without those that are none, or are absurdly large."""
        found = self._resolve(folders)
        known = {path: one.at for path, one in found.items() if one.kind == "directory" and one.size <= FOLDER_BYTES}
        listings = [
            set(_ENTRY.findall(output)) for output in self._commands([f"ls -p {at}/." for at in known.values()])
        ]
        return {path: tuple(sorted(names - {".", ".."})) for path, names in zip(known, listings, strict=True)}

    def read(self, paths: Iterable[str], *, limit: int, total: int) -> dict[str, bytes]:
        """The contents of these files; without those that are none.

        Raises BuildError where one has more than `limit` bytes, or all together more than `total`.
        """
        known = {path: status for path, status in self._resolve(paths).items() if status.kind == "regular"}
        for path, status in known.items():
            if status.size > limit:
                raise unreadable(f"{path} has {status.size} bytes, more than {limit}")
        if sum(status.size for status in known.values()) > total:
            raise unreadable(f"there are more than {total} bytes in {len(known)} files")
        self._commands([f"dump {one.at} {number}" for number, one in enumerate(known.values())], file_size=limit)
        contents = {}
        for number, (path, status) in enumerate(known.items()):
            file = self._folder / str(number)
            contents[path] = file.read_bytes() if file.exists() else b""
            file.unlink(missing_ok=True)
            if len(contents[path]) != status.size:
                raise unreadable(f"{path} has {status.size} bytes, of which {len(contents[path])} could be read")
        return contents

    def require_clean(self) -> None:
        """Raise BuildError where the last writes are only in the journal, which is not read here."""
        if "needs_recovery" in self._commands(["features"])[0].split():
            raise unreadable("its root file system was not unmounted")

    def _resolve(self, paths: Iterable[str]) -> dict[str, _Status]:
        """Where each path leads, and what is there; without those that lead nowhere."""
        found: dict[str, _Status] = {}
        pending = {path: path for path in paths if _PLAIN.fullmatch(path)}
        for _ in range(MAX_LINKS):
            outputs = self._commands([f"stat {at}" for at in pending.values()])
            following = {}
            for (path, at), output in zip(pending.items(), outputs, strict=True):
                status = _parse_status(at, output)
                if status and status.target:
                    target = status.target
                    # debugfs knows links, and `..`, in all parts of a path but the last.
                    following[path] = target if target.startswith("/") else f"{at.rpartition('/')[0]}/{target}"
                elif status:
                    found[path] = status
            pending = {path: at for path, at in following.items() if _PLAIN.fullmatch(at)}
            if not pending:
                break
        return found

    def _commands(self, commands: Sequence[str], *, file_size: int = 0) -> list[str]:
        """Run debugfs' commands in one process, and return the output of each."""
        if not commands:
            return []
        script = self._folder / "commands"
        script.write_text("".join(f"{command}\n" for command in commands))
        limits = [f"--as={MEMORY_BYTES}", f"--cpu={SECONDS}", f"--fsize={file_size}", "--core=0"]
        argv = ["prlimit", *limits, "--", require_tool("debugfs"), "-f", script.name, self._device]
        try:
            output = run(argv, timeout=SECONDS, cwd=self._folder).stdout
        except ToolTimeoutError:
            raise
        except ToolError as error:
            raise unreadable("debugfs ended before it had read all", error.details) from error
        return _split_output(output, commands)


def _split_output(output: str, commands: Sequence[str]) -> list[str]:
    """The program repeats each command before what it prints for it."""
    parts = []
    for command in commands:
        before, marker, output = output.partition(f"debugfs: {command}\n")
        if not marker:
            raise unreadable(f"debugfs did not get to `{command}`")
        parts.append(before)
    return [*parts[1:], output]


def _parse_status(at: str, output: str) -> _Status | None:
    kind, size, target = (pattern.search(output) for pattern in (_INODE, _SIZE, _TARGET))
    if kind is None or size is None:
        return None
    return _Status(at, kind[1], int(size[1]), target[1] if target and kind[1] == "symlink" else "")


def unreadable(problem: str, details: str = "") -> BuildError:
    """The error for an image whose files cannot be had."""
    return BuildError(
        f"the finished image cannot be read back: {problem}",
        hint="Build it again; if that does not help, boot it and look: docs/validation.md shows how.",
        details=details,
    )
