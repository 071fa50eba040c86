"""A base image made from packages, for machines that reach a package archive but no image host."""

import hashlib
import os
from pathlib import Path

from ci.host import qcow2
from ci.host.accelerator import Acceleration, with_other
from ci.host.appliance import guestfish
from ci.host.errors import BuildError, HostError
from ci.host.files import sha256_file, write_atomic
from ci.host.prerequisites import OUTPUT_BYTES
from ci.host.process import run
from ci.host.progress import Reporter
from ci.host.workspace import exclusive, require_space, work_folder
from ci.image.base.base_image import VerifiedBase
from ci.image.base.suites import find_sources
from ci.image.definition import Bootstrap
from ci.records.build import Verification

# Disks laid out like Ubuntu's cloud images, without a file system for /boot and with one: the table of partitions, as
# sfdisk reads it, and the size in bytes.
LAYOUTS = {False: ("layout.sfdisk", 2252 << 20), True: ("layout-boot.sfdisk", 3584 << 20)}
# Those of e2fsprogs 1.46, whatever this machine's makes by default: grub before 2.12 reads no root with later ones.
# https://e2fsprogs.sourceforge.net/e2fsprogs-release.html#1.47.0
EXT4_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,"
    "dir_nlink,extra_isize,metadata_csum"
)
INSTALL_SECONDS = 900


def bootstrap_base(
    bootstrap: Bootstrap, *, recipe: Path, cache: Path, acceleration: Acceleration, reporter: Reporter
) -> VerifiedBase:
    """The bootstrapped base, from the cache where it is already there and undamaged.

    `recipe` is the folder with the partition table and the script that makes the disk bootable. A cached base may be
    older than the archive; the build upgrades its packages.
    """
    key = recipe_digest(bootstrap, recipe)
    image = cache / "bootstrap" / f"{bootstrap.suite}-{key[:16]}.qcow2"
    claimed = image.with_suffix(".sha256")
    with exclusive(image.with_suffix(".lock"), lambda: reporter.step("Waiting for another run that makes this base")):
        if not (image.exists() and claimed.exists() and claimed.read_text().strip() == sha256_file(image)):
            image.unlink(missing_ok=True)
            _make(bootstrap, recipe, image, acceleration, reporter)
    return VerifiedBase(
        path=image,
        url=f"bootstrap:{bootstrap.suite}",
        sha256=claimed.read_text().strip(),
        size=image.stat().st_size,
        verification=Verification.SIGNED_PACKAGES,
        verified_by=bootstrap.keyring.name,
    )


def recipe_digest(bootstrap: Bootstrap, recipe: Path) -> str:
    """What decides the base: its packages and the files of the recipe."""
    digest = hashlib.sha256(bootstrap.model_dump_json().encode())
    for path in sorted(recipe.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def mmdebstrap_argv(bootstrap: Bootstrap, sources: list[str], target: Path) -> list[str]:
    """The command that installs the packages into a tar archive."""
    return [
        "mmdebstrap",
        "--verbose",  # or it is silent for as long as packages are installed
        "--variant=minbase",
        "--format=tar",
        f"--keyring={bootstrap.keyring}",
        f"--include={','.join(bootstrap.packages)}",
        '--aptopt=Acquire::Languages "none"',
        "--aptopt=Acquire::Retries 3",
        "--dpkgopt=force-unsafe-io",
        bootstrap.suite,
        os.fspath(target),
        *sources,
    ]  # fmt: skip


def contained_argv(argv: list[str], *, root: bool) -> list[str]:
    """`argv` so that neither its processes nor its mounts outlive it, even where it is killed.

    mmdebstrap does so by itself where root does not run it.
    """
    # The kernel ends all processes of a PID namespace with their first one, and then has no use for its mounts.
    return ["unshare", "--mount-proc", "--pid", "--fork", "--kill-child=KILL", "--", *argv] if root else argv


def _make(bootstrap: Bootstrap, recipe: Path, image: Path, acceleration: Acceleration, reporter: Reporter) -> None:
    require_space(image.parent, OUTPUT_BYTES)
    if not bootstrap.keyring.exists():
        raise HostError(
            f"{bootstrap.keyring} is missing: nothing would vouch for the packages",
            hint="Install the package debian-archive-keyring.",
        )
    with work_folder(image.parent) as work:
        packages, disk, compressed = work / "root.tar", work / "disk.raw", work / image.name
        limit, root = acceleration.scaled(INSTALL_SECONDS), os.geteuid() == 0
        with reporter.step(f"Bootstrapping {bootstrap.suite} from the package archive", limit=limit):
            sources = find_sources(bootstrap.suite, [str(archive) for archive in bootstrap.archives])
            argv = contained_argv(mmdebstrap_argv(bootstrap, sources, packages), root=root)
            # As another user it needs a folder that its subordinate users may enter.
            run(argv, timeout=limit, env={"TMPDIR": os.fspath(work)} if root else {})
        with reporter.step("Making it a bootable disk", silence=acceleration.silence):
            with_other(acceleration, lambda found: _make_disk(packages, disk, bootstrap, recipe, found), reporter.note)
        with reporter.step("Compressing the base image"):
            qcow2.convert_compressed(disk, compressed, source_format="raw")
        write_atomic(image.with_suffix(".sha256"), sha256_file(compressed) + "\n")
        compressed.chmod(0o444)
        compressed.rename(image)


def _make_disk(packages: Path, disk: Path, bootstrap: Bootstrap, recipe: Path, acceleration: Acceleration) -> None:
    table, size = LAYOUTS[bootstrap.separate_boot]
    with disk.open("wb") as file:
        file.truncate(size)
    # libguestfs numbers partitions in their order on the disk; only sfdisk can make the root number 1 and last.
    run(["sfdisk", "--quiet", disk], stdin=recipe / table, timeout=60)
    with guestfish.session(disk, "raw", acceleration=acceleration, temporary=disk.parent) as guest:
        guest.start()
        ext4 = ("blocksize:4096", f"features:{EXT4_FEATURES}")
        guest.command("mkfs", "ext4", "/dev/sda1", "label:cloudimg-rootfs", *ext4)
        guest.command("mkfs", "vfat", "/dev/sda15", "label:UEFI")
        guest.command("mount", "/dev/sda1", "/")
        if bootstrap.separate_boot:
            guest.command("mkfs", "ext4", "/dev/sda16", "label:BOOT", *ext4)
            guest.command("mkdir-p", "/boot")
            guest.command("mount", "/dev/sda16", "/boot")
        guest.command("tar-in", packages, "/", timeout=acceleration.scaled(300))
        guest.command("mkdir-p", "/boot/efi")
        guest.command("mount", "/dev/sda15", "/boot/efi")
        guest.command("upload", recipe / "finish.sh", "/finish.sh")
        code, output = guest.shell("sh /finish.sh", timeout=acceleration.scaled(300))
        if code != 0:
            raise BuildError("the bootstrapped base could not be made bootable", details=output[-2000:])
        guest.command("rm", "/finish.sh")
        for place in ("/", "/boot") if bootstrap.separate_boot else ("/",):
            guest.command("fstrim", place)
