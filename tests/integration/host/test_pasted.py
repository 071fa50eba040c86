"""Every command of README.md and docs/ runs when it is pasted into a fresh shell, in another folder than the clone."""

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ci import __main__ as commands
from ci import ensure_vm
from ci.consume import bundle
from ci.host.process import Completed, run
from ci.host.repository import ROOT
from tests.support.paste import pages, standins

pytestmark = pytest.mark.integration

STANDINS = ROOT / "tests/support/paste/standins.py"
STEM = "fountainkit-toolsmith-debian-12-v2026.11.23"
MADE = ("qcow2", "build.json", "cdx.json", "packages.tsv", "sizes.tsv", "validation.json", "qcow2.sha256")

# Not pasted, by their beginnings: what another test runs, and what needs a repository, a key or a file of the reader's.
NOT_PASTED = (
    "name=fountainkit-toolsmith-ubuntu-2204",  # consume/test_without_python.py
    "qemu-system-x86_64 -enable-kvm -sandbox",  # boot/test_consumer_machine.py
    "gh attestation verify FILE.qcow2",
    "scripts/fetch-toolsmith-manifest.sh",  # Toolsmith's own
    "ssh-keygen -t ed25519 -f ~/.ssh/toolsmith\ncat ~/.ssh/toolsmith.pub >> build/authorized_keys\ngit commit",
    "gh variable set ROLLOUT_APP_CLIENT_ID",
)

Paste = Callable[[str], Completed]


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-ins, to be found before the real programs."""
    folder = tmp_path_factory.mktemp("bin")
    for name in (*standins.STANDINS, "python"):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDINS}" {name} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def clone(tmp_path: Path, bin_folder: Path) -> Path:
    """A clone after a build, with an environment that only notes what it is asked, and `origin` on this machine."""
    folder = tmp_path / "a clone, with a comma"
    folder.mkdir()
    for name in ("Makefile", "scripts", "build", ".github", "manifests", "releases"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    setup = folder / "scripts/setup.sh"  # reads its flags, and installs nothing
    setup.write_text(setup.read_text().removesuffix('main "$@"\n'))
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").symlink_to(bin_folder / "python")
    (folder / "dist").mkdir()
    for ending in MADE:
        (folder / f"dist/{STEM}.{ending}").write_text("made")
    run(["git", "init", "--quiet", "--bare", tmp_path / "origin.git"], timeout=60)
    for argv in (
        ("init", "--quiet", "--initial-branch=main"),
        ("remote", "add", "origin", os.fspath(tmp_path / "origin.git")),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message=x"),
    ):
        run(["git", "-C", folder, *argv], timeout=60)
    return folder


@pytest.fixture
def paste(clone: Path, bin_folder: Path, tmp_path: Path) -> Paste:
    """Paste a text where a reader would; each time the shell is a new one, and the folders are the same."""
    elsewhere, home = tmp_path / "another folder", tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".local/bin").mkdir(parents=True)
    for name in ("toolsmith", "id_ed25519"):
        (home / ".ssh" / name).touch()
        (home / ".ssh" / f"{name}.pub").write_text("ssh-ed25519 AAAA reader\n")
    (home / ".local/bin/toolsmith-image").symlink_to(clone / "scripts/toolsmith-image")
    (elsewhere / ".toolsmith/cache").mkdir(parents=True)
    (elsewhere / ".toolsmith/tools.json").touch()
    path = os.pathsep.join([os.fspath(bin_folder), os.fspath(home / ".local/bin"), os.environ["PATH"]])
    env = {"PATH": path, "HOME": os.fspath(home), "PASTE_FOLDER": os.fspath(tmp_path), "PASTE_CLONE": os.fspath(clone)}

    def run_pasted(text: str) -> Completed:
        # The key that a page has made does not stop the next one, which would be asked whether to overwrite it.
        for key in (home / ".ssh").glob("toolsmith*") if "ssh-keygen" in text else ():
            key.unlink()
        shell = ["bash", "--noprofile", "--norc", "-e", "-u", "-o", "pipefail", "-c", text]
        return run(shell, timeout=60, env=env, cwd=clone if pages.needs_the_clone(text) else elsewhere)

    return run_pasted


def ours(folder: Path) -> list[list[str]]:
    """The command lines of ours that were started."""
    asked = folder / "asked"
    return [json.loads(line) for line in asked.read_text().splitlines()] if asked.exists() else []


def understood(program: str, argv: list[str]) -> None:
    """Raise ValueError where our command does not take these arguments."""
    try:
        if program == "ensure-vm" and argv and argv[0] in bundle.COMMANDS:
            importlib.import_module(f"{bundle.MACHINE}.{argv[0]}").arguments().parse_args(argv[1:])
        elif program == "ensure-vm":
            ensure_vm.arguments().parse_args(argv)
        elif argv and argv[0] in commands.COMMANDS:
            importlib.import_module(commands.COMMANDS[argv[0]]).arguments().parse_args(argv[1:])
        else:
            commands.main(argv)
    except SystemExit as ended:
        if ended.code:
            raise ValueError(f"{program} does not take {argv}") from ended


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: os.fspath(page.relative_to(ROOT)))
def test_every_command_of_a_page_runs_in_a_fresh_shell_in_another_folder(
    page: Path, paste: Paste, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for text in (*pages.blocks(page), *pages.sentences(page)):
        if text.startswith(NOT_PASTED):
            continue
        with subtests.test(text=text):
            paste(text)
    for program, *argv in ours(tmp_path):
        with subtests.test(program=program, argv=argv):
            understood(program, argv)


def test_the_pages_have_commands_to_paste() -> None:
    pasted = [text for page in pages.pages() for text in (*pages.blocks(page), *pages.sentences(page))]
    assert len(pasted) > 50
    assert sum("toolsmith-image" in text for text in pasted) > 20


@pytest.mark.parametrize("text", [
    "toolsmith-imag build", "make demon", "python -m ci.rehearse", "ls dist/<stem>.qcow2",
    "ssh -p 2222 fountain@127.0.0.1",
    "qemu-system-x86_64 -drive file=nowhere.qcow2,if=virtio", "gh attestation frobnicate x", "curl http://x/y",
])  # fmt: skip
def test_what_cannot_run_is_found(paste: Paste, text: str) -> None:
    with pytest.raises(Exception, match="failed with exit code"):
        paste(text)


def test_a_flag_that_our_command_has_not_is_found() -> None:
    with pytest.raises(ValueError, match="frobnicate"):
        understood("toolsmith-image", ["build", "--frobnicate"])
