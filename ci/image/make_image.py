"""From the base image to the provisioned disk, in one libguestfs session: upon a layer where there is one."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from ci.host import qcow2
from ci.host.accelerator import Acceleration
from ci.host.appliance import guestfish
from ci.host.appliance.guestfish import Guestfish
from ci.host.errors import BaseImageError, BuildError
from ci.host.progress import Reporter
from ci.host.qcow2 import DiskFormat
from ci.image import guest_script
from ci.image.disk import layout
from ci.image.disk.layers import Layer, LayerCache, layer_key
from ci.image.disk.layout import Layout, Partition, Table
from ci.image.guest_files import write_tar
from ci.image.guest_script import GuestKernel
from ci.image.packages.apt import Choice
from ci.image.packages.archive import make_archive
from ci.image.packages.choose import BaseFacts
from ci.image.packages.requirements import read_requirements
from ci.image.packages.transaction import Transaction
from ci.image.plan import Plan

# Files that decide what a layer is.
LAYER_CODE = (
    "host/appliance/guestfish.py",
    "host/qcow2.py",
    "image/disk/layout.py",
    "image/guest_script.py",
    "image/make_image.py",
    "image/packages/appliance.conf",
    "image/packages/archive.py",
    "image/packages/policy.conf",
    "image/packages/transaction.py",
)
REQUIREMENTS = "requirements.toml"
IDENTITY_PATH = "etc/fountainkit/image.json"
RESOLVER_STUB = "../run/systemd/resolve/stub-resolv.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What was done with the packages, and what the guest says: of its kernel, and of its folders' sizes (`du`)."""

    transaction: Transaction
    kernel: GuestKernel
    folder_sizes: str


def make_image(plan: Plan, image: Path, work: Path, acceleration: Acceleration, reporter: Reporter) -> Provisioned:
    """Write the image of `plan` into the QCOW2 `image`; `work` is on the same file system."""
    base = _BaseDisk(plan, work)
    with reporter.step("Choosing packages"):
        choice = base.facts().choose(plan.definition.packages, read_requirements(plan.provision / REQUIREMENTS))
    _show(choice.transaction, reporter)
    layers = LayerCache(plan.cache / "layers")
    key = _key(plan, choice.transaction)
    use: AbstractContextManager[Layer | None] = layers.use(key) if plan.use_layers else nullcontext(None)
    with use as layer:
        if layer is None:
            start = _start_from_base(base, choice, work, reporter)
        else:
            reporter.note("Packages: from the cached layer of an earlier build")
            start = _start_from_layer(layer, plan, work)
        with guestfish.session(
            start.disk, start.disk_format, acceleration=acceleration, temporary=work, archive=start.archive
        ) as guest:
            with reporter.step("Starting the libguestfs appliance", silence=acceleration.silence):
                guest.start()
            session = _Session(plan, guest, start.layout, choice.transaction, acceleration.scaled(1), reporter)
            if layer is None:
                session.install_packages()
                with reporter.step("Keeping the packages as a layer"):
                    guest.command("umount-all")
                    guest.command("sync")
                    layers.store(key, start.disk, start.disk_format, asdict(start.layout))
            found = session.finish(work)
        with reporter.step("Compressing the image"):
            qcow2.convert_compressed(start.disk, image, source_format=start.disk_format)
        start.disk.unlink()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The disk that the session starts with, and the disk with packages for it, where it needs some."""

    disk: Path
    disk_format: DiskFormat
    layout: Layout
    archive: Path | None


class _BaseDisk:
    """The base's content as a raw disk in `work`, made when it is first needed."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self._plan = plan
        self._work = work

    def facts(self) -> BaseFacts:
        """What the base says about its packages, from the cache where it was read before."""
        facts = BaseFacts(self._plan.cache, self._plan.base.sha256)
        if not facts.path.exists():
            raw, _, root = self._opened
            try:
                facts.read(layout.root_files(raw, root, self._work))
            except BuildError as error:
                raise _unreadable(error) from error
        return facts

    def grow(self) -> tuple[Path, Layout]:
        """The disk, as large as the definition wants it."""
        raw, table, root = self._opened
        boot = layout.find_boot(raw, table, root, self._work)
        layout.grow_root(raw, root, self._plan.disk_bytes, self._work)
        return raw, layout.appliance_layout(table, root, boot)

    @cached_property
    def _opened(self) -> tuple[Path, Table, Partition]:
        base, raw = self._plan.base.path, self._work / "disk.raw"
        qcow2.convert_to_raw(base, raw, source_format=qcow2.disk_format(base))
        table = layout.read_table(raw)
        try:
            root = layout.find_root(raw, table, self._plan.definition.os, self._work)
        except BuildError as error:
            raise _unreadable(error) from error
        layout.require_growable(table, root)
        return raw, table, root


def _unreadable(error: BuildError) -> BaseImageError:
    return BaseImageError(
        "the base image's root file system cannot be read", hint=layout.BASE_HINT, details=error.message
    )


def _show(transaction: Transaction, reporter: Reporter) -> None:
    """Say what becomes of the packages before it is done."""
    lists = {
        "come": [f"{change.name} {change.after}" for change in transaction.comes],
        "go": [change.name for change in transaction.goes],
        "change": [f"{change.name} {change.before} to {change.after}" for change in transaction.becomes],
    }
    for what, packages in lists.items():
        reporter.note(f"         {len(packages)} packages {what}{': ' * bool(packages)}{', '.join(packages)}")


def _start_from_base(base: _BaseDisk, choice: Choice, work: Path, reporter: Reporter) -> _Start:
    archive = work / "archive.img"
    with reporter.step("Growing the root file system"):
        disk, where = base.grow()
    with reporter.step("Putting the packages on a disk"):
        make_archive(choice.files, choice.described, archive, work)
    return _Start(disk=disk, disk_format=DiskFormat.RAW, layout=where, archive=archive)


def _start_from_layer(layer: Layer, plan: Plan, work: Path) -> _Start:
    disk = work / "disk.qcow2"
    qcow2.create_overlay(layer.path, disk, plan.disk_bytes)
    return _Start(disk=disk, disk_format=DiskFormat.QCOW2, layout=Layout(**layer.about), archive=None)


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
    return layer_key(inputs, [*code, plan.provision / guest_script.SCRIPT])


@dataclass(frozen=True, slots=True)
class _Session:
    """What is done in the guest: `install_packages` where it starts from the base, and `finish`.

    `scale` is by how much more time than with KVM everything takes.
    """

    plan: Plan
    guest: Guestfish
    layout: Layout
    transaction: Transaction
    scale: float
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
        self._install_guest_files(work)
        self._perform(guest_script.SETTINGS)
        kernel = guest_script.parse_kernel(self._perform(guest_script.VERIFY))
        folder_sizes = self._perform(guest_script.CLEAN)
        with self.reporter.step("Sealing the disk"):
            self._seal()
        return Provisioned(transaction=self.transaction, kernel=kernel, folder_sizes=folder_sizes)

    def _mount(self) -> None:
        layout.mount(self.guest, self.layout)
        plan = self.plan
        files = guest_script.inputs(plan.definition, plan.keys, self.transaction)
        guest_script.install_script(self.guest, plan.provision / guest_script.SCRIPT, files)

    def _perform(self, step: guest_script.GuestStep) -> str:
        with self.reporter.step(step.title, limit=step.timeout * self.scale):
            variables = guest_script.environment(self.layout)
            return guest_script.perform(self.guest, step, variables, scale=self.scale)

    def _install_guest_files(self, work: Path) -> None:
        archive = work / "guest.tar"
        extra = {IDENTITY_PATH: self.plan.identity.to_json().encode()}
        write_tar(archive, self.plan.guest, extra, mtime=int(self.plan.built_at.timestamp()))
        self.guest.command("tar-in", archive, "/")

    def _seal(self) -> None:
        """The last touches, which no command run in the guest may follow: each one brings something back.

        libguestfs exchanges /etc/resolv.conf while a command runs, so it can only be set from outside.
        """
        guest = self.guest
        guest_script.remove_script(guest)
        guest.command("rm-f", "/etc/resolv.conf")
        guest.command("ln-s", RESOLVER_STUB, "/etc/resolv.conf")
        for path in ("/etc/machine-id", "/usr/sbin/policy-rc.d", "/var/lib/systemd/random-seed"):
            size = guest.command("filesize", path).strip() if guest.command("exists", path).strip() == "true" else "0"
            if size != "0":
                raise BuildError(
                    f"{path} must not ship filled", hint="A step after `clean` wrote it; see provision.sh."
                )
        guest.command("sync")
        for place in ("/", "/boot") if self.layout.boot else ("/",):
            guest.command("fstrim", place, timeout=600)
