"""Running build/provision/provision.sh in the mounted guest, step by step."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ci.host.appliance.guestfish import Guestfish
from ci.host.errors import BuildError
from ci.host.process import TAIL_LINES
from ci.image.authorized_keys import AuthorizedKey
from ci.image.definition import Definition
from ci.image.disk.layout import EFI, Layout
from ci.image.packages.archive import MOUNT_POINT
from ci.image.packages.transaction import Transaction
from ci.records.build import Driver

SCRIPT = "provision.sh"
# In the guest, outside all folders the build cleans up by itself.
FOLDER = "/var/lib/fountainkit-build"
ARCHIVE_DEVICE = "/dev/sdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStep:
    """A step of the script, what to call it, and the seconds that it may take with KVM."""

    name: str
    title: str
    timeout: float


PREPARE = GuestStep(name="prepare", title="Taking back the base's own settings", timeout=120)
PACKAGES = GuestStep(name="packages", title="Installing packages", timeout=600)
SETTINGS = GuestStep(name="settings", title="Settling login, services and boot loader", timeout=240)
VERIFY = GuestStep(name="verify", title="Asserting what the guest needs", timeout=60)
CLEAN = GuestStep(name="clean", title="Removing what must not ship", timeout=60)


def inputs(definition: Definition, keys: tuple[AuthorizedKey, ...], transaction: Transaction) -> dict[str, str]:
    """The files that the script reads: name to content."""
    lists = {
        "request": transaction.request,
        "exclude": definition.files.exclude,
        "include": definition.files.include,
        "plain": definition.files.plain,
        "mask": definition.services.mask,
        "disable": definition.services.disable,
        "enable": definition.services.enable,
        "authorized_keys": tuple(key.line for key in keys),
    }
    files = {name: "".join(f"{line}\n" for line in lines) for name, lines in lists.items()}
    return files | {"plan": transaction.plan}


def environment(layout: Layout) -> dict[str, str]:
    """What the script expects to be set."""
    places = {"ROOT_UUID": "/", "BOOT_UUID": "/boot", "ESP_UUID": EFI}
    return {name: layout[place].uuid if place in layout else "" for name, place in places.items()}


def install_script(guest: Guestfish, script: Path, files: Mapping[str, str]) -> None:
    """Put the script and its inputs into the guest, in a folder that is taken out again in the end."""
    guest.command("rm-rf", FOLDER)
    guest.command("mkdir-mode", FOLDER, "0700")
    guest.command("upload", script, f"{FOLDER}/{SCRIPT}")
    for name, content in files.items():
        guest.write(f"{FOLDER}/{name}", content)


@contextmanager
def archive_mounted(guest: Guestfish) -> Iterator[None]:
    """The session's archive of packages, in its place."""
    guest.command("mkdir-p", MOUNT_POINT)
    guest.command("mount-ro", ARCHIVE_DEVICE, MOUNT_POINT)
    yield
    guest.command("umount", MOUNT_POINT)


def perform(guest: Guestfish, step: GuestStep, variables: Mapping[str, str], *, timeout: float) -> str:
    """Run one step and return what it printed; raises BuildError."""
    assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    code, output = guest.shell(f"{assignments} sh {FOLDER}/{SCRIPT} {step.name}", timeout=timeout)
    if code == 0:
        return output
    raise BuildError(
        f"{step.title} failed",
        hint=f"The last lines above tell why; the step is `{step.name}` of build/provision/{SCRIPT}.",
        details="\n".join(output.splitlines()[-TAIL_LINES:]),
    )


def parse_kernel(output: str) -> tuple[str, dict[str, Driver]]:
    """The release and the drivers that `verify` tells as `kernel RELEASE`, and `driver NAME HOW` for each."""
    words = [line.split() for line in output.splitlines()]
    (release,) = (row[1] for row in words if row[:1] == ["kernel"])
    return release, {row[1]: Driver(row[2]) for row in words if row[:1] == ["driver"]}
