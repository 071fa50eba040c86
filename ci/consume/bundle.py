"""One file with the consumer's tool and all it needs: a zip archive that Python runs.

Our modules are those that its commands import, directly or not. The libraries come from the installed environment,
which is locked by hashes; each file is compared with what its package recorded. Only pure Python goes in, so that the
file runs wherever Python 3.10 or later does. Same sources, same bytes: entries are sorted, carry no time of their own,
and are not compressed, because zlib differs between systems.

Run as a program, which takes Python 3.10 and no library, it prints the lock file's entries for the libraries: for where
pip installs them, and nothing else.
"""

import ast
import base64
import hashlib
import io
import sys
import zipfile
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from ci.host.errors import VerificationError, make_setup
from ci.host.files import write_atomic
from ci.host.repository import ROOT, current_revision, require_checkout

# Modules that are rooms above this one: names only. The first is what it does where none of MACHINE comes first.
ENTRYPOINT = "ci.ensure_vm"
MACHINE = "ci.machine.commands"
COMMANDS = ("run", "shell", "start", "exec", "stop")
NAME = "ensure-vm.pyz"

# What the entrypoint imports, with what those need. Rich brings Markdown and Pygments only where it is asked for
# either, and pydantic cannot come: its core is compiled.
LIBRARIES = ("certifi", "charset-normalizer", "idna", "requests", "rich", "tenacity", "urllib3")
DATA = {"certifi/cacert.pem"}

SHEBANG = b"#!/usr/bin/env python3\n"
# For any Python, because an older one must be able to read that it is too old.
MAIN = """\
import sys

if sys.version_info < (3, 10):
    sys.stderr.write("error: ensure-vm needs Python 3.10 or later, this is %d.%d\\n" % sys.version_info[:2])
    sys.stderr.write(
        "next:  install one beside it (macOS: `brew install python`; Linux: the system's packages; or python.org) and "
        "name it: python3.13 ensure-vm.pyz; or use curl and sha256sum, as the notes of each release show\\n"
    )
    sys.exit(3)

"""
MAIN += f"""\
import importlib
import signal

# Until the command handles it itself: while it is loaded, for a second or more, there is nothing to clear up.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
name = "{ENTRYPOINT}"
if sys.argv[1:] and sys.argv[1] in {COMMANDS!r}:
    name = "{MACHINE}." + sys.argv.pop(1)
command = importlib.import_module(name)
getattr(command, "at_once", lambda argv: None)(sys.argv[1:])

from ci.host import cli

sys.exit(cli.run(command.main, command.arguments()))
"""

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"

# The first time that a zip archive can tell; zipfile's default is the current one.
_TIME = (1980, 1, 1, 0, 0, 0)


def archive(root: Path) -> bytes:
    """The tool of the checkout at `root` as a file's bytes; raises VerificationError where a library was altered."""
    entries = {
        "__main__.py": MAIN.encode(),
        "LICENSE": (root / "LICENSE").read_bytes(),
        **{str(path.relative_to(root)): path.read_bytes() for path in own_modules(root)},
        **dict(_library_files()),
    }
    buffer = io.BytesIO()
    buffer.write(SHEBANG)  # before the archive is begun, which counts its offsets from the start of the file
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, content in sorted(entries.items()):
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3  # Unix, wherever this runs
            info.external_attr = 0o644 << 16
            file.writestr(info, content)
    return buffer.getvalue()


def write_archive(root: Path, folder: Path) -> Path:
    """Write the tool of the checkout at `root` into `folder`, ready to be run or published; its path."""
    path = folder / NAME
    write_atomic(path, archive(root), mode=0o755)
    return path


def write_archive_of(folder: Path, commit: str | None) -> Path:
    """The same of this checkout; raises RefusedError where that is not of `commit`, if any."""
    if commit is not None:
        require_checkout(current_revision(), commit, "the release's ensure-vm.pyz")
    return write_archive(ROOT, folder)


def own_modules(root: Path) -> list[Path]:
    """The files of our modules that the entrypoint needs, the packages that they are in included."""
    found: set[Path] = set()
    left = [ENTRYPOINT, *(f"{MACHINE}.{name}" for name in COMMANDS)]
    while left:
        name = left.pop()
        module = root.joinpath(*name.split("."))
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if path.is_file() and path not in found:
                found.add(path)
                left += [name.rpartition(".")[0], *imported_modules(path)]
    return sorted(found)


def imported_modules(path: Path) -> list[str]:
    """The names a module imports. What comes `from` a package may be a module of it, so both are named."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def locked_entries(lock: str, libraries: Collection[str]) -> str:
    """The entries of `libraries`, hashes and all; raises ValueError where one is missing."""
    entries: dict[str, list[str]] = {}
    name = ""
    for line in lock.splitlines():
        if line[:1].isalnum():
            name = line.partition("==")[0]
        if name in libraries and not line.lstrip().startswith("#"):
            entries.setdefault(name, []).append(line)
    if missing := set(libraries) - entries.keys():
        raise ValueError(f"the lock file lacks {', '.join(sorted(missing))}")
    # The comments behind the last hash are gone, and with them what its backslash continues to.
    return "".join("\n".join(lines).rstrip("\\ \n") + "\n" for lines in entries.values())


def _library_files() -> Iterator[tuple[str, bytes]]:
    for library in LIBRARIES:
        distribution = metadata.distribution(library)
        for file in distribution.files or ():
            name = _name_inside(library, file)
            if name is None:
                continue
            content = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            if file.hash is None or (file.hash.mode, file.hash.value) != ("sha256", digest):
                raise VerificationError(
                    f"{file} of {library} {distribution.version} is not as it was installed",
                    hint=f"Make the environment anew: remove .venv, then `{make_setup()}`.",
                )
            yield name, content


def _name_inside(library: str, file: PurePosixPath) -> str | None:
    """What a library's file is called in the archive; None for one that is not needed there."""
    if ".dist-info" in file.parts[0]:
        return f"licenses/{library}/{file.name}" if file.name.startswith(("LICENSE", "NOTICE")) else None
    wanted = file.suffix == ".py" or str(file) in DATA
    return str(file) if wanted and ".." not in file.parts else None


if __name__ == "__main__":
    sys.stdout.write(locked_entries(LOCK.read_text(encoding="utf-8"), LIBRARIES))
