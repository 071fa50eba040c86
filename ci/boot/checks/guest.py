"""The questions put to the guest, as data: a shell command each, and the answer it should give.

docs/validation.md has a section per id: what it guards, and the command for a person to type.
"""

import re
from collections.abc import Sequence

from ci.boot.checks.access import (
    ACCESS_CHECKS,
    BEFORE_BOOT,
    FRESH_HOST_KEYS,
    FRESH_MACHINE_ID,
    GATEWAY,
    LOGIN_USERS,
    MACHINE_ID,
    NAMESERVER,
    NO_EXTRA_HOST_KEYS,
    NO_RECORD,
    SSHD_FOUNTAIN,
    SSHD_ROOT,
    authorized_keys,
)
from ci.boot.checks.check import AtLeast, Between, CommandCheck, Empty, Equals, JsonHas, Lines, Matches
from ci.records.build import BuildRecord

DISK_GIB = 20

SYSTEM_RUNNING = CommandCheck(
    id="system-running",
    title="systemd has finished starting, without a failure",
    command="systemctl is-system-running --wait",
    expected=Equals("running"),
)
FAILED_UNITS = CommandCheck(
    id="failed-units",
    title="No unit has failed",
    command="systemctl --failed --no-legend --plain",
    expected=Empty(),
)
QUICK_START = CommandCheck(
    id="quick-start",
    title="Without a seed SSH comes before the rest of the start",
    command="systemctl is-active fountainkit-first.target",
    expected=Equals("active"),
)
SUDO = CommandCheck(
    id="sudo-without-prompt",
    title="sudo asks nothing and complains of nothing",
    command="sudo -n whoami 2>&1",
    expected=Equals("root"),
)
DEFAULT_ROUTE = CommandCheck(
    id="default-route",
    title="DHCP gave the default route",
    command="ip -4 route show default",
    expected=Matches(rf"default via {re.escape(GATEWAY)} dev \S+ proto dhcp .*", f"default via {GATEWAY}, by DHCP"),
)
RESOLVER = CommandCheck(
    id="resolver",
    title="A name server is configured",
    command=(
        "for file in /run/systemd/resolve/resolv.conf /etc/resolv.conf; do "
        '[ ! -e "$file" ] || awk \'$1 == "nameserver" && $2 !~ /^127/ {print $2}\' "$file"; done | sort -u'
    ),
    expected=Matches(rf"{re.escape(NAMESERVER)}(\n\S+)*", f"{NAMESERVER}, from DHCP"),
)
CURL = CommandCheck(
    id="curl-runs",
    title="curl runs",
    command="curl --version | awk 'NR == 1'",
    expected=Matches(r"curl [0-9].*", "curl and its version"),
)
GIT = CommandCheck(
    id="git-runs",
    title="git runs",
    command="git --version",
    expected=Matches(r"git version [0-9].*", "git and its version"),
)
PYTHON = CommandCheck(
    id="python3-runs",
    title="Python runs, with its standard library",
    command="python3 -c 'import ssl, sys; print(sys.version_info.major)'",
    expected=Equals("3"),
)
_SYSTEM = (
    SYSTEM_RUNNING,
    FAILED_UNITS,
    QUICK_START,
    SUDO,
    CommandCheck(
        id="guest-agent-active",
        title="The guest agent runs where its channel is attached",
        command="systemctl is-active qemu-guest-agent.service",
        expected=Equals("active"),
    ),
    CommandCheck(
        id="root-size",
        title="The root file system, and /boot where it is another, fill the disk",
        command="df --block-size=1 --output=size --type=ext4 --total | awk 'END {printf \"%.2f\\n\", $1 / 1073741824}'",
        expected=Between(19.0, 20.0, "GiB"),
    ),
    CommandCheck(
        id="root-free",
        title="The root file system has room for work",
        command="df --block-size=1 --output=avail / | awk 'NR == 2 {printf \"%.2f\\n\", $1 / 1073741824}'",
        expected=AtLeast(15.0, "GiB"),
    ),
    CommandCheck(
        id="root-device",
        title="The kernel finds its root file system whatever the disk is called",
        command="cat /proc/cmdline",
        expected=Matches(r"(.* )?root=(UUID|LABEL|PARTUUID)=\S+( .*)?", "root= by UUID or label"),
    ),
    CommandCheck(
        id="initrd-per-kernel",
        title="Each installed kernel has an initrd",
        command=(
            "for kernel in /boot/vmlinuz-*; do "
            '[ -s "/boot/initrd.img-${kernel#/boot/vmlinuz-}" ] || echo "$kernel"; done'
        ),
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="9p-modules",
        title="The kernel has 9p over virtio",
        command="modprobe --all 9p 9pnet_virtio && ls -d /sys/module/9p /sys/module/9pnet_virtio",
        expected=Lines(("/sys/module/9p", "/sys/module/9pnet_virtio")),
        root=True,
    ),
    CommandCheck(
        id="no-share-no-mount",
        title="Without a share nothing is mounted from the host",
        command="awk '$3 == \"9p\"' /proc/mounts",
        expected=Empty(),
    ),
)

_TOOLS = (
    CURL,
    GIT,
    PYTHON,
    CommandCheck(
        id="pip3-runs",
        title="pip runs",
        command="pip3 --version",
        expected=Matches(r"pip [0-9].* \(python 3\.[0-9]+\)", "pip, its version and its Python"),
    ),
    CommandCheck(
        id="dpkg-audit",
        title="No package is half-installed",
        command="dpkg --audit",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="dpkg-lock",
        title="Nothing holds the dpkg lock",
        command=(
            "python3 -c 'import fcntl; "
            '[fcntl.lockf(open(f"/var/lib/dpkg/{name}", "a"), fcntl.LOCK_EX | fcntl.LOCK_NB) '
            'for name in ("lock", "lock-frontend")]; print("free")\''
        ),
        expected=Equals("free"),
        root=True,
    ),
    CommandCheck(
        id="background-jobs",
        title="Nothing updates, phones home or seeds snaps by itself",
        command=(
            "systemctl list-units --no-legend --plain --state=active,activating,failed "
            "'apt-*' 'unattended-upgrades*' 'motd-news*' 'update-notifier*' 'snapd*' 'pollinate*' 'ua-*' 'esm-cache*'"
        ),
        expected=Empty(),
    ),
    CommandCheck(
        id="timers",
        title="Nothing is started by the clock but systemd's cleaning of temporary files",
        command="systemctl list-units --no-legend --plain --type=timer --state=active | awk '{print $1}'",
        expected=Lines(("systemd-tmpfiles-clean.timer",)),
    ),
)

_NETWORK = (
    DEFAULT_ROUTE,
    RESOLVER,
    CommandCheck(
        id="hostname-resolves",
        title="The host name resolves",
        command='getent hosts "$(hostname)"',
        expected=Matches(r"\S+\s+\S.*", "an address and the name"),
    ),
    CommandCheck(
        id="no-network-wait",
        title="Nothing waits for the network at start",
        command="systemctl list-units --no-legend --plain --state=active,activating,failed '*-wait-online*'",
        expected=Empty(),
    ),
    CommandCheck(
        id="cloud-init-disabled",
        title="Without a seed cloud-init stays off",
        command="cloud-init status",
        expected=Matches(r"status: disabled(\n.*)*", "status: disabled"),
    ),
    CommandCheck(
        id="cloud-init-inactive",
        title="Without a seed no unit of cloud-init runs",
        command="systemctl list-units --no-legend --plain --state=active,activating,failed 'cloud-*'",
        expected=Empty(),
    ),
)

_LEFTOVERS = (
    CommandCheck(
        id="package-lists",
        title="No package lists",
        command="find /var/lib/apt/lists -type f ! -name lock",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="package-cache",
        title="No downloaded packages, no apt cache",
        command="find /var/cache/apt -name '*.deb' -o -name '*.bin'",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="old-logs",
        title="No logs from before this start",
        command=f"find /var/log -type f -size +0 {BEFORE_BOOT}",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="journal-one-boot",
        title="The journal knows this start only",
        command="journalctl --list-boots --no-pager | grep -cE '[0-9a-f]{32}'",
        expected=Equals("1"),
        root=True,
    ),
    CommandCheck(
        id="private-files",
        title="No shell history, and nothing in /root/.ssh",
        # systemd makes the empty folder itself at every start: see tmpfiles.d/provision.conf.
        command="find /root /home -name '.*_history' -o -path '/root/.ssh/*'",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="builder-files",
        title="No files of the build in the temporary folders",
        command=f"find /tmp /var/tmp -xdev -mindepth 1 {BEFORE_BOOT}",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="dhcp-leases",
        title="No DHCP lease from before this start",
        command=f"find /var/lib -name '*.lease*' {BEFORE_BOOT}",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="policy-rc-d",
        title="Packages may start their services",
        command="find /usr/sbin /usr/local/sbin -name policy-rc.d",
        expected=Empty(),
    ),
    CommandCheck(
        id="cloud-init-state",
        title="No state of an earlier cloud-init, no seed in the image",
        command="find /var/lib -path '/var/lib/cloud/*' ! -type d -o -path '/var/lib/cloud/instances/*'",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="cloud-init-files",
        title="No configuration written by an earlier cloud-init",
        command="find /etc -name '50-cloud-init*' -o -name '90-cloud-init-users*'",
        expected=Empty(),
        root=True,
    ),
    CommandCheck(
        id="random-seed",
        title="No random seed from before this start",
        command=f"find /var/lib -name random-seed {BEFORE_BOOT}",
        expected=Empty(),
        root=True,
    ),
)


def full_checks(record: BuildRecord | None, extra_fingerprints: Sequence[str]) -> tuple[CommandCheck, ...]:
    """Every question for an ordinary start.

    `extra_fingerprints` are of the keys the test itself added. Without a build record its comparisons are skipped.
    """
    return (
        *_SYSTEM,
        *_TOOLS,
        *ACCESS_CHECKS,
        authorized_keys(record, extra_fingerprints),
        _image_json(record),
        *_NETWORK,
        *_LEFTOVERS,
    )


def _image_json(record: BuildRecord | None) -> CommandCheck:
    values = {
        "name": record.name if record else "",
        "version": record.version if record else "",
        "commit": record.commit if record else "",
        "base_sha256": record.base.sha256 if record else "",
    }
    return CommandCheck(
        id="image-json",
        title="/etc/fountainkit/image.json tells what the build record tells",
        command="cat /etc/fountainkit/image.json",
        expected=JsonHas(tuple(values.items())),
        skip="" if record else NO_RECORD,
    )


def clone_checks() -> tuple[CommandCheck, ...]:
    """What a second start must show as well; that it differs from the first is compared outside."""
    return (SYSTEM_RUNNING, FAILED_UNITS, MACHINE_ID, FRESH_MACHINE_ID, NO_EXTRA_HOST_KEYS, FRESH_HOST_KEYS)


def seed_checks(hostname: str, marker_path: str, marker: str) -> tuple[CommandCheck, ...]:
    """What a start with a NoCloud seed must show."""
    return (
        SYSTEM_RUNNING,
        CommandCheck(
            id="cloud-init-done",
            title="cloud-init took the seed and met no error",
            # Its exit status says no more than the result, which names the errors.
            command="cloud-init status --wait >/dev/null; cat /run/cloud-init/result.json",
            expected=JsonHas((("v1.errors", []),)),
        ),
        CommandCheck(
            id="cloud-init-warnings",
            title="cloud-init warned of nothing",
            command="awk '/WARNING|Traceback/' /var/log/cloud-init.log",
            expected=Empty(),
            root=True,
        ),
        CommandCheck(
            id="seed-hostname",
            title="The seed's host name is set",
            command="hostname",
            expected=Equals(hostname),
        ),
        CommandCheck(
            id="seed-file",
            title="The seed's file is written",
            command=f"cat {marker_path}",
            expected=Equals(marker),
        ),
        FAILED_UNITS,
        SUDO,
        SSHD_FOUNTAIN,
        SSHD_ROOT,
        LOGIN_USERS,
        DEFAULT_ROUTE,
        RESOLVER,
    )
