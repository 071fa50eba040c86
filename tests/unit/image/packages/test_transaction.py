import re

import pytest

from ci.host.errors import BuildError
from ci.image.definition import Packages
from ci.image.packages.transaction import POLICY, Deb, Transaction, after, parse_changes, parse_files, request
from ci.records.build import PackageStep

SHA = "a" * 64
# As apt-get 2.6 prints it, but for the package that goes without its configuration.
SIMULATION = """\
NOTE: This is only a simulation!
Reading package lists...
The following packages will be REMOVED:
  vim* wget
Purg vim [2:9.0.1378-2+deb12u2] [ubuntu-standard:amd64 ]
Remv wget [1.21.3-1+b1]
Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst login [1:4.13+dfsg1-1+deb12u1] (1:4.13+dfsg1-1+deb12u2 Debian:12.15/oldstable [amd64]) [passwd:amd64 ]
Inst systemd-resolved (252.39-1~deb12u2 Debian:12.15/oldstable [amd64])
Inst tzdata (2026a-0+deb12u1 localhost [all])
Conf systemd-resolved (252.39-1~deb12u2 Debian:12.15/oldstable [amd64])
"""
CHANGES = (
    PackageStep(name="libgcrypt20", before="1.10.1-3", after="1.10.1-3+deb12u1"),
    PackageStep(name="login", before="1:4.13+dfsg1-1+deb12u1", after="1:4.13+dfsg1-1+deb12u2"),
    PackageStep(name="systemd-resolved", before="", after="252.39-1~deb12u2"),
    PackageStep(name="tzdata", before="", after="2026a-0+deb12u1"),
    PackageStep(name="vim", before="2:9.0.1378-2+deb12u2", after=""),
    PackageStep(name="wget", before="1.21.3-1+b1", after=""),
)
WISH = Packages(install=("git", "curl"), purge=("vim", "snapd"), upgrade=True)


def transaction(*changes: PackageStep) -> Transaction:
    return Transaction(request=("install",), changes=changes, install=())


def names(changes: tuple[PackageStep, ...]) -> list[str]:
    return [change.name for change in changes]


def file_line(name: str, digest: str = f"SHA256:{SHA}") -> str:
    return f"'http://deb.example.org/pool/{name}' {name} 123 {digest}\n"


def test_what_comes_goes_and_changes_is_read_from_the_simulation() -> None:
    assert parse_changes(SIMULATION) == CHANGES


def test_nothing_to_do_is_no_change() -> None:
    assert parse_changes("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n") == ()


def test_each_change_is_of_one_kind() -> None:
    found = transaction(*CHANGES)
    assert names(found.comes) == ["systemd-resolved", "tzdata"]
    assert names(found.goes) == ["vim", "wget"]
    assert names(found.becomes) == ["libgcrypt20", "login"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (PackageStep(name="vim", before="2:9.0-1", after=""), "vim 2:9.0-1 -"),
        (PackageStep(name="git", before="", after="1:2.39"), "git - 1:2.39"),
        (PackageStep(name="curl", before="7-1", after="7-2"), "curl 7-1 7-2"),
    ],
)
def test_the_plan_has_a_line_for_each_change_in_the_words_of_apts_hook(change: PackageStep, line: str) -> None:
    assert transaction(change).plan == f"{line}\n"


def test_the_plan_of_nothing_is_empty() -> None:
    assert transaction().plan == ""


def test_the_plan_has_every_change_once() -> None:
    lines = transaction(*CHANGES).plan.splitlines()
    assert [line.split(" ")[0] for line in lines] == names(CHANGES)


def test_an_upgrade_is_one_request_with_all_that_is_wished() -> None:
    assert request(WISH, {"vim", "bash"}) == ("dist-upgrade", "--auto-remove", "--purge", "curl", "git", "vim-")


def test_without_an_upgrade_packages_are_only_installed_and_removed() -> None:
    words = request(Packages(install=("curl",), purge=("vim",), upgrade=False), {"vim"})
    assert words == ("install", "--auto-remove", "--purge", "curl", "vim-")


@pytest.mark.parametrize("installed", [(), ("bash", "vim-common", "xsnapd")])
def test_what_is_not_there_is_not_purged_because_apt_may_not_know_it(installed: tuple[str, ...]) -> None:
    assert not [word for word in request(WISH, installed) if word.endswith("-")]


def test_what_is_left_over_goes_with_what_is_purged_each_once() -> None:
    words = request(WISH, {"vim", "linux-image-1"}, ["linux-image-1", "vim"])
    assert words[-2:] == ("linux-image-1-", "vim-")
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ((), {"bash", "vim"}),
        ((PackageStep(name="vim", before="1", after=""),), {"bash"}),
        ((PackageStep(name="git", before="", after="1"),), {"bash", "git", "vim"}),
        ((PackageStep(name="vim", before="1", after="2"),), {"bash", "vim"}),
        (
            (PackageStep(name="vim", before="1", after=""), PackageStep(name="nano", before="", after="1")),
            {"bash", "nano"},
        ),
    ],
)
def test_what_is_there_afterwards_follows_from_the_changes(changes: tuple[PackageStep, ...], there: set[str]) -> None:
    assert after(["bash", "vim"], changes) == there


def test_files_are_read_with_their_digests_and_sorted() -> None:
    output = file_line("git_1%3a2.39.5-0+deb12u3_amd64.deb") + file_line("ca-certificates_20230311_all.deb")
    assert parse_files(output) == (
        Deb(name="ca-certificates", version="20230311", architecture="all", sha256=SHA),
        Deb(name="git", version="1:2.39.5-0+deb12u3", architecture="amd64", sha256=SHA),
    )


def test_a_file_is_called_what_apt_calls_it() -> None:
    (deb,) = parse_files(file_line("git_1%3a2.39.5-0+deb12u3_amd64.deb"))
    assert deb.file == "git_1%3a2.39.5-0+deb12u3_amd64.deb"


def test_a_file_without_a_digest_that_can_be_trusted_is_refused() -> None:
    with pytest.raises(BuildError, match="not understood"):
        parse_files(file_line("git_2_amd64.deb", "MD5Sum:0123"))


def test_the_policy_takes_a_list_of_the_bases_back_before_it_makes_its_own() -> None:
    for name in re.findall(r"^(APT::\S+) \{\s*\n?.*;", POLICY, re.MULTILINE):
        if name != "APT::Architectures":
            before, _, _ = POLICY.partition(f"\n{name} {{")
            assert f"#clear {name};" in before


def test_the_policy_has_only_amd64_and_no_phased_updates() -> None:
    assert 'APT::Architectures { "amd64"; };' in POLICY
    assert 'APT::Get::Never-Include-Phased-Updates "true";' in POLICY
