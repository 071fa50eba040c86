import pytest

from ci.host.errors import BaseImageError, BuildError
from ci.image.definition import Packages
from ci.image.packages import dpkg
from ci.image.packages.dpkg import PackageStanza
from ci.image.packages.guard import require_allowed, why_impossible
from ci.image.packages.transaction import Transaction
from ci.records.build import PackageStep

KERNEL = "linux-image-5.15.0-151-generic"
OLD_KERNEL = "linux-image-5.15.0-9-generic"
REFUSAL = "the image's packages cannot be changed as its definition asks for: "
ROLES = {
    "boot loader": "grub-pc", "initramfs tool": "initramfs-tools", "SSH server": "openssh-server", "sudo": "sudo",
    "init": "systemd-sysv",
}  # fmt: skip


def package(name: str, needs: str = "", provides: str = "", conflicts: str = "", **fields: str) -> PackageStanza:
    relations = {"Depends": needs, "Provides": provides, "Conflicts": conflicts}
    return dpkg.package({"Package": name, "Version": "1", **relations, **fields})


BASE = [package(name) for name in (*ROLES.values(), KERNEL, "linux-image-virtual", "bash", "curl")]


def plan(*, goes: tuple[str, ...] = (), comes: tuple[str, ...] = ()) -> Transaction:
    gone = [PackageStep(name=name, before="1", after="") for name in goes]
    new = [PackageStep(name=name, before="", after="1") for name in comes]
    return Transaction(request=(), changes=tuple(sorted([*gone, *new])), install=())


def wish(install: tuple[str, ...] = (), purge: tuple[str, ...] = ()) -> Packages:
    return Packages(install=install, purge=purge, upgrade=True)


def judge(
    transaction: Transaction, wanted: Packages, *others: PackageStanza, base: list[PackageStanza] | None = None
) -> None:
    """`others` are packages beside those of the base, or instead of them; what does not come is in the base too."""
    universe = {one.name: one for one in [*(BASE if base is None else base), *others]}
    new = {change.name for change in transaction.comes}
    require_allowed(transaction, wanted, universe, universe.keys() - new)


def refusal(transaction: Transaction, wanted: Packages, *others: PackageStanza) -> BuildError:
    with pytest.raises(BuildError) as caught:
        judge(transaction, wanted, *others)
    assert caught.value.message.startswith(REFUSAL)
    assert "packages.purge" in caught.value.hint
    return caught.value


def test_what_nobody_needs_may_come_and_go() -> None:
    wanted = wish(install=("git",), purge=("snapd",))
    judge(plan(goes=("snapd", "squashfs-tools"), comes=("git", "git-man")), wanted,
          package("snapd", needs="squashfs-tools"), package("squashfs-tools"), package("git", needs="git-man"),
          package("git-man"))  # fmt: skip


def test_the_chain_from_what_must_stay_to_what_is_purged_is_told_link_by_link() -> None:
    error = refusal(
        plan(goes=("cloud-init", "netplan.io", "libnetplan0")),
        wish(install=("cloud-init",), purge=("libnetplan0",)),
        package("cloud-init", needs="python3, netplan.io"),
        package("netplan.io", needs="libnetplan0 (>= 0.104)"),
        package("libnetplan0"),
    )
    assert error.message == (
        f"{REFUSAL}cloud-init needs netplan.io, which needs libnetplan0, which the definition purges"
    )
    assert error.details == ""


@pytest.mark.parametrize(
    "name",
    [
        "grub-pc", "grub-common", "grub2-common", "grub-efi-amd64-signed", "shim-signed", "initramfs-tools",
        "initramfs-tools-core", "openssh-server", "openssh-sftp-server", "sudo", "init", "systemd", "systemd-sysv",
        "udev", "linux-image-virtual", "linux-image-amd64", "linux-virtual", "linux-generic-hwe-22.04", KERNEL,
    ],
)  # fmt: skip
def test_what_a_start_or_a_login_needs_may_not_be_purged(name: str) -> None:
    error = refusal(plan(goes=(name,)), wish(purge=(name,)), package(name))
    assert error.message == f"{REFUSAL}{name} would go: the definition purges it"


@pytest.mark.parametrize(
    "name", ["openssh-client", "systemd-timesyncd", "sudo-rs", "linux-base", "linux-image-unsigned-4.15.0-1-generic"]
)
def test_what_only_sounds_like_it_may(name: str) -> None:
    judge(plan(goes=(name,)), wish(purge=(name,)), package(name))


def test_what_goes_with_something_that_is_purged_is_told_so() -> None:
    error = refusal(
        plan(goes=("grub-pc", "os-prober")),
        wish(purge=("os-prober",)),
        package("grub-pc", needs="os-prober"),
        package("os-prober"),
    )
    assert error.message == f"{REFUSAL}grub-pc needs os-prober, which the definition purges"


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (package("grub-efi", conflicts="grub-pc (<< 9)"), package("grub-pc")),
        (package("grub-efi"), package("grub-pc", conflicts="grub-efi")),
        (package("grub-efi", provides="grub", conflicts="grub"), package("grub-pc", provides="grub")),
        (package("grub-efi", provides="grub"), package("grub-pc", provides="grub", conflicts="grub")),
    ],
    ids=["new", "old", "new by a virtual name", "old by a virtual name"],
)
def test_what_goes_because_something_else_comes_is_told_so(new: PackageStanza, old: PackageStanza) -> None:
    unrelated = package("efibootmgr", conflicts="elilo")
    transaction = plan(goes=("grub-pc",), comes=("efibootmgr", "grub-efi"))
    error = refusal(transaction, wish(install=("grub-efi",)), unrelated, new, old)
    assert error.message == f"{REFUSAL}grub-pc would go: grub-efi, which comes, cannot be beside it"


def test_what_goes_because_nothing_needs_it_is_told_so() -> None:
    transaction = plan(goes=("openssh-sftp-server",), comes=("git",))
    error = refusal(transaction, wish(install=("git",)), package("openssh-sftp-server"), package("git"))
    assert error.message == (
        f"{REFUSAL}openssh-sftp-server would go: it was installed automatically, and nothing that stays needs it"
    )


def test_an_old_kernel_may_go() -> None:
    judge(plan(goes=(OLD_KERNEL,)), wish(), package(OLD_KERNEL))


def test_the_kernel_that_boots_may_not_go_even_where_an_old_one_stays() -> None:
    error = refusal(plan(goes=(KERNEL,)), wish(purge=(KERNEL,)), package(OLD_KERNEL))
    assert error.message == f"{REFUSAL}{KERNEL} would go: the definition purges it"


def test_the_bases_only_kernel_is_not_said_to_be_missing_where_it_would_go() -> None:
    error = refusal(plan(goes=(KERNEL,)), wish(purge=(KERNEL,)))
    assert error.message == f"{REFUSAL}{KERNEL} would go: the definition purges it"


def test_the_bases_kernel_may_go_where_a_newer_one_comes() -> None:
    newer = "linux-image-5.15.0-160-generic"
    judge(plan(goes=(KERNEL,), comes=(newer,)), wish(), package(newer))


@pytest.mark.parametrize(("role", "name"), ROLES.items())
def test_a_base_that_lacks_what_must_be_there_is_refused(role: str, name: str) -> None:
    base = [one for one in BASE if one.name != name]
    with pytest.raises(BaseImageError, match=rf"^the base image has no {name}, its {role}$") as caught:
        judge(plan(), wish(), base=base)
    assert caught.value.hint


@pytest.mark.parametrize("name", ROLES.values())
def test_what_the_base_lacks_may_come(name: str) -> None:
    base = [one for one in BASE if one.name != name]
    judge(plan(comes=(name,)), wish(install=(name,)), package(name), base=base)


def test_a_base_without_a_kernel_is_refused() -> None:
    base = [one for one in BASE if one.name != KERNEL]
    with pytest.raises(BaseImageError, match=r"^the base image has no kernel$") as caught:
        judge(plan(), wish(), base=base)
    assert "not an image for containers" in caught.value.hint


def test_what_is_purged_and_would_come_is_told_with_what_needs_it() -> None:
    error = refusal(
        plan(comes=("git", "liberror-perl", "perl")),
        wish(install=("curl", "git"), purge=("perl",)),
        package("git", needs="liberror-perl"),
        package("liberror-perl", needs="perl"),
        package("perl"),
    )
    assert error.message == f"{REFUSAL}git needs liberror-perl, which needs perl, which the definition purges"


def test_what_is_purged_and_would_stay_is_told() -> None:
    error = refusal(plan(), wish(purge=("perl",)), package("perl"), package("debconf", needs="perl"))
    assert error.message == f"{REFUSAL}perl would stay: something that is installed needs it"


def test_of_several_problems_the_first_is_the_message_and_the_others_the_details() -> None:
    error = refusal(
        plan(goes=("sudo", "udev")),
        wish(purge=("libaudit1", "perl")),
        package("udev"),
        package("sudo", needs="libaudit1"),
        package("libaudit1"),
        package("perl"),
    )
    assert error.message.startswith(f"{REFUSAL}sudo ")
    assert [line.split(" ")[0] for line in error.details.splitlines()] == ["udev", "libaudit1", "perl"]


class TestWhatCannotBe:
    """What apt refuses to plan, told from what the packages say of each other."""

    @staticmethod
    def told(*packages: PackageStanza) -> list[str]:
        return why_impossible(wish(install=("mailer",), purge=("exim4",)), {one.name: one for one in packages})

    def test_what_needs_something_that_is_purged_cannot_be_installed(self) -> None:
        assert self.told(package("mailer", needs="exim4"), package("exim4")) == [
            "mailer needs exim4, which the definition purges"
        ]

    def test_an_alternative_that_stays_is_enough(self) -> None:
        exim, postfix = package("exim4"), package("postfix")
        assert self.told(package("mailer", needs="exim4 | postfix"), exim, postfix) == []

    def test_an_alternative_that_nobody_has_is_not(self) -> None:
        assert self.told(package("mailer", needs="exim4 | postfix"), package("exim4")) == [
            "mailer needs exim4, which the definition purges"
        ]

    def test_an_alternative_that_goes_too_is_not(self) -> None:
        other = package("postfix", needs="exim4")
        assert self.told(package("mailer", needs="postfix | exim4"), package("exim4"), other) == [
            "mailer needs postfix, which needs exim4, which the definition purges"
        ]

    def test_another_package_of_the_same_virtual_name_is_enough(self) -> None:
        exim, postfix = (package(name, provides="mail-transport-agent (= 1)") for name in ("exim4", "postfix"))
        mailer = package("mailer", needs="mail-transport-agent")
        assert self.told(mailer, exim, postfix) == []
        assert self.told(mailer, exim) == ["mailer needs exim4, which the definition purges"]

    def test_what_is_purged_and_nowhere_is_no_reason(self) -> None:
        assert self.told(package("mailer", needs="exim4")) == []

    def test_what_no_system_can_be_without_cannot_be_purged(self) -> None:
        assert self.told(package("exim4", Essential="yes"), package("bash", needs="exim4", Essential="yes")) == [
            "exim4 is vital to any system, and the definition purges it"
        ]

    def test_nor_can_what_it_needs(self) -> None:
        needing = package("dpkg", needs="tar", Essential="yes"), package("tar", needs="exim4")
        assert self.told(*needing, package("exim4")) == [
            "dpkg needs tar, which needs exim4, which the definition purges"
        ]

    def test_what_the_definition_itself_installs_is_told_first(self) -> None:
        others = package("bash", needs="exim4", Essential="yes"), package("exim4", Essential="yes")
        assert self.told(package("mailer", needs="exim4"), *others) == [
            "mailer needs exim4, which the definition purges"
        ]

    def test_packages_that_need_each_other_go_together(self) -> None:
        circle = package("liba", needs="libb"), package("libb", needs="liba, exim4")
        assert self.told(package("mailer", needs="liba"), *circle, package("exim4")) == [
            "mailer needs liba, which needs libb, which needs exim4, which the definition purges"
        ]
