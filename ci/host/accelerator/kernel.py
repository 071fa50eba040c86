"""The kernel of this machine that guests are started from: by libguestfs, and to try KVM."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import HostError, make_setup

# What supermin takes instead of its own choice: https://libguestfs.org/supermin.1.html#environment-variables
KERNEL_VARIABLE = "SUPERMIN_KERNEL"
MODULES_VARIABLE = "SUPERMIN_MODULES"

INSTALL = "(Debian: apt-get install linux-image-amd64; Ubuntu: linux-image-virtual)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKernel:
    """A kernel that this user can read, and the folder of its modules."""

    image: Path
    modules: Path


def choose_kernel() -> HostKernel:
    """The kernel that libguestfs would start; raises HostError where there is none, or none that can be read."""
    if chosen := os.environ.get(KERNEL_VARIABLE):
        image = Path(chosen)
        hint = f"unset {KERNEL_VARIABLE}, or set it to a kernel that this user can read"
        named = f"{image} ({KERNEL_VARIABLE})"
        modules = Path(os.environ.get(MODULES_VARIABLE) or modules_of(image))
    else:
        there = kernels()
        if not there:
            raise HostError("no /boot/vmlinuz-*", hint=f"{make_setup()} {INSTALL}")
        usable = [kernel for kernel in there if modules_of(kernel).is_dir()]
        if not usable:
            raise HostError(f"{newest_kernel(there)} has no modules in /lib/modules", hint=f"{make_setup()} {INSTALL}")
        image = newest_kernel(usable)
        # Ubuntu: https://bugs.launchpad.net/bugs/759725
        hint = f"sudo chmod 0644 {image} ({make_setup()} does it), or build as root"
        named, modules = os.fspath(image), modules_of(image)
    if not can_read(image):
        raise HostError(f"{named} cannot be read by this user", hint=hint)
    return HostKernel(image=image, modules=modules)


def find_kernel() -> HostKernel | None:
    """The kernel that libguestfs would start; None where there is none that can be read and has its modules."""
    try:
        kernel = choose_kernel()
    except HostError:
        return None
    return kernel if kernel.modules.is_dir() else None


def kernels() -> Sequence[Path]:
    return sorted(Path("/boot").glob("vmlinuz-*"))


def modules_of(kernel: Path) -> Path:
    """Where the modules of a kernel are, whether or not they are there."""
    return Path("/lib/modules", kernel.name.removeprefix("vmlinuz-"))


def newest_kernel(kernels: Iterable[Path]) -> Path:
    """The kernel with the highest version; numbers count as numbers."""
    return max(kernels, key=lambda kernel: [int(part) for part in re.findall(r"\d+", kernel.name)])


def can_read(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def module_files(modules: Path, names: Iterable[str]) -> list[Path]:
    """The files to load, in this order, so that `names` are there; none for what is built in.

    Raises LookupError for a name that this kernel does not have.
    """
    built_in = {module_name(line) for line in _lines(modules / "modules.builtin")}
    lines = (line.replace(":", "").split() for line in _lines(modules / "modules.dep"))
    needs = {module_name(line[0]): line for line in lines if line}
    files: dict[Path, None] = {}
    for name in names:
        if name in needs:
            # modprobe loads what a module needs from the right to the left: see modules.dep(5).
            files |= dict.fromkeys(modules / file for file in reversed(needs[name]))
        elif name not in built_in:
            raise LookupError(f"{modules} has no module {name}")
    return list(files)


def module_name(file: str) -> str:
    """The name of the module in a file, which may be compressed."""
    return Path(file).name.partition(".")[0].replace("-", "_")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise LookupError(f"{file} cannot be read: {error.strerror}") from error
