"""The files of a commit as git has them: with their modes, and found through links as a checkout finds them.

The contents API tells no mode, and gives the target of a link as if it were the link.
https://docs.github.com/en/rest/repos/contents#get-repository-content
"""

import base64
import binascii
from dataclasses import dataclass

from ci.github.answers import Blob, Commit, Tree, TreeEntry
from ci.github.client import GitHub
from ci.host.errors import InputError, RemoteError

# https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
PLAIN, LINK = "100644", "120000"
MAX_BYTES = 16 << 20
# As Linux has it: https://man7.org/linux/man-pages/man7/path_resolution.7.html
MAX_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFile:
    """A file by its own path, which is another than the one asked for where a link led there.

    `data` is None where there is none; then `mode` is that of a file to be made.
    """

    path: str
    mode: str = PLAIN
    data: bytes | None = None


class Snapshot:
    """The files of one commit; each folder and each file is read once."""

    def __init__(self, github: GitHub, commit: Commit) -> None:
        self.github = github
        self._folders: dict[tuple[str, ...], dict[str, TreeEntry]] = {}
        self._blobs: dict[str, bytes] = {}
        self._read_folder((), commit.tree.sha)

    def find(self, path: str) -> RepositoryFile:
        """The file at `path`; raises InputError where there is something else, or where links lead out or in circles.

        What is written to it later must not replace a link, and not miss its target.
        """
        where, left, links = f"{path} of {self.github.context.repository}", path.split("/"), 0
        at: tuple[str, ...] = ()
        while left:
            name, *left = left
            entry = self._folders[at].get(name)
            if name == ".." and at:
                at = at[:-1]
            elif name == "..":
                raise _wrong(where, "a link leads out of the repository")
            elif entry is None and ".." not in left:
                return RepositoryFile(path="/".join((*at, name, *left)))
            elif entry is not None and entry.mode == LINK and links < MAX_LINKS:
                links += 1
                left = [*self._target(where, entry), *left]
            elif entry is not None and entry.type == "tree":
                at = (*at, name)
                self._read_folder(at, entry.sha)
            elif entry is not None and entry.type == "blob" and entry.mode != LINK and not left:
                return RepositoryFile(path="/".join((*at, name)), mode=entry.mode, data=self._read_blob(where, entry))
            else:
                raise _wrong(where, f"the way to it ends at {name}")
        raise _wrong(where, "it is a folder")

    def _target(self, where: str, link: TreeEntry) -> list[str]:
        target = self._read_blob(where, link).decode("utf-8", "replace")
        if target.startswith("/"):
            raise _wrong(where, "a link leads out of the repository")
        return [name for name in target.split("/") if name not in {"", "."}]

    def _read_folder(self, at: tuple[str, ...], sha: str) -> None:
        if at not in self._folders:
            tree = self.github.read(f"reading the folder {'/'.join(at)}", f"/git/trees/{sha}", Tree)
            if tree.truncated:
                raise RemoteError(f"{self.github.context.repository} has more files in one folder than GitHub lists")
            self._folders[at] = {entry.path: entry for entry in tree.tree}

    def _read_blob(self, where: str, entry: TreeEntry) -> bytes:
        if (entry.size or 0) > MAX_BYTES:
            raise _wrong(where, f"it has {entry.size} bytes")
        if entry.sha not in self._blobs:
            blob = self.github.read(f"reading {where}", f"/git/blobs/{entry.sha}", Blob)
            try:
                self._blobs[entry.sha] = base64.b64decode(blob.content)
            except binascii.Error as error:
                raise RemoteError(f"{where} cannot be decoded: {error}") from error
        return self._blobs[entry.sha]


def _wrong(where: str, problem: str) -> InputError:
    return InputError(f"{where} is not a file that can be changed: {problem}", hint="Correct it on the default branch.")
