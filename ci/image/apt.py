"""The packages of an image: chosen, fetched and verified on this machine, with its own apt.

In libguestfs's appliance apt would need a network, and without KVM minutes for what takes seconds here. So the apt of
this machine works on a copy of what the base image says: its package sources, its keys, its installed packages. The
answer is exact before anything is built: it is part of what a cached layer is known by.
"""

import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from debian.deb822 import Packages

from ci.host.errors import BaseImageError, BuildError, FetchError, ToolError, VerificationError
from ci.host.files import sha256_file, write_atomic
from ci.host.process import Completed, run

# What of the base decides.
STATUS = "/var/lib/dpkg/status"
FACT_FILES = ("/etc/apt/sources.list", "/var/lib/apt/extended_states", STATUS)
FACT_FOLDERS = ("/etc/apt/sources.list.d", "/etc/apt/trusted.gpg.d", "/etc/apt/keyrings", "/usr/share/keyrings")

UPDATE_SECONDS = 600
CHOOSE_SECONDS = 120
FETCH_SECONDS = 3600
KEEP_SECONDS = 60 * 24 * 3600  # a package file that no build used for so long goes

_ALLOWED = ("http", "https")
_URI = re.compile(r"(?:^|\s)([a-z][a-z0-9+.-]*):(?=/)", re.MULTILINE)
_SIGNED_BY = re.compile(r"(signed-by\s*[=:]\s*)(/\S+)", re.IGNORECASE)
_TO_FETCH = re.compile(r"'[^']+' (\S+)_([^_\s]+)_([^_\s]+)\.deb (\d+) SHA256:([0-9a-f]{64})")
_REMOVED = re.compile(r"^(?:Purg|Remv) (\S+) \[([^\]]+)\]", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """A package file: `size` in bytes."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        """What apt calls the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What happens to the base's packages: files to install or upgrade to, and `name version` of those that go."""

    install: tuple[Deb, ...]
    remove: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the definition asks for; `purge` is removed where it is there."""

    install: tuple[str, ...]
    purge: tuple[str, ...]
    upgrade: bool


class Apt:
    """apt on a copy of the base's state, in `folder`, which may be that of an earlier run."""

    def __init__(self, folder: Path, facts: Path, archives: Path) -> None:
        self._folder = folder.absolute()
        self._archives = archives.absolute()
        self._config = self._folder / "apt.conf"
        self._installed = installed(facts / STATUS.strip("/"))
        self._prepare(facts)

    def update(self) -> None:
        """Fetch the lists of what the sources have. Raises FetchError, or VerificationError for a bad signature."""
        # Without, a list that could not be fetched is a warning, and the image would quietly lack updates.
        self._apt("update", "--error-on=any", timeout=UPDATE_SECONDS)

    def choose(self, wish: Wish) -> Transaction:
        """Decide what is installed, upgraded and removed, and change nothing."""
        words = self._words(wish)
        # It leaves out the files that are there already.
        nowhere = f"Dir::Cache::archives={self._folder}/nowhere/"
        with ThreadPoolExecutor() as pool:
            listing = pool.submit(self._apt, *words, "--print-uris", "--option", nowhere, timeout=CHOOSE_SECONDS)
            simulation = pool.submit(self._apt, *words, "--simulate", timeout=CHOOSE_SECONDS)
        return Transaction(
            install=parse_files(listing.result().stdout), remove=parse_removed(simulation.result().stdout)
        )

    def fetch(self, wish: Wish, transaction: Transaction) -> tuple[Path, ...]:
        """The package files, each with the digest that the signed lists promise."""
        paths = [self._archives / deb.file for deb in transaction.install]
        for deb, path in zip(transaction.install, paths, strict=True):
            # apt looks at the size only where a file is there.
            if path.exists() and sha256_file(path) != deb.sha256:
                path.unlink()
        if not all(path.exists() for path in paths):
            self._apt(*self._words(wish), "--download-only", "--quiet=1", timeout=FETCH_SECONDS)
        for deb, path in zip(transaction.install, paths, strict=True):
            if not path.exists() or sha256_file(path) != deb.sha256:
                raise VerificationError(f"{path} is not what the package lists promise", hint="Run it again.")
            os.utime(path)
        self._forget_old()
        return tuple(paths)

    def describe(self, transaction: Transaction) -> str:
        """The lists' own entries of the files, as a Packages file has them."""
        names = [f"{deb.name}:{deb.architecture}={deb.version}" for deb in transaction.install]
        return self._run("apt-cache", "show", *names, timeout=CHOOSE_SECONDS).stdout if names else ""

    def _words(self, wish: Wish) -> list[str]:
        unwanted = sorted(f"{name}-" for name in set(wish.purge) & set(self._installed))
        verb = ["upgrade", "--with-new-pkgs"] if wish.upgrade else ["install"]
        return [*verb, "--yes", "--quiet=2", "--auto-remove", "--purge", *sorted(wish.install), *unwanted]

    def _prepare(self, facts: Path) -> None:
        for name in ("lists/partial", "nowhere/partial", "var/cache", "var/log", "etc/preferences.d", "etc/apt.conf.d"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._archives / "partial").mkdir(parents=True, exist_ok=True)
        sources = self._folder / "etc" / "sources.list.d"
        shutil.rmtree(sources, ignore_errors=True)
        sources.mkdir()
        for path in _source_files(facts):
            (sources / path.name).write_text(our_source(path.read_text(encoding="utf-8"), facts), encoding="utf-8")
        states = facts / "var/lib/apt/extended_states"
        write_atomic(self._folder / "extended_states", states.read_bytes() if states.exists() else b"")
        write_atomic(self._config, configuration(self._folder, facts, self._archives))

    def _apt(self, *words: str, timeout: float) -> Completed:
        return self._run("apt-get", *words, timeout=timeout)

    def _run(self, *argv: str, timeout: float) -> Completed:
        try:
            return run(argv, env={"APT_CONFIG": os.fspath(self._config)}, timeout=timeout)
        except ToolError as error:
            raise explain(error, argv[1]) from error

    def _forget_old(self) -> None:
        for path in self._archives.glob("*.deb"):
            if path.stat().st_mtime < time.time() - KEEP_SECONDS:
                path.unlink(missing_ok=True)


def configuration(folder: Path, facts: Path, archives: Path) -> str:
    """apt.conf(5) for a run that reads and writes only in our folders, and never the machine's own state."""
    settings: Mapping[str, str] = {
        "Dir": f"{folder}/",
        "Dir::Etc": f"{folder}/etc/",
        "Dir::Etc::main": "none",
        "Dir::Etc::parts": "apt.conf.d",
        "Dir::Etc::sourcelist": "none",
        "Dir::Etc::sourceparts": "sources.list.d",
        "Dir::Etc::preferences": "none",
        "Dir::Etc::preferencesparts": "preferences.d",
        "Dir::Etc::trusted": "none",
        "Dir::Etc::trustedparts": f"{facts}/etc/apt/trusted.gpg.d/",
        "Dir::State": f"{folder}/",
        "Dir::State::status": f"{facts}{STATUS}",
        "Dir::State::extended_states": f"{folder}/extended_states",
        "Dir::State::lists": f"{folder}/lists/",
        "Dir::Cache": f"{folder}/var/cache/",
        "Dir::Cache::archives": f"{archives}/",
        "Dir::Log": f"{folder}/var/log/",
        "Dir::Bin::dpkg": "/bin/false",  # nothing is installed here
        "APT::Architecture": "amd64",
        "APT::Install-Recommends": "false",
        # Which machines get an update early depends on their machine-id; an image must not.
        "APT::Get::Never-Include-Phased-Updates": "true",
        # Run by root, it would fetch as a user that may not enter our folders.
        "APT::Sandbox::User": "root",
        "Acquire::ForceHash": "SHA256",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    return "\n".join([*lines, 'APT::Architectures { "amd64"; };', ""])


def our_source(text: str, facts: Path) -> str:
    """A source list of the base, for use here: its keys are among the base's files.

    Raises BaseImageError where it reaches for files of this machine: apt would read them.
    """
    for scheme in _URI.findall(text):
        if scheme not in _ALLOWED:
            raise BaseImageError(
                f"the base image gets packages by `{scheme}:`, which would be this machine's",
                hint="Use a base whose package sources are http or https.",
            )
    return _SIGNED_BY.sub(lambda match: f"{match[1]}{facts}{match[2]}", text)


def installed(status: Path) -> dict[str, str]:
    """Name to version of what dpkg's status file says is installed."""
    if not status.exists():
        raise BaseImageError("the base image has no dpkg status", hint="It must be a Debian or Ubuntu system.")
    with status.open(encoding="utf-8", errors="replace") as file:
        paragraphs = Packages.iter_paragraphs(file, use_apt_pkg=False)
        return {one["Package"]: one["Version"] for one in paragraphs if one["Status"].endswith(" installed")}


def parse_files(output: str) -> tuple[Deb, ...]:
    """The files in the output of `apt-get --print-uris`, sorted by name."""
    debs = [
        Deb(name=name, version=version.replace("%3a", ":"), architecture=architecture, size=int(size), sha256=sha256)
        for name, version, architecture, size, sha256 in _TO_FETCH.findall(output)
    ]
    if len(debs) != sum(line.startswith("'") for line in output.splitlines()):
        raise BuildError("apt names package files in a way that is not understood", details=output)
    return tuple(sorted(debs, key=lambda deb: (deb.name, deb.architecture)))


def parse_removed(output: str) -> tuple[str, ...]:
    """The packages that `apt-get --simulate` says it would remove, as `name version`, sorted."""
    return tuple(sorted({f"{name} {version}" for name, version in _REMOVED.findall(output)}))


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
    if "Unable to locate" in details or "has no installation candidate" in details:
        return BuildError(
            "the package archive does not have all packages of the image definition",
            hint="The last lines above name them; correct `packages` in the definition.",
            details=details,
        )
    return error


def _source_files(facts: Path) -> Sequence[Path]:
    folder = facts / "etc/apt/sources.list.d"
    parts = sorted(path for path in folder.glob("*") if path.suffix in {".list", ".sources"}) if folder.exists() else []
    single = facts / "etc/apt/sources.list"
    found = [path for path in (single, *parts) if path.is_file()]
    return [path for path in found if path.name != "sources.list"] + [path for path in found if path == single]
