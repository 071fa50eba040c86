"""The build: base image in, all artifacts out, in one libguestfs session."""

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ci.host.accelerator import Acceleration
from ci.host.errors import BuildError
from ci.host.files import publish_together, sha256_file, write_atomic
from ci.host.memory import peak_memory
from ci.host.process import run
from ci.host.progress import Reporter
from ci.host.workspace import exclusive, require_space, work_folder
from ci.image import guestfish, inventory, layout, packages, provision, qcow2
from ci.image.apt import Transaction
from ci.image.authorized_keys import AuthorizedKey
from ci.image.base import VerifiedBase
from ci.image.definition import GIB, Definition
from ci.image.guest_files import write_tar
from ci.image.guestfish import Guestfish
from ci.image.layers import LayerCache, layer_key
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord, StepRecord
from ci.records.identity import ImageIdentity
from ci.records.packages import Package, to_tsv

SPACE_NEEDED = 6 << 30
# Files of this folder that decide what a layer is.
LAYER_CODE = ("archive.py", "build.py", "guestfish.py", "layout.py", "provision.py")
IDENTITY_PATH = "etc/fountainkit/image.json"
RESOLVER_STUB = "../run/systemd/resolve/stub-resolv.conf"
TOOLS = {
    "guestfish": ("guestfish", "--version"),
    "qemu-img": ("qemu-img", "--version"),
    "qemu": ("qemu-system-x86_64", "--version"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The repository's files that decide what the image is."""

    guest: Path
    provision: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a build needs to know, gathered before it starts."""

    definition: Definition
    definition_name: str
    definition_sha256: str
    version: str
    commit: str
    dirty: bool
    built_at: datetime
    base: VerifiedBase
    keys: tuple[AuthorizedKey, ...]
    sources: Sources
    output: Path
    cache: Path
    use_layers: bool = True

    @property
    def stem(self) -> str:
        """The name all artifacts share."""
        return self.definition.stem(self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Provisioned:
    """What the session with the guest found out."""

    packages: tuple[Package, ...]
    kernel: str


def build(plan: Plan, *, acceleration: Acceleration, reporter: Reporter) -> BuildRecord:
    """Build the image and put its artifacts into `plan.output`, all of them or none; returns the build record."""
    require_space(plan.output, SPACE_NEEDED)
    with work_folder(plan.output) as work:
        disk = work / "disk.qcow2"
        found = _make_disk(plan, disk, work, acceleration, reporter)
        staging = work / "staging"
        staging.mkdir()
        image = staging / f"{plan.stem}.qcow2"
        with reporter.step("Compressing the image"):
            qcow2.convert_compressed(disk, image)
        with reporter.step("Hashing it"):
            digest = sha256_file(image)
        artifact = ArtifactRecord(
            file=image.name,
            sha256=digest,
            size=image.stat().st_size,
            virtual_size=qcow2.info(image).virtual_size,
        )
        record = _record(plan, artifact, found, acceleration, reporter)
        write_atomic(staging / f"{image.name}.sha256", f"{digest}  {image.name}\n")
        write_atomic(staging / f"{plan.stem}.packages.tsv", to_tsv(found.packages))
        record.write(staging / f"{plan.stem}.build.json")
        image.chmod(0o644)
        with exclusive(plan.output / ".lock"):
            publish_together(
                sorted(staging.iterdir()),
                plan.output,
                # Reports of an earlier image of this name would speak of other bytes.
                supersedes=sorted(plan.output.glob(f"{plan.stem}.*")),
                last=image.name,
            )
    return record


def _make_disk(plan: Plan, disk: Path, work: Path, acceleration: Acceleration, reporter: Reporter) -> _Provisioned:
    """Provision `disk`, upon a layer that has the packages already or upon the base."""
    with reporter.step("Choosing packages"):
        choice = packages.choose(plan.definition.packages, plan.base, plan.cache)
    layers = LayerCache(plan.cache / "layers")
    key = _layer_key(plan, choice.transaction)
    with layers.use(key, plan.base.path) if plan.use_layers else nullcontext(None) as layer:
        qcow2.create_overlay(layer or plan.base.path, disk, plan.definition.disk.size_gib * GIB)
        archive = None
        if layer is None:
            archive = work / "archive.img"
            with reporter.step("Putting their archive together"):
                choice.write_archive(archive, work)
        environment = acceleration.guestfs_environment()
        with guestfish.session(disk, "qcow2", environment=environment, temporary=work, archive=archive) as guest:
            with reporter.step("Starting the libguestfs appliance"):
                guest.start()
            provisioning = _Provisioning(plan, guest, acceleration, reporter)
            if layer is None:
                provisioning.install_packages()
                with reporter.step("Keeping the packages as a layer"):
                    guest.command("umount-all")
                    guest.command("sync")
                    layers.store(key, disk)
            return provisioning.finish(work)


def _layer_key(plan: Plan, transaction: Transaction) -> str:
    definition = plan.definition
    inputs = {
        "base": plan.base.sha256,
        "disk": definition.disk.size_gib,
        "os": definition.os.model_dump(),
        "packages": definition.packages.model_dump(),
        "files": definition.files.model_dump(),
        "transaction": asdict(transaction),
    }
    code = [Path(__file__).with_name(name) for name in LAYER_CODE]
    return layer_key(inputs, [*code, plan.sources.provision / provision.SCRIPT])


class _Provisioning:
    """One session with the guest: `install_packages` where it starts from the base, and `finish`."""

    def __init__(self, plan: Plan, guest: Guestfish, acceleration: Acceleration, reporter: Reporter) -> None:
        self._plan = plan
        self._guest = guest
        self._scale = acceleration.scaled(1)
        self._reporter = reporter
        with reporter.step("Finding the root file system"):
            self._layout = layout.find_layout(guest, plan.definition.os)

    def install_packages(self) -> None:
        """Everything that a layer holds; the guest's own files, which change most often, come later."""
        with self._reporter.step("Growing the root file system"):
            layout.grow_root(self._guest, self._layout)
        self._mount()
        with provision.archive_mounted(self._guest):
            self._perform(provision.PREPARE)
            self._perform(provision.PACKAGES)

    def finish(self, work: Path) -> _Provisioned:
        """Make an image of the base with its packages."""
        self._mount()
        _install_guest_files(self._guest, self._plan, work)
        self._perform(provision.ACCOUNTS)
        self._perform(provision.SERVICES)
        self._perform(provision.BOOT)
        kernel = self._perform(provision.VERIFY).split()[-1]
        _, listing = self._guest.shell(f"dpkg-query --show --showformat '{inventory.DPKG_QUERY_FORMAT}'", timeout=120)
        self._perform(provision.CLEAN)
        with self._reporter.step("Sealing the disk"):
            _seal(self._guest)
        return _Provisioned(packages=inventory.parse_dpkg_query(listing), kernel=kernel)

    def _mount(self) -> None:
        layout.mount(self._guest, self._layout)
        plan = self._plan
        provision.install_script(
            self._guest, plan.sources.provision / provision.SCRIPT, provision.inputs(plan.definition, plan.keys)
        )

    def _perform(self, step: provision.Step) -> str:
        with self._reporter.step(step.title):
            variables = provision.environment(self._plan.definition, self._layout)
            return provision.perform(self._guest, step, variables, scale=self._scale)


def _install_guest_files(guest: Guestfish, plan: Plan, work: Path) -> None:
    identity = ImageIdentity(
        name=plan.stem,
        version=plan.version,
        commit=plan.commit,
        built_at=plan.built_at,
        base_sha256=plan.base.sha256,
    )
    archive = work / "guest.tar"
    extra = {IDENTITY_PATH: identity.to_json().encode()}
    write_tar(archive, plan.sources.guest, extra, mtime=int(plan.built_at.timestamp()))
    guest.command("tar-in", archive, "/")


def _seal(guest: Guestfish) -> None:
    """The last touches, which no command run in the guest may follow: each one brings something back.

    libguestfs exchanges /etc/resolv.conf while a command runs, so it can only be set from outside.
    """
    provision.remove_script(guest)
    guest.command("rm-f", "/etc/resolv.conf")
    guest.command("ln-s", RESOLVER_STUB, "/etc/resolv.conf")
    for path in ("/etc/machine-id", "/usr/sbin/policy-rc.d", "/var/lib/systemd/random-seed"):
        size = guest.command("filesize", path).strip() if guest.command("exists", path).strip() == "true" else "0"
        if size != "0":
            raise BuildError(f"{path} must not ship filled", hint="A step after `clean` wrote it; see provision.sh.")
    guest.command("sync")
    guest.command("fstrim", "/", timeout=600)


def _record(
    plan: Plan, image: ArtifactRecord, found: _Provisioned, acceleration: Acceleration, reporter: Reporter
) -> BuildRecord:
    return BuildRecord(
        name=plan.stem,
        version=plan.version,
        definition=plan.definition_name,
        definition_sha256=plan.definition_sha256,
        distribution=plan.definition.distribution,
        commit=plan.commit,
        dirty=plan.dirty,
        built_at=plan.built_at,
        base=BaseImageRecord(
            url=plan.base.url,
            sha256=plan.base.sha256,
            size=plan.base.size,
            verification=plan.base.verification,
            verified_by=plan.base.verified_by,
        ),
        image=image,
        packages=len(found.packages),
        kernel=found.kernel,
        authorized_keys=[key.fingerprint for key in plan.keys],
        accelerator=f"{acceleration.accelerator}: {acceleration.reason}",
        tools={name: run(argv, timeout=30).stdout.splitlines()[0] for name, argv in TOOLS.items()},
        steps=[StepRecord(title=step.title, seconds=step.seconds) for step in reporter.steps],
        seconds=round(sum(step.seconds for step in reporter.steps), 2),
        peak_memory=peak_memory(),
    )
