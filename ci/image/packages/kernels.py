"""The kernels among packages: which one boots, and which are left over."""

import re
from collections.abc import Iterable
from pathlib import Path

from debian.debian_support import Version

from ci.host.errors import BaseImageError

# Both list a kernel's modules by their files, those that are built in apart.
MODULE_LISTS = ("modules.order", "modules.builtin")
MODULES = "/lib/modules"
# Without these no share of the host can be mounted.
NEEDED_MODULES = ("9p", "9pnet_virtio")

_IMAGE = re.compile(r"linux-image-(?:unsigned-)?(\d\S*)")
_FLAVOUR = re.compile(r"-[a-z].*")


def kernels(packages: Iterable[str]) -> tuple[str, ...]:
    """The kernels among these packages by their release, 5.15.0-151-generic, the oldest first.

    Ubuntu's `unsigned` one is the same kernel.
    """
    found = {match[1] for name in packages if (match := _IMAGE.fullmatch(name)) and not name.endswith("-dbg")}
    return tuple(sorted(found, key=Version))


def newest_kernel(packages: Iterable[str]) -> str:
    """The one that boots; '' where there is none."""
    return next(reversed(kernels(packages)), "")


def leftovers(packages: Iterable[str]) -> tuple[str, ...]:
    """The packages, sorted, that belong to kernels which no longer boot because there is a newer one."""
    names = sorted(packages)
    *old, newest = kernels(names) or ("",)
    # Headers that all flavours of a kernel share have none in their name.
    shared = {_FLAVOUR.sub("", release) for release in old} - {_FLAVOUR.sub("", newest)}
    ends = tuple(f"-{release}" for release in [*old, *shared])
    return tuple(name for name in names if name.startswith("linux-") and name.endswith(ends))


def require_shares(release: str, facts: Path) -> None:
    """Raise BaseImageError where `release`, a kernel of the base that `facts` is about, cannot mount a share."""
    folder = facts / MODULES.strip("/") / release
    lists = [folder / name for name in MODULE_LISTS if (folder / name).exists()]
    if not lists:
        return  # it comes with the packages that are installed, and is looked at then
    known = {Path(line).name.split(".")[0] for path in lists for line in path.read_text(errors="replace").splitlines()}
    missing = [module for module in NEEDED_MODULES if module not in known]
    if missing:
        raise BaseImageError(
            f"the base image's newest kernel, {release}, would be started and has no {' and no '.join(missing)} module",
            hint="Use a base with a generic kernel: linux-virtual, linux-image-amd64. Not a cloud or kvm one.",
        )


def module_lists(releases: Iterable[str]) -> list[str]:
    """The files that `require_shares` reads."""
    return [f"{MODULES}/{release}/{name}" for release in releases for name in MODULE_LISTS]
