"""The questions put to the guest about who may log in and with what; guest_checks.py has the others."""

from collections.abc import Sequence

from ci.boot.checks.check import CommandCheck, Empty, Equals, Lines, Matches
from ci.records.build import BuildRecord

NO_RECORD = "no build record beside the image"

USER = "fountain"
SSH_PORTS = (22, 3023)
# QEMU's user network: https://www.qemu.org/docs/master/system/devices/net.html
GATEWAY = "10.0.2.2"
NAMESERVER = "10.0.2.3"

# Files made before this start. The kernel's btime is the wall clock at boot.
BEFORE_BOOT = "! -newermt \"@$(awk '/^btime/ {print $2}' /proc/stat)\""

SSHD_SETTINGS = (
    "authorizedkeyscommand none",
    "authorizedkeysfile .ssh/authorized_keys",
    "gssapiauthentication no",
    "hostbasedauthentication no",
    "kbdinteractiveauthentication no",
    "passwordauthentication no",
    "permitemptypasswords no",
    "permitrootlogin no",
    *(f"port {port}" for port in SSH_PORTS),
    "pubkeyauthentication yes",
    "trustedusercakeys none",
)
_SETTING_NAMES = "|".join(sorted({setting.split()[0] for setting in SSHD_SETTINGS}))


def _sshd_settings(user: str) -> CommandCheck:
    return CommandCheck(
        id=f"sshd-settings-{user}",
        title=f"sshd allows keys only, for {user}",
        command=f"sshd -T -C user={user},host=gateway,addr={GATEWAY} | grep -E '^({_SETTING_NAMES}) ' | sort",
        expected=Lines(SSHD_SETTINGS),
        root=True,
    )


SSHD_FOUNTAIN = _sshd_settings(USER)
SSHD_ROOT = _sshd_settings("root")

LOGIN_USERS = CommandCheck(
    id="login-users",
    title="No other user can log in, and only root has uid 0",
    command=(
        'awk -F: \'($3 == 0 && $1 != "root") || ($3 >= 1000 && $1 != "nobody" && $1 != "fountain" '
        "&& $7 !~ /(nologin|false)$/) {print $1}' /etc/passwd"
    ),
    expected=Empty(),
)
NO_PASSWORDS = CommandCheck(
    id="no-passwords",
    title="No account has a usable or an empty password",
    command="awk -F: '$2 !~ /^[!*]/ {print $1}' /etc/shadow",
    expected=Empty(),
    root=True,
)
NO_EXTRA_HOST_KEYS = CommandCheck(
    id="host-keys",
    title="An ed25519 host key, and no other",
    command="find /etc/ssh -name 'ssh_host_*' -printf '%f\\n'",
    expected=Lines(("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub")),
)
FRESH_HOST_KEYS = CommandCheck(
    id="host-keys-fresh",
    title="The host keys were made at this start",
    command=f"find /etc/ssh -name 'ssh_host_*' {BEFORE_BOOT}",
    expected=Empty(),
)
MACHINE_ID = CommandCheck(
    id="machine-id",
    title="There is a machine-id",
    command="cat /etc/machine-id",
    expected=Matches(r"[0-9a-f]{32}", "32 hexadecimal digits"),
)
FRESH_MACHINE_ID = CommandCheck(
    id="machine-id-fresh",
    title="The machine-id was made at this start",
    command=f"find /etc/machine-id {BEFORE_BOOT}",
    expected=Empty(),
)

ACCESS_CHECKS = (
    SSHD_FOUNTAIN,
    SSHD_ROOT,
    CommandCheck(
        id="root-locked",
        title="The root account is locked",
        command="getent shadow root | cut -d: -f2",
        expected=Matches(r"[!*].*", "a field that starts with ! or *"),
        root=True,
    ),
    NO_PASSWORDS,
    LOGIN_USERS,
    CommandCheck(
        id="fountain-account",
        title="fountain has a home and a shell",
        command="getent passwd fountain | cut -d: -f6,7",
        expected=Equals("/home/fountain:/bin/bash"),
    ),
    CommandCheck(
        id="sudo-rules",
        title="Only root and fountain may use sudo",
        command=(
            "cat /etc/sudoers $(find /etc/sudoers.d -type f ! -name '*.*' ! -name '*~') | "
            "sed -e '/^#include/!s/#.*//' | awk '/!authenticate/ {print; next} "
            '$2 == "/etc/sudoers.d" && $1 ~ /^[@#]includedir$/ {next} NF && $1 != "Defaults" {print $1}\''
        ),
        expected=Lines(("root", USER)),
        root=True,
    ),
    CommandCheck(
        id="admin-groups",
        title="No other user is in a group that amounts to root",
        command=(
            "awk -F: '$1 ~ /^(root|sudo|admin|wheel|disk|shadow|docker|lxd)$/ && $4 !~ /^(fountain)?$/' /etc/group"
        ),
        expected=Empty(),
    ),
    CommandCheck(
        id="authorized-keys-mode",
        title="Only fountain can read or change its authorized keys",
        command=f"stat --format '%a %U:%G %n' /home/{USER}/.ssh /home/{USER}/.ssh/authorized_keys",
        expected=Lines(
            (
                f"700 {USER}:{USER} /home/{USER}/.ssh",
                f"600 {USER}:{USER} /home/{USER}/.ssh/authorized_keys",
            )
        ),
        root=True,
    ),
    CommandCheck(
        id="other-authorized-keys",
        title="No authorized keys anywhere else",
        command=(
            "find / -xdev -path /usr -prune -o -name 'authorized_keys*' "
            f"! -path /home/{USER}/.ssh/authorized_keys -print"
        ),
        expected=Empty(),
        root=True,
    ),
    NO_EXTRA_HOST_KEYS,
    FRESH_HOST_KEYS,
    MACHINE_ID,
    FRESH_MACHINE_ID,
    CommandCheck(
        id="dbus-machine-id",
        title="D-Bus has no machine-id of its own",
        command="find /var/lib -maxdepth 2 -path /var/lib/dbus/machine-id ! -type l",
        expected=Empty(),
        root=True,
    ),
)


def authorized_keys(record: BuildRecord | None, extra: Sequence[str]) -> CommandCheck:
    """Fountain's keys are those of the build record and the `extra` ones, by their fingerprints."""
    return CommandCheck(
        id="authorized-keys",
        title="fountain has the keys of the build, and no other",
        command=f"ssh-keygen -lf /home/{USER}/.ssh/authorized_keys | awk '{{print $2}}'",
        expected=Lines((*(record.authorized_keys if record else ()), *extra)),
        root=True,
        skip="" if record else NO_RECORD,
    )
