"""The packages of an image: chosen, fetched and verified on this machine, with its own apt.

In libguestfs's appliance apt would need a network, and without KVM minutes for what takes seconds here. So the apt of
this machine works on a copy of what the base image says: its package sources, its keys, its installed packages. The
answer is exact before anything is built: it is part of what a cached layer is known by.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import BaseImageError, BuildError, FetchError, ToolError, ToolsmithError, VerificationError
from ci.host.files import sha256_file, write_atomic
from ci.host.process import TAIL_LINES, Completed, run
from ci.image.definition import Packages
from ci.image.packages import guard, kernels
from ci.image.packages.dpkg import ARCHITECTURES, DIVERSIONS, STATUS, installed, parse_packages
from ci.image.packages.transaction import POLICY, Transaction, after, parse_changes, parse_files, request

# What of the base decides.
FACT_FILES = ("/etc/apt/sources.list", "/var/lib/apt/extended_states", STATUS, ARCHITECTURES, DIVERSIONS)
FACT_FOLDERS = ("/etc/apt/sources.list.d", "/etc/apt/trusted.gpg.d", "/etc/apt/keyrings", "/usr/share/keyrings")

UPDATE_SECONDS = 600
CHOOSE_SECONDS = 120
FETCH_SECONDS = 3600
KEEP_SECONDS = 60 * 24 * 3600  # what no build used for so long goes
IMPOSSIBLE = 100  # apt-get's exit code for every error

_URI = re.compile(r"(?:^|\s)([a-z][a-z0-9+.-]*):(?=/)", re.MULTILINE)
_SIGNED_BY = re.compile(r"(signed-by\s*[=:]\s*)(/\S+)", re.IGNORECASE)
_ABSENT = re.compile(r"Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate")
_CLOSURE = re.compile(r"^([a-z0-9][a-z0-9+.-]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The packages of one build: what becomes of them, the files for it, and the lists' own entries of those."""

    transaction: Transaction
    files: tuple[Path, ...]
    described: str


class Apt:
    """apt on a copy of the base's state, in `folder`, which may be that of an earlier run."""

    def __init__(self, folder: Path, facts: Path, archives: Path) -> None:
        self._folder = folder.absolute()
        self._archives = archives.absolute()
        self._config = self._folder / "apt.conf"
        self._facts = facts
        self._installed = installed(facts)
        sources = self._folder / "etc" / "sources.list.d"
        shutil.rmtree(sources, ignore_errors=True)
        ours = ("lists/partial", "nowhere/partial", "var/cache", "var/log", "etc/preferences.d", "etc/apt.conf.d")
        for path in (*(self._folder / name for name in ours), sources, self._archives / "partial"):
            path.mkdir(parents=True, exist_ok=True)
        parts = sorted((facts / "etc/apt/sources.list.d").glob("*"))
        # In the one folder that all are copied to it comes last, and so wins over a part of the same name.
        for path in (*(part for part in parts if part.suffix in {".list", ".sources"}), facts / "etc/apt/sources.list"):
            if path.is_file():
                (sources / path.name).write_text(our_source(path.read_text(encoding="utf-8"), facts), encoding="utf-8")
        states = facts / "var/lib/apt/extended_states"
        write_atomic(self._folder / "extended_states", states.read_bytes() if states.exists() else b"")
        write_atomic(self._config, configuration(self._folder, facts, self._archives))

    def update(self) -> None:
        """Fetch the lists of what the sources have. Raises FetchError, or VerificationError for a bad signature."""
        # Without, a list that could not be fetched is a warning, and the image would quietly lack updates.
        self._apt("update", "--error-on=any", timeout=UPDATE_SECONDS)

    def choose(self, wish: Packages) -> Transaction:
        """Plan what is installed, upgraded and removed, and change nothing.

        Raises BuildError where a package goes that must stay, or stays that must go, and BaseImageError where the base
        lacks what an image needs.
        """
        transaction = self._plan(wish, ())
        # A second look where the first leaves a kernel that no longer boots.
        if old := kernels.leftovers(after(self._installed, transaction.changes)):
            transaction = self._plan(wish, old)
        newest = kernels.newest_kernel(after(self._installed, transaction.changes))
        kernels.require_shares(newest, self._facts)
        universe = self._installed | parse_packages(self._show(change.name for change in transaction.comes))
        guard.require_allowed(transaction, wish, universe, self._installed.keys())
        return transaction

    def versions(self, transaction: Transaction) -> dict[str, str]:
        """What there will be, by package."""
        there = {name: one.version for name, one in self._installed.items()}
        there |= {change.name: change.after for change in transaction.changes}
        return {name: version for name, version in there.items() if version}

    def _plan(self, wish: Packages, leftovers: Sequence[str]) -> Transaction:
        words = request(wish, self._installed, leftovers)
        # It leaves out the files that are there already.
        nowhere = f"Dir::Cache::archives={self._folder}/nowhere/"
        try:
            with ThreadPoolExecutor() as pool:
                simulation = pool.submit(self._apt, *words, "--simulate", timeout=CHOOSE_SECONDS)
                listing = pool.submit(self._apt, *words, "--print-uris", "--option", nowhere, timeout=CHOOSE_SECONDS)
            changes, files = parse_changes(simulation.result().stdout), parse_files(listing.result().stdout)
        except ToolError as error:
            # apt says which packages cannot be there together, and not that it was asked for just that.
            raise self._explained(error, wish) from error
        return Transaction(request=words, changes=changes, install=files)

    def _explained(self, error: ToolError, wish: Packages) -> ToolsmithError:
        closure = self._run(
            "apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
            "--no-replaces", "--no-enhances", *sorted(wish.install), timeout=CHOOSE_SECONDS,
        )  # fmt: skip
        universe = self._installed | parse_packages(self._show(set(_CLOSURE.findall(closure.stdout))))
        problems = guard.why_impossible(wish, universe)
        return guard.refused(problems) if problems else error

    def fetch(self, transaction: Transaction) -> Choice:
        """The package files, each with the digest that the signed lists promise."""
        debs = {self._archives / deb.file: deb for deb in transaction.install}
        for path, deb in debs.items():
            # apt looks at the size only where a file is there.
            if path.exists() and sha256_file(path) != deb.sha256:
                path.unlink()
        if not all(path.exists() for path in debs):
            self._apt(*transaction.request, "--download-only", timeout=FETCH_SECONDS)
        for path, deb in debs.items():
            if not path.exists() or sha256_file(path) != deb.sha256:
                raise VerificationError(f"{path} is not what the package lists promise", hint="Run it again.")
            os.utime(path)
        forget_unused(self._archives.glob("*.deb"))
        described = self._show(f"{deb.name}:{deb.architecture}={deb.version}" for deb in transaction.install)
        return Choice(transaction=transaction, files=tuple(debs), described=described)

    def _show(self, names: Iterable[str]) -> str:
        wanted = sorted(names)
        argv = ("apt-cache", "show", "--no-all-versions", *wanted)
        return self._run(*argv, timeout=CHOOSE_SECONDS).stdout if wanted else ""

    def _apt(self, command: str, *words: str, timeout: float) -> Completed:
        return self._run("apt-get", command, "--yes", "--quiet=1", *words, timeout=timeout)

    def _run(self, *argv: str, timeout: float) -> Completed:
        # What cannot be together it tells on stdout, and only that it could not on stderr.
        done = run(argv, env={"APT_CONFIG": os.fspath(self._config)}, timeout=timeout, ok=(0, IMPOSSIBLE))
        if done.returncode == 0:
            return done
        output = "\n".join([*done.stdout.splitlines(), *done.stderr.splitlines()][-TAIL_LINES:])
        raise explain(ToolError(f"`{argv[0]}` failed with exit code {IMPOSSIBLE}", details=output), argv[1])


def forget_unused(paths: Iterable[Path]) -> None:
    """Remove the files and folders that no build used for long."""
    for path in paths:
        if path.stat().st_mtime < time.time() - KEEP_SECONDS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def configuration(folder: Path, facts: Path, archives: Path) -> str:
    """apt.conf(5) for a run that reads and writes only in our folders, and never the machine's own state."""
    settings = Path(__file__).with_name("host.conf").read_text(encoding="utf-8")
    return settings.format(folder=folder, facts=facts, archives=archives) + POLICY


def our_source(text: str, facts: Path) -> str:
    """A source list of the base, for use here: its keys are among the base's files.

    Raises BaseImageError where it reaches for files of this machine: apt would read them.
    """
    for scheme in _URI.findall(text):
        if scheme not in {"http", "https"}:
            raise BaseImageError(
                f"the base image gets packages by `{scheme}:`, which would be this machine's",
                hint="Use a base whose package sources are http or https.",
            )
    return _SIGNED_BY.sub(lambda match: f"{match[1]}{facts}{match[2]}", text)


def explain(error: ToolError, command: str) -> ToolError | BuildError | FetchError | VerificationError:
    """What apt's failure means."""
    details = error.details
    if "NO_PUBKEY" in details or "is not signed" in details or "GPG error" in details:
        return VerificationError(
            "the package lists are not signed by a key of the base image",
            hint="Do not trust this archive or proxy, or use a newer base image.",
            details=details,
        )
    if command == "update" or "Failed to fetch" in details:
        return FetchError(
            "packages cannot be fetched: this machine does not reach the package archive",
            hint="Check the network and, where there is a proxy, http_proxy; then run it again.",
            details=details,
        )
    if absent := _ABSENT.findall(details):
        names = ", ".join(sorted({one or other for one, other in absent}))
        return BuildError(
            f"the package archive has no {names}, which the image definition installs",
            hint="Correct `packages.install` in the definition, or use a base whose package sources have it.",
            details=details,
        )
    return error
