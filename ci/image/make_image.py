"""From the base image to the provisioned disk, in one libguestfs session: upon a layer where there is one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from ci.host import qcow2
from ci.host.accelerator import Acceleration
from ci.host.appliance import guestfish
from ci.host.appliance.guestfish import Guestfish
from ci.host.errors import BaseImageError, BuildError
from ci.host.progress import Reporter
from ci.host.qcow2 import DiskFormat
from ci.host.repository import BUILD
from ci.image import guest_script
from ci.image.disk import layout
from ci.image.disk.layers import Layer, LayerCache, layer_key
from ci.image.disk.layout import Layout, Partition, Table
from ci.image.guest_files import write_tar
from ci.image.packages.archive import make_archive
from ci.image.packages.choose import BaseFacts
from ci.image.packages.requirements import read_requirements
from ci.image.packages.transaction import Transaction
from ci.image.plan import Plan
from ci.records.build import Driver

# Files that decide what a layer is.
LAYER_CODE = (
    "host/appliance/guestfish.py",
    "host/appliance/hypervisor.sh.in",
    "host/qcow2.py",
    "image/disk/layout.py",
    "image/guest_script.py",
    "image/make_image.py",
    "image/packages/appliance.conf",
    "image/packages/archive.py",
    "image/packages/policy.conf",
    "image/packages/transaction.py",
)
PROVISION = BUILD / "provision"
REQUIREMENTS = "requirements.toml"
IDENTITY_PATH = "etc/fountainkit/image.json"
RESOLVER_STUB = "../run/systemd/resolve/stub-resolv.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What was done, with which accelerator, and what the guest says: of its kernel, and of its folders' sizes (`du`).

    `drivers` is of those that the start needs: whether the kernel has them built in.
    """

    acceleration: Acceleration
    transaction: Transaction
    kernel: str
    drivers: dict[str, Driver]
    folder_sizes: str


def make_image(plan: Plan, image: Path, work: Path, acceleration: Acceleration, reporter: Reporter) -> Provisioned:
    """Write the image of `plan` into the QCOW2 `image`; `work` is on the same file system."""
    opened = cache(partial(_open_base, plan, work))  # where the base has to be looked into
    with reporter.step("Choosing packages"):
        facts = BaseFacts(plan.cache, plan.base.sha256)
        if not facts.path.exists():
            raw, _, root = opened()
            with _base_to_blame():
                facts.read(layout.root_files(raw, root, work))
        choice = facts.choose(plan.definition.packages, read_requirements(PROVISION / REQUIREMENTS))
    _show(choice.transaction, reporter)
    layers, key = LayerCache(plan.cache / "layers"), _key(plan, choice.transaction)
    use: AbstractContextManager[Layer | None] = layers.use(key) if plan.use_layers else nullcontext(None)
    with use as layer:
        archive = None
        if layer:
            reporter.note("Packages: from the cached layer of an earlier build")
            disk, disk_format, where = work / "disk.qcow2", DiskFormat.QCOW2, layer.layout
            qcow2.create_overlay(layer.path, disk, plan.disk_bytes)
        else:
            with reporter.step("Growing the root file system"):
                disk, table, root = opened()
                where = layout.appliance_layout(table, root, layout.read_text(disk, root, layout.FSTAB, work) or "")
                layout.grow_root(disk, root, plan.disk_bytes, work)
                disk_format, archive = DiskFormat.RAW, work / "archive.img"
            with reporter.step("Putting the packages on a disk"):
                make_archive(choice.files, choice.described, archive, work)
        with guestfish.session(disk, disk_format, acceleration=acceleration, temporary=work, archive=archive) as guest:
            with reporter.step("Starting the libguestfs appliance", silence=acceleration.silence):
                guest.start()
            session = _Session(plan, guest, where, choice.transaction, acceleration, reporter)
            if layer is None:
                session.install_packages()
                with reporter.step("Keeping the packages as a layer"):
                    guest.command("umount-all")
                    guest.command("sync")
                    layers.store(key, disk, disk_format, where)
            found = session.finish(work)
        with reporter.step("Compressing the image"):
            qcow2.convert_compressed(disk, image, source_format=disk_format)
        disk.unlink()
    return found


def _open_base(plan: Plan, work: Path) -> tuple[Path, Table, Partition]:
    """The base's content as a raw disk in `work`, its partitions, and the one with the root."""
    base, raw = plan.base.path, work / "disk.raw"
    qcow2.convert_to_raw(base, raw, source_format=qcow2.disk_format(base))
    table = layout.read_table(raw)
    with _base_to_blame():
        root = layout.find_root(raw, table, plan.definition.os, work)
    layout.require_growable(table, root)
    return raw, table, root


@contextmanager
def _base_to_blame() -> Iterator[None]:
    try:
        yield
    except BuildError as error:
        message = "the base image's root file system cannot be read"
        raise BaseImageError(message, hint=layout.BASE_HINT, details=error.message) from error


def _show(transaction: Transaction, reporter: Reporter) -> None:
    """Say what becomes of the packages before it is done."""
    lists = {
        "come": [f"{change.name} {change.after}" for change in transaction.comes],
        "go": [change.name for change in transaction.goes],
        "change": [f"{change.name} {change.before} to {change.after}" for change in transaction.becomes],
    }
    for what, packages in lists.items():
        reporter.note(f"         {len(packages)} packages {what}{': ' * bool(packages)}{', '.join(packages)}")


def _key(plan: Plan, transaction: Transaction) -> str:
    definition = plan.definition
    inputs = {
        "base": plan.base.sha256,
        "disk": plan.disk_bytes,
        "os": definition.os.model_dump(),
        "packages": definition.packages.model_dump(),
        "files": definition.files.model_dump(),
        "transaction": asdict(transaction),
    }
    code = [Path(__file__).parents[1] / name for name in LAYER_CODE]
    return layer_key(inputs, [*code, PROVISION / guest_script.SCRIPT])


@dataclass(frozen=True, slots=True)
class _Session:
    """What is done in the guest: `install_packages` where it starts from the base, and `finish`."""

    plan: Plan
    guest: Guestfish
    layout: Layout
    transaction: Transaction
    acceleration: Acceleration
    reporter: Reporter

    def install_packages(self) -> None:
        """Everything that a layer holds; the guest's own files, which change most often, come later."""
        self._mount()
        with guest_script.archive_mounted(self.guest):
            self._perform(guest_script.PREPARE)
            self._perform(guest_script.PACKAGES)

    def finish(self, work: Path) -> Provisioned:
        """Make an image of the base with its packages."""
        self._mount()
        archive = work / "guest.tar"
        extra = {IDENTITY_PATH: self.plan.identity.to_json().encode()}
        write_tar(archive, BUILD / "guest", extra, mtime=int(self.plan.built_at.timestamp()))
        self.guest.command("tar-in", archive, "/")
        self._perform(guest_script.SETTINGS)
        kernel, drivers = guest_script.parse_kernel(self._perform(guest_script.VERIFY))
        folder_sizes = self._perform(guest_script.CLEAN)
        with self.reporter.step("Sealing the disk"):
            self._seal()
        return Provisioned(
            acceleration=self.acceleration,
            transaction=self.transaction,
            kernel=kernel,
            drivers=drivers,
            folder_sizes=folder_sizes,
        )

    def _mount(self) -> None:
        layout.mount(self.guest, self.layout)
        plan = self.plan
        files = guest_script.inputs(plan.definition, plan.keys, self.transaction)
        guest_script.install_script(self.guest, PROVISION / guest_script.SCRIPT, files)

    def _perform(self, step: guest_script.GuestStep) -> str:
        timeout = self.acceleration.scaled(step.timeout)
        with self.reporter.step(step.title, limit=timeout):
            return guest_script.perform(self.guest, step, guest_script.environment(self.layout), timeout=timeout)

    def _seal(self) -> None:
        """The last touches, which no command run in the guest may follow: each one brings something back.

        libguestfs exchanges /etc/resolv.conf while a command runs, so it can only be set from outside.
        """
        guest = self.guest
        guest.command("rm-rf", guest_script.FOLDER)
        guest.command("rm-f", "/etc/resolv.conf")
        guest.command("ln-s", RESOLVER_STUB, "/etc/resolv.conf")
        for path in ("/etc/machine-id", "/usr/sbin/policy-rc.d", "/var/lib/systemd/random-seed"):
            size = guest.command("filesize", path).strip() if guest.command("exists", path).strip() == "true" else "0"
            if size != "0":
                raise BuildError(
                    f"{path} must not ship filled", hint="A step after `clean` wrote it; see provision.sh."
                )
        guest.command("sync")
        for place in (one for one in self.layout if one != layout.EFI):
            guest.command("fstrim", place, timeout=600)
