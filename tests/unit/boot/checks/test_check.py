from datetime import UTC, datetime

import pytest

from ci.boot.checks.check import (
    NOTHING,
    Expectation,
    ImageCheck,
    accepts_nothing,
    exactly,
    json_with,
    matching,
    number_within,
)
from ci.boot.scenarios import questions, recorded
from ci.boot.vm.ssh import CommandResult
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord, Verification
from ci.records.validation import Outcome

DIGEST = "b" * 64
KEY = "SHA256:baked"
EPHEMERAL = "SHA256:ephemeral"

RECORD = BuildRecord(
    name="jammy",
    version="v2026.11.23",
    definition="jammy",
    definition_sha256="d" * 64,
    inputs={},
    distribution="ubuntu-2204",
    commit="c" * 40,
    dirty=False,
    built_at=datetime(2026, 11, 23, tzinfo=UTC),
    base=BaseImageRecord(
        url="file:///base.img",
        sha256=DIGEST,
        size=1,
        verification=Verification.PINNED_DIGEST,
        verified_by="the definition",
    ),
    image=ArtifactRecord(file="image.qcow2", sha256="a" * 64, size=1, virtual_size=20 << 30),
    packages=300,
    transaction=[],
    kernel="5.15",
    drivers={},
    authorized_keys=[KEY],
    accelerator="tcg",
    tools={},
    steps=[],
    seconds=1,
    peak_memory=1,
)

IMAGE_JSON = f'{{"name": "jammy", "version": "v2026.11.23", "commit": "{"c" * 40}", "base_sha256": "{DIGEST}"}}'
SSHD = """\
authorizedkeyscommand none
authorizedkeysfile .ssh/authorized_keys
gssapiauthentication no
hostbasedauthentication no
kbdinteractiveauthentication no
passwordauthentication no
permitemptypasswords no
permitrootlogin no
port 22
port 3023
pubkeyauthentication yes
trustedusercakeys none"""
HARDENED = "allowusers fountain\nlogingracetime 180\nmaxstartups 100:30:100\npermituserrc no"
PRIVATE = "700 fountain:fountain /home/fountain\n600 root:root /boot/grub/grub.cfg"
LISTENING = "tcp 0.0.0.0:22\ntcp 0.0.0.0:3023\ntcp [::]:22\ntcp [::]:3023"
PASSWORDS_ALLOWED = SSHD.replace("passwordauthentication no", "passwordauthentication yes")
ROOT_ALLOWED = SSHD.replace("permitrootlogin no", "permitrootlogin prohibit-password")
THIRD_PORT = f"{SSHD}\nport 2222"
ROUTE = "default via 10.0.2.2 dev ens3 proto dhcp src 10.0.2.15 metric 1024 "
MODES = "700 fountain:fountain /home/fountain/.ssh\n600 fountain:fountain /home/fountain/.ssh/authorized_keys"
OPEN_MODES = MODES.replace("600", "644")
CLOUD_INIT_RESULT = '{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb][dsmode=net]", "errors": []}}'
CLOUD_INIT_ERRORS = '{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb][dsmode=net]", "errors": ["ssh"]}}'

TIMERS = "systemd-tmpfiles-clean.timer\nfountainkit-clock.timer"

# What a good guest answers to each check of the table, and what a bad one may.
ANSWERS = {
    "system-running": ("running", "degraded"),
    "failed-units": ("", "ssh.service loaded failed failed OpenBSD Secure Shell server"),
    "quick-start": ("active", "inactive"),
    "sudo-without-prompt": ("root", "sudo: unable to resolve host toolsmith: Name or service not known\nroot"),
    "guest-agent-active": ("active", "inactive"),
    "root-size": ("19.35", "2.87"),
    "root-free": ("18.01", "14.99"),
    "root-device": ("BOOT_IMAGE=/boot/vmlinuz root=UUID=1-2 ro", "BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 ro"),
    "late-timer": ("quiet no_timer_check systemd.show_status=error", "quiet no_timer_checks"),
    "initrd-per-kernel": ("", "/boot/vmlinuz-6.1.0-1-amd64"),
    "9p-modules": ("/sys/module/9p\n/sys/module/9pnet_virtio", "/sys/module/9p"),
    "no-share-no-mount": ("", "work /mnt/work 9p ro 0 0"),
    "curl-runs": ("curl 7.81.0 (x86_64-pc-linux-gnu)", ""),
    "git-runs": ("git version 2.34.1", ""),
    "python3-runs": ("3", ""),
    "venv-wheel": ("1\nworks", "works"),
    "pip-user": ("works", ""),
    "user-services": ("works", ""),
    "services-on-request": ("", "cron.service"),
    "locale": ("C.UTF-8", ""),
    "dpkg-audit": ("", "The following packages are only half configured"),
    "dpkg-lock": ("free", ""),
    "background-jobs": ("", "apt-daily.timer loaded active waiting Daily apt download activities"),
    "timers": (TIMERS, f"{TIMERS}\nupdate-notifier-download.timer"),
    "sshd-settings-fountain": (SSHD, PASSWORDS_ALLOWED),
    "sshd-settings-root": (SSHD, ROOT_ALLOWED),
    "root-locked": ("!*", "$6$salt$hash"),
    "no-passwords": ("", "ubuntu"),
    "login-users": ("", "toor"),
    "fountain-account": ("/home/fountain:/bin/bash", "/home/fountain:/usr/sbin/nologin"),
    "sudo-rules": ("root\nfountain", "root\nubuntu\nfountain"),
    "admin-groups": ("", "sudo:x:27:fountain,ubuntu"),
    "authorized-keys-mode": (MODES, OPEN_MODES),
    "other-authorized-keys": ("", "/root/.ssh/authorized_keys"),
    "sshd-hardened": (HARDENED, HARDENED.replace("180", "600")),
    "sshd-sources": ("66", "none"),
    "ssh-algorithms": ("", "ecdh-sha2-nistp256"),
    "set-id": ("", "passwd"),
    "private-paths": (PRIVATE, PRIVATE.replace("700", "755")),
    "listening": (LISTENING, f"{LISTENING}\ntcp 0.0.0.0:111"),
    "kernel-settings": ("1 1 1 1 1 0 2 1 1 0 0 0 0", "1 0 2 0 1 0 2 1 1 0 0 0 0"),
    "no-autoload": ("", "sctp"),
    "host-keys": ("ssh_host_ed25519_key\nssh_host_ed25519_key.pub", "ssh_host_rsa_key\nssh_host_rsa_key.pub"),
    "host-keys-fresh": ("", "/etc/ssh/ssh_host_ed25519_key"),
    "machine-id": ("0123456789abcdef0123456789abcdef", "uninitialized"),
    "machine-id-fresh": ("", "/etc/machine-id"),
    "dbus-machine-id": ("", "/var/lib/dbus/machine-id"),
    "authorized-keys": (f"{EPHEMERAL}\n{KEY}", f"{EPHEMERAL}\n{KEY}\nSHA256:foreign"),
    "image-json": (IMAGE_JSON, IMAGE_JSON.replace("v2026.11.23", "v2026.11.22")),
    "default-route": (ROUTE.strip(), "default via 10.0.2.2 dev ens3 proto static"),
    "resolver": ("10.0.2.3\nfec0::3", ""),
    "hostname-resolves": ("127.0.1.1       toolsmith", ""),
    "made-cards": ("", "3 made-veth ether degraded configuring"),
    "no-network-wait": ("", "systemd-networkd-wait-online.service loaded active exited Wait for Network"),
    "cloud-init-disabled": ("status: disabled", "status: done"),
    "cloud-init-inactive": ("", "cloud-init.service loaded active exited Initial cloud-init job"),
    "package-lists": ("", "/var/lib/apt/lists/archive_dists_jammy_InRelease"),
    "package-cache": ("", "/var/cache/apt/pkgcache.bin"),
    "old-logs": ("", "/var/log/dpkg.log"),
    "journal-one-boot": ("1", "2"),
    "private-files": ("", "/root/.bash_history"),
    "builder-files": ("", "/var/tmp/builder.log"),  # noqa: S108 - no file of ours
    "dhcp-leases": ("", "/var/lib/dhcp/dhclient.leases"),
    "policy-rc-d": ("", "/usr/sbin/policy-rc.d"),
    "cloud-init-state": ("", "/var/lib/cloud/instances/i-1"),
    "cloud-init-files": ("", "/etc/netplan/50-cloud-init.yaml"),
    "random-seed": ("", "/var/lib/systemd/random-seed"),
    "no-oom-kill": ("", "[   12.3] Out of memory: Killed process 321 (git)"),
    "share-mounted": ("work   9p", "/dev/vda1 ext4"),
    "share-pieces": ("msize=32768", "msize=131072"),
    "share-readable": ("known content", ""),
    "share-names": ("known content", ""),
    "share-private": ("known content", ""),
    "share-elsewhere": ("work\nwork", "work"),
    "swap": ("/dev/zram0  partition  81904  8448  100", ""),
    "share-read-only": ("refused", "written"),
    "cloud-init-done": (CLOUD_INIT_RESULT, CLOUD_INIT_ERRORS),
    "cloud-init-warnings": ("", "util.py[WARNING]: Running module locale failed"),
    "seed-hostname": ("seeded", "toolsmith"),
    "seed-file": ("marker", ""),
    "seed-network": ("10.0.2.15/24\n192.0.2.17/24", "10.0.2.15/24"),
    "seed-ntp": ("active\nNTP=10.0.2.2", "inactive"),
}


def all_command_checks() -> dict[str, ImageCheck]:
    known: dict[str, Expectation] = {
        "share-readable": exactly("known content"),
        "share-names": exactly("known content"),
        "share-private": exactly("known content"),
        "seed-file": exactly("marker"),
        **recorded(RECORD, EPHEMERAL),
    }
    return {check.id: check for boot in ("full", "clone", "consumer", "seed") for check in questions(boot, known)}


def answer(stdout: str, *, exit_status: int = 0, stderr: str = "") -> CommandResult:
    return CommandResult(exit_status=exit_status, stdout=stdout, stderr=stderr, seconds=0.5)


def test_every_command_check_has_a_good_and_a_bad_answer_here() -> None:
    assert set(ANSWERS) == set(all_command_checks())


def test_a_good_answer_passes(subtests: pytest.Subtests) -> None:
    for check_id, (good, _) in ANSWERS.items():
        with subtests.test(check_id=check_id):
            result = all_command_checks()[check_id].judge("full", answer(f"{good}\n"))
            assert (result.outcome, result.id, result.boot) == (Outcome.PASSED, check_id, "full")


def test_a_bad_answer_fails_and_is_quoted(subtests: pytest.Subtests) -> None:
    for check_id, (_, bad) in ANSWERS.items():
        with subtests.test(check_id=check_id):
            result = all_command_checks()[check_id].judge("full", answer(f"{bad}\n"))
            assert result.outcome is Outcome.FAILED
            assert result.actual == (bad or NOTHING)


def test_a_command_that_could_not_look_does_not_pass(subtests: pytest.Subtests) -> None:
    for check_id, (good, _) in ANSWERS.items():
        with subtests.test(check_id=check_id):
            check = all_command_checks()[check_id]
            broken = check.judge("full", answer(good, exit_status=127))
            complaining = check.judge("full", answer(good, stderr="find: Permission denied\n"))
            assert (broken.outcome, complaining.outcome) == (Outcome.FAILED, Outcome.FAILED)
            assert "exit status 127" in broken.actual
            assert "Permission denied" in complaining.actual


@pytest.mark.parametrize("settings", [PASSWORDS_ALLOWED, ROOT_ALLOWED, THIRD_PORT, SSHD.replace("\nport 3023", "")])
def test_any_weaker_sshd_setting_fails(settings: str) -> None:
    for name in ("fountain", "root"):
        check = all_command_checks()[f"sshd-settings-{name}"]
        assert check.judge("full", answer(settings)).outcome is Outcome.FAILED


def test_a_baked_key_that_is_missing_fails() -> None:
    check = all_command_checks()["authorized-keys"]
    assert check.judge("full", answer(EPHEMERAL)).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("expected", "good", "bad", "words"),
    [
        (exactly("a"), ["a"], ["", "A", "a\nb"], "a"),
        (exactly("b", "a"), ["a\nb", "b\na"], ["a", "a\na\nb", "a\nb\nc", ""], "a\nb"),
        (exactly(), [""], ["a", " x"], "(nothing)"),
        (matching(r"v\d+", "a version"), ["v1"], ["v1\n\nv2", "xv1", ""], "a version"),
        (number_within(19, 20, "GiB"), ["19", "20.00"], ["18.99", "20.01", "", "19 GiB", "nan"], "19 to 20 GiB"),
        (number_within(15, None, "GiB"), ["15", "99"], ["14.99", "-20", "inf", ""], "at least 15 GiB"),
        (json_with({"a.b": 1}), ['{"a": {"b": 1, "c": 2}}'], ['{"a": {}}', '{"a": 1}', "{", ""], "a.b: 1"),
        (json_with({"a": None}), ['{"a": null}'], ["{}"], "a: null"),
        (Expectation("what it was told", accepts_nothing), [], ["", "what it was told"], "what it was told"),
    ],
)
def test_an_expectation_says_what_it_is_and_accepts_only_that(
    expected: Expectation, good: list[str], bad: list[str], words: str
) -> None:
    assert expected.words == words
    assert [output for output in good if not expected.accepts(output)] == []
    assert [output for output in bad if expected.accepts(output)] == []


def test_root_commands_run_under_sudo_and_a_pipeline_fails_with_any_part() -> None:
    checks = all_command_checks()
    assert checks["dpkg-audit"].shell_line() == "sudo -n bash -o pipefail -c 'dpkg --audit'"
    assert checks["git-runs"].shell_line() == "bash -o pipefail -c 'git --version'"
