"""What a transaction must leave alone: without these the image does not start, or nobody gets in."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from ci.host.errors import BaseImageError, BuildError
from ci.image.definition import Packages
from ci.image.packages.dpkg import PackageStanza
from ci.image.packages.kernels import kernels, newest_kernel
from ci.image.packages.transaction import Transaction, after


class Role(NamedTuple):
    """What an image needs: `package` gives it, and nothing that `pattern` matches may go once it is there.

    Debian's and Ubuntu's kernels only recommend the boot loader and the initramfs tool: nothing but this keeps them.
    """

    name: str
    package: str
    pattern: re.Pattern[str]


ROLES = (
    Role("boot loader", "grub-pc", re.compile(r"grub-.*|grub2-common|shim-signed")),
    Role("initramfs tool", "initramfs-tools", re.compile(r"initramfs-tools(-.*)?")),
    Role("SSH server", "openssh-server", re.compile(r"openssh-(server|sftp-server)")),
    Role("sudo", "sudo", re.compile(r"sudo")),
    Role("init", "systemd-sysv", re.compile(r"init|systemd|systemd-sysv|udev")),
)
# Metapackages that bring newer kernels.
KERNEL = re.compile(r"linux-image-(?!unsigned-)[a-z].*|linux-(virtual|generic|amd64)(-hwe-.*)?")


def require_allowed(
    transaction: Transaction, wish: Packages, universe: Mapping[str, PackageStanza], base: Collection[str]
) -> None:
    """Raise BuildError where the transaction takes what must stay, or leaves what must go.

    `universe` has the packages that are installed and those that come, `base` the names of the former. Raises
    BaseImageError where the base never had what must be there.
    """
    there = after(base, transaction.changes)
    known = {*base, *there}
    for role in ROLES:
        if role.package not in known:
            raise BaseImageError(
                f"the base image has no {role.package}, its {role.name}",
                hint="Use a cloud image of Debian or Ubuntu; docs/definitions.md says what a base must have.",
            )
    if not kernels(known):
        raise BaseImageError(
            "the base image has no kernel", hint="Use a base with a kernel of its own: not an image for containers."
        )
    newest = newest_kernel(known)
    problems = [
        f"{change.name} {why_it_goes(change.name, transaction, wish, universe)}"
        for change in transaction.goes
        if is_protected(change.name, wish, newest)
    ]
    problems += why_they_stay(set(wish.purge) & there, wish, universe)
    if problems:
        raise refused(problems)


def refused(lines: Sequence[str]) -> BuildError:
    """The error that names each package which must not go, or must not stay, and why it would."""
    return BuildError(
        f"the image's packages cannot be changed as its definition asks for: {lines[0]}",
        hint="Take the package at the end of the chain out of `packages.purge`, or what needs it out of `install`.",
        details="\n".join(lines[1:]),
    )


def is_protected(name: str, wish: Packages, newest: str) -> bool:
    """Whether a package must not go; `newest` is the kernel that boots."""
    patterns = (*(role.pattern for role in ROLES), KERNEL)
    return name in wish.install or any(pattern.fullmatch(name) for pattern in patterns) or newest in kernels([name])


def why_it_goes(name: str, transaction: Transaction, wish: Packages, universe: Mapping[str, PackageStanza]) -> str:
    """The chain that drags a package along, or what else does."""
    purged = {change.name for change in transaction.goes} & set(wish.purge)
    if name in purged:
        return "would go: the definition purges it"
    if chain := chain_of(name, dragged(purged, universe)):
        return chain
    old = universe[name]
    for new in (universe[change.name] for change in transaction.comes if change.name in universe):
        # Either may say that the other must not be there.
        if {new.name, *new.provides} & {*old.conflicts} or {old.name, *old.provides} & {*new.conflicts}:
            return f"would go: {new.name}, which comes, cannot be beside it"
    return "would go: it was installed automatically, and nothing that stays needs it"


def why_they_stay(unwanted: Iterable[str], wish: Packages, universe: Mapping[str, PackageStanza]) -> list[str]:
    """For each package that should go and does not, a chain of what needs it."""
    found = []
    for name in sorted(unwanted):
        chains = _chains(wish.install, dragged([name], universe))
        reason = "the definition installs it" if name in wish.install else "something that is installed needs it"
        found.append(chains[0] if chains else f"{name} would stay: {reason}")
    return found


def why_impossible(wish: Packages, universe: Mapping[str, PackageStanza]) -> list[str]:
    """A chain for each package of `install` that needs something of `purge`, or else for what apt never removes."""
    lost = dragged(set(wish.purge) & universe.keys(), universe)
    if chains := _chains(wish.install, lost):
        return chains
    vital = [name for name in lost if universe[name].vital]
    named = [f"{name} is vital to any system, and the definition purges it" for name in sorted(vital) if not lost[name]]
    return named or _chains(vital, lost)


def _chains(names: Iterable[str], lost: Mapping[str, str]) -> list[str]:
    return [f"{name} {chain}" for name in sorted(names) if (chain := chain_of(name, lost))]


def dragged(roots: Iterable[str], universe: Mapping[str, PackageStanza]) -> dict[str, str]:
    """What cannot stay once `roots` go, each with the package whose loss it cannot bear; '' for a root itself."""
    lost = dict.fromkeys(roots, "")
    offers: dict[str, list[str]] = {}
    for package in universe.values():
        for name in {package.name, *package.provides}:
            offers.setdefault(name, []).append(package.name)
    pending = True
    while pending:
        pending = False
        for package in universe.values():
            if package.name not in lost and (missing := _unmet(package, offers, lost)):
                lost[package.name] = missing
                pending = True
    return lost


def _unmet(package: PackageStanza, offers: Mapping[str, list[str]], lost: Collection[str]) -> str:
    """A lost package that this one needs, with no other to take its place; '' where there is none."""
    for need in package.needs:
        options = [name for one in need for name in offers.get(one, ())]
        if options and all(name in lost for name in options):
            return options[0]
    return ""


def chain_of(name: str, lost: Mapping[str, str]) -> str:
    """`needs b, which needs c, which the definition purges`; '' where nothing drags the package along."""
    links = []
    while following := lost.get(name):
        links.append(f"needs {following}")
        name = following
    return ", which ".join([*links, "the definition purges"]) if links else ""
