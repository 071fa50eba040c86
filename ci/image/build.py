"""The build: base image in, all artifacts out, in one libguestfs session."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ci.host.accelerator import Acceleration
from ci.host.errors import BuildError
from ci.host.files import publish_together, sha256_file, write_atomic
from ci.host.memory import peak_memory
from ci.host.process import run
from ci.host.progress import Reporter
from ci.host.workspace import exclusive, require_space, work_folder
from ci.image import guestfish, layout, provision, qcow2, sbom
from ci.image.authorized_keys import AuthorizedKey
from ci.image.base import VerifiedBase
from ci.image.contents import read_contents
from ci.image.definition import GIB, Definition
from ci.image.guest_files import write_tar
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord, StepRecord
from ci.records.identity import ImageIdentity
from ci.records.packages import to_tsv

SPACE_NEEDED = 6 << 30
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

    @property
    def stem(self) -> str:
        """The name all artifacts share."""
        return self.definition.stem(self.version)


def build(plan: Plan, *, acceleration: Acceleration, reporter: Reporter) -> BuildRecord:
    """Build the image and put its artifacts into `plan.output`, all of them or none; returns the build record."""
    require_space(plan.output, SPACE_NEEDED)
    with work_folder(plan.output) as work:
        disk = work / "disk.qcow2"
        qcow2.create_overlay(plan.base.path, disk, plan.definition.disk.size_gib * GIB)
        kernel = _provision(plan, disk, work, acceleration, reporter)
        staging = work / "staging"
        staging.mkdir()
        image = staging / f"{plan.stem}.qcow2"
        with reporter.step("Compressing the image"):
            qcow2.convert_compressed(disk, image)
        disk.unlink()
        with reporter.step("Hashing it"):
            digest = sha256_file(image)
        with reporter.step("Reading back what is in it"):
            contents = read_contents(image, work)
            bill = sbom.to_cyclonedx(_subject(plan, digest), contents)
        artifact = ArtifactRecord(
            file=image.name,
            sha256=digest,
            size=image.stat().st_size,
            virtual_size=qcow2.info(image).virtual_size,
        )
        packages = contents.inventory.packages
        record = _record(plan, artifact, acceleration, reporter, kernel=kernel, packages=len(packages))
        write_atomic(staging / f"{image.name}.sha256", f"{digest}  {image.name}\n")
        write_atomic(staging / f"{plan.stem}.packages.tsv", to_tsv(packages))
        write_atomic(staging / f"{plan.stem}.cdx.json", bill)
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


def _provision(plan: Plan, disk: Path, work: Path, acceleration: Acceleration, reporter: Reporter) -> str:
    """Make the image of the base on `disk`; returns the version of its kernel."""
    environment = acceleration.guestfs_environment()
    with guestfish.session(disk, "qcow2", environment=environment, temporary=work, network=True) as guest:
        with reporter.step("Starting the libguestfs appliance"):
            guest.start()
        with reporter.step("Growing the root file system"):
            where = layout.find_layout(guest, plan.definition.os)
            layout.grow_root(guest, where)
            layout.mount(guest, where)
        provision.install_script(
            guest, plan.sources.provision / provision.SCRIPT, provision.inputs(plan.definition, plan.keys)
        )
        variables = provision.environment(plan.definition, where)

        def perform(step: provision.Step) -> str:
            with reporter.step(step.title):
                return provision.perform(guest, step, variables, scale=acceleration.scaled(1))

        perform(provision.PREPARE)
        _install_guest_files(guest, plan, work)
        perform(provision.PACKAGES)
        perform(provision.ACCOUNTS)
        perform(provision.SERVICES)
        perform(provision.BOOT)
        kernel = perform(provision.VERIFY).split()[-1]
        perform(provision.CLEAN)
        with reporter.step("Sealing the disk"):
            _seal(guest)
    return kernel


def _subject(plan: Plan, sha256: str) -> sbom.Subject:
    return sbom.Subject(
        name=plan.stem,
        version=plan.version,
        commit=plan.commit,
        built_at=plan.built_at,
        sha256=sha256,
        base_url=plan.base.url,
        base_sha256=plan.base.sha256,
    )


def _install_guest_files(guest: guestfish.Guestfish, plan: Plan, work: Path) -> None:
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


def _seal(guest: guestfish.Guestfish) -> None:
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
    plan: Plan, image: ArtifactRecord, acceleration: Acceleration, reporter: Reporter, *, kernel: str, packages: int
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
        packages=packages,
        kernel=kernel,
        authorized_keys=[key.fingerprint for key in plan.keys],
        accelerator=f"{acceleration.accelerator}: {acceleration.reason}",
        tools={name: run(argv, timeout=30).stdout.splitlines()[0] for name, argv in TOOLS.items()},
        steps=[StepRecord(title=step.title, seconds=step.seconds) for step in reporter.steps],
        seconds=round(sum(step.seconds for step in reporter.steps), 2),
        peak_memory=peak_memory(),
    )
