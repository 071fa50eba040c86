"""What makes a resumed machine another one: its random numbers, its names for itself, its SSH host key, its clock.

All machines resumed from one state were one machine until then. So this comes before anything of a run goes in. Perl is
in every Debian and Ubuntu, and does all of it in one process: without KVM each further one costs a tenth of a second.
"""

import secrets
import time
import uuid
from collections.abc import Callable

SEED_BYTES = 256

# Its stdin is what `inputs` makes. Numbers of system calls are those of x86-64, as the image is.
SCRIPT = r"""
use strict;

chomp(my ($seed, $machine, $boot, $time, $login, $public) = map { scalar <STDIN> } 1 .. 6);
my $private = join '', <STDIN>;

sub put {
    my ($how, $file, $mode, $text) = @_;
    umask(0777 ^ $mode);
    open my $out, $how, $file or die "$file: $!\n";
    (print $out $text) && close $out or die "$file: $!\n";
}

# RNDADDENTROPY and RNDRESEEDCRNG: see random(4). Before Linux 5.18 nothing else makes the kernel use it at once.
$seed = pack 'H*', $seed;
my $pool = pack('ii', 8 * length $seed, length $seed) . $seed;
open my $random, '>', '/dev/urandom' or die "urandom: $!\n";
ioctl $random, 0x40085203, $pool or die "RNDADDENTROPY: $!\n";
ioctl $random, 0x5207, 0 or die "RNDRESEEDCRNG: $!\n";
unlink '/var/lib/systemd/random-seed';

my ($none, $real) = ('', '/proc/sys/kernel/random/boot_id');
my $own = '/run/fountainkit-boot-id';
put '>', $own, 0444, "$boot\n";
syscall(165, $own, $real, $none, 4096, 0) == 0 or die "mount: $!\n"; # MS_BIND

open my $old, '<', '/etc/machine-id' or die "machine-id: $!\n";
chomp(my $before = <$old>);
put '>', '/etc/machine-id', 0444, "$machine\n";
symlink $before, "/run/log/journal/$machine";

my $key = '/etc/ssh/ssh_host_ed25519_key';
unlink glob '/etc/ssh/ssh_host_*';
put '>', $key, 0600, $private;
put '>', "$key.pub", 0644, "$public\n";

# The hardware clock tells whole seconds of the host's, and it may have taken one to come to this.
my @now = split ' ', $time;
if (open my $clock, '<', '/sys/class/rtc/rtc0/since_epoch') {
    chomp(my $hardware = <$clock>);
    @now = ($hardware, 0) if $hardware > $now[0];
}
my $now = pack 'q2', @now;
syscall(227, 0, $now) == 0 or die "clock_settime: $!\n";

# Now what is of the run.
put '>>', '/home/fountain/.ssh/authorized_keys', 0600, "$login\n";

# As usr/lib/fountainkit/mount-shares mounts them, with its ten processes.
open my $memory, '<', '/proc/meminfo' or die "meminfo: $!\n";
my ($kib) = <$memory> =~ /(\d+)/;
my ($type, $how) = ('9p', 'trans=virtio,version=9p2000.L,cache=none,msize=' . ($kib > 786432 ? 131072 : 32768));
umask 022;
for (glob '/sys/bus/virtio/drivers/9pnet_virtio/virtio*/mount_tag') {
    open my $in, '<', $_ or next;
    (my $tag = <$in>) =~ tr/\0\n//d;
    my $target = "/mnt/$tag";
    mkdir $target;
    syscall(165, $tag, $target, $type, 6, $how) == 0 or next; # MS_NOSUID | MS_NODEV
    chown((getpwnam 'fountain')[2, 3], $target) if $tag ne 'work';
}

# What can wait until after the login: the rest of the start, and the journal's names, which are the first machine's.
if (!fork) {
    sleep 10;
    system 'systemctl', '--no-block', 'stop', 'fountainkit-later.service';
    exec 'systemctl', 'restart', 'systemd-journald.service', 'fountainkit-clock.timer';
}

# As a connection to ssh.service would be served, in its unit: so it does not end with the agent.
syscall(112); # setsid
open my $unit, '>', '/sys/fs/cgroup/system.slice/ssh.service/cgroup.procs' or die "the unit: $!\n";
(print $unit $$) && close $unit or die "the unit: $!\n";
open STDIN, '+<', '/dev/virtio-ports/toolsmith.login' or die "the channel: $!\n";
open STDOUT, '>&', \*STDIN or die "the channel: $!\n";
exec '/usr/sbin/sshd', '-i';
die "sshd: $!\n";
"""

# What begins the rest of the start some time after a login, as SCRIPT does, where an image holds that back.
GO_ON = ["/bin/sh", "-c", "sleep 10; exec systemctl --no-block stop fountainkit-later.service"]

# What a machine does before its state is kept, as a shell's command: nothing is half done in it or about to begin,
# and what a login reads is in memory. Where the image can hold back the rest of its start, it goes on doing that.
PREPARE = r"""
systemctl start ssh.service
systemctl kill --signal=STOP fountainkit-later.service
[ "$(systemctl is-active fountainkit-later.service)" = activating ] || systemctl is-system-running --wait
systemctl start systemd-networkd.service systemd-resolved.service
for _ in $(seq 50); do ls /run/systemd/netif/leases/* && break; sleep 0.2; done
umount /mnt/*
/usr/sbin/sshd -t
perl -e 'use strict; glob "*"'
runuser -u fountain -- bash -c true
udevadm settle
systemctl stop fountainkit-clock.timer
sync
"""


def inputs(
    host_key: tuple[str, str],
    login: str,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
    now: Callable[[], int] = time.time_ns,
) -> bytes:
    """What SCRIPT reads: the two files of a new SSH host key, the line of the key that may log in, and more."""
    private, public = host_key
    seconds, nanoseconds = divmod(now(), 1_000_000_000)
    machine, boot = (uuid.UUID(bytes=random(16), version=4) for _ in range(2))
    lines = [random(SEED_BYTES).hex(), machine.hex, str(boot), f"{seconds} {nanoseconds}"]
    lines += [login.strip(), public.strip(), private]
    return "\n".join(lines).encode()
