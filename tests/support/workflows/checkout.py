"""The repository's files as the workflows get them: copied from this checkout, committed, and laid out on a runner."""

import shutil
import sys
from pathlib import Path

from ci.host.process import run
from ci.host.repository import ROOT
from tests.support.locks import LOCKS

NPM_PROJECTS = ("ci/rehearsal", "tests/support")


def git(folder: Path, *arguments: str) -> str:
    author = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    return run(["git", "-C", folder, *author, *arguments], timeout=60).stdout.strip()


def commit_all(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def copy_checkout(target: Path) -> None:
    """This checkout as it is, with what is not committed yet."""
    listed = run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], timeout=60).stdout
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, target / path)


def compile_checkout(target: Path) -> None:
    """Compile the modules of this checkout once for all machines; what differs from its source is compiled anew."""
    copy_checkout(target)
    argv = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "ci", "tests"]
    run(argv, cwd=target, timeout=120)


def lay_out(workspace: Path, compiled: Path) -> None:
    """Put what is installed and compiled where it is looked for, so that set-up finds nothing to do."""
    for folder in [*compiled.glob("ci/**/__pycache__"), *compiled.glob("tests/**/__pycache__")]:
        if (beside := workspace / folder.relative_to(compiled)).parent.is_dir():
            shutil.copytree(folder, beside)
    venv = workspace / ".venv"
    venv.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != ".requirements-installed":
            (venv / entry.name).symlink_to(entry)
    version = f"{sys.version_info.major} {sys.version_info.minor}\n"
    locks = run(["sha256sum", *LOCKS], timeout=60, cwd=workspace).stdout
    (venv / ".requirements-installed").write_text(version + locks)
    for project in NPM_PROJECTS:
        modules = workspace / project / "node_modules"
        modules.mkdir()
        for entry in (ROOT / project / "node_modules").iterdir():
            if entry.name != ".installed":
                (modules / entry.name).symlink_to(entry)
        shutil.copy(workspace / project / "package-lock.json", modules / ".installed")
