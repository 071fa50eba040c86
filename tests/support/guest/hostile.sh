#!/bin/sh
# Everything a careless or malicious base image may bring. Runs inside the base's file system, when it is bootable; and as
# libguestfs exchanges /etc/resolv.conf meanwhile, that is customize.sh's.
set -eu
export DEBIAN_FRONTEND=noninteractive

# passwords, allowed in every place sshd reads
echo 'PasswordAuthentication yes' >/etc/ssh/sshd_config.d/00-a-first.conf
printf 'Port 2222\nListenAddress 127.0.0.1\nPermitRootLogin yes\nPermitEmptyPasswords yes\n' \
	>/etc/ssh/sshd_config.d/50-cloud-init.conf
printf 'Match all\n  PasswordAuthentication yes\n  KbdInteractiveAuthentication yes\n' >/etc/ssh/sshd_config.d/zz.conf
cat >/etc/ssh/sshd_config <<'CONFIG'
PasswordAuthentication yes
PermitRootLogin yes
AuthorizedKeysFile /etc/ssh/authorized_keys.%u
AllowUsers intruder
Include /etc/ssh/sshd_config.d/*.conf
Match User fountain
  PasswordAuthentication yes
CONFIG

# accounts: a root password, an intruder with fountain's number, a second root, an empty password
echo 'root:toor' | chpasswd
useradd --uid 1000 --create-home --shell /bin/bash intruder
echo 'intruder:intruder' | chpasswd
useradd --uid 1001 --create-home --shell /bin/bash fountain
useradd --create-home --shell /bin/bash open
passwd --delete open
useradd --uid 0 --non-unique --shell /bin/bash toor2
usermod --shell /bin/bash www-data
echo 'www-data:www' | chpasswd
echo 'intruder ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/00-intruder
echo 'open ALL=(ALL) NOPASSWD:ALL' >>/etc/sudoers

# foreign keys and baked host keys
key='ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJvZ3VzYm9ndXNib2d1c2JvZ3VzYm9ndXNib2d1c2Jv intruder'
for home in /root /home/intruder /home/fountain /home/open /var/www; do
	mkdir -p "$home/.ssh"
	echo "$key" >"$home/.ssh/authorized_keys"
	echo "$key" >"$home/.ssh/authorized_keys2"
done
echo "$key" >/etc/ssh/authorized_keys.fountain
ssh-keygen -A
touch /etc/nologin /etc/ssh/sshd_not_to_be_run

# an identity that all clones would share
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
mkdir -p /var/lib/dbus
rm -f /var/lib/dbus/machine-id
cp /etc/machine-id /var/lib/dbus/machine-id
mkdir -p /var/lib/systemd
head -c 512 /dev/urandom >/var/lib/systemd/random-seed

# cloud-init: always on, passwords allowed, network switched off, the leftovers of an earlier run
echo 'datasource_list: [NoCloud, None]' >/etc/cloud/cloud.cfg.d/zz-always.cfg
echo 'ssh_pwauth: true' >/etc/cloud/cloud.cfg.d/zzz-passwords.cfg
echo 'network: {config: disabled}' >/etc/cloud/cloud.cfg.d/zzz-network.cfg
mkdir -p /var/lib/cloud/seed/nocloud /var/lib/cloud/instances/i-old
printf 'instance-id: i-old\n' >/var/lib/cloud/seed/nocloud/meta-data
printf '#cloud-config\npassword: hacked\nchpasswd: {expire: false}\n' >/var/lib/cloud/seed/nocloud/user-data
ln -sfn /var/lib/cloud/instances/i-old /var/lib/cloud/instance
touch /etc/cloud/cloud-init.disabled

# network: bound to a MAC, and static
mkdir -p /etc/netplan /etc/systemd/network
cat >/etc/netplan/50-cloud-init.yaml <<'NETPLAN'
network:
  version: 2
  ethernets:
    ens3: {match: {macaddress: "52:54:00:de:ad:01"}, set-name: ens3, addresses: [192.0.2.7/24]}
NETPLAN
printf '[Match]\nName=*\n[Network]\nAddress=192.0.2.8/24\n' >/etc/systemd/network/00-static.network
printf '[Match]\nMACAddress=52:54:00:de:ad:02\n[Link]\nName=wan\n' >/etc/systemd/network/00-rename.link
echo '127.0.0.1 localhost' >/etc/hosts

# slow and failing units, failing mounts
cat >/etc/systemd/system/slow.service <<'UNIT'
[Unit]
Description=Hold everything up
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/bin/sleep 600
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
UNIT
printf '[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n' \
	>/etc/systemd/system/failing.service
systemctl enable slow.service failing.service systemd-networkd-wait-online.service
systemctl mask ssh.service
echo 'UUID=00000000-0000-0000-0000-000000000000 /data ext4 defaults 0 2' >>/etc/fstab
echo 'work /mnt/work 9p trans=virtio 0 0' >>/etc/fstab
echo '/dev/vdz none swap sw 0 0' >>/etc/fstab
echo 'blacklist 9pnet_virtio' >/etc/modprobe.d/cis.conf
printf 'install 9p /bin/false\n' >>/etc/modprobe.d/cis.conf

# boot loader: a menu, no serial console, the root by device name
cat >>/etc/default/grub <<'GRUB'
GRUB_TIMEOUT=30
GRUB_RECORDFAIL_TIMEOUT=30
GRUB_CMDLINE_LINUX="console=tty0 init=/bin/bash"
GRUB_DISABLE_LINUX_UUID=true
GRUB

# Ubuntu 24.04's ways: sources in deb822 form, and SSH through a socket that the service requires
sed 's/\[[^]]*\] *//' /etc/apt/sources.list | while read -r kind archive suite components; do
	[ "$kind" != deb ] || printf '%s\n' 'Types: deb' "URIs: $archive" "Suites: $suite" "Components: $components" \
		'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' ''
done >/etc/apt/sources.list.d/debian.sources
echo '# in sources.list.d' >/etc/apt/sources.list
echo 'RequiredBy=ssh.service' >>/lib/systemd/system/ssh.socket # its last section is [Install]
systemctl enable ssh.socket

# a service that apt would remove by itself
apt-mark manual rsyslog >/dev/null

# what a used machine leaves behind
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
echo 'Acquire::http::Proxy "http://192.0.2.1:3128";' >/etc/apt/apt.conf.d/01proxy
echo 'export TOKEN=abc' >/root/.bash_history
echo noise >/var/log/old.log.1.gz
echo junk >/tmp/builder.log
echo lease >/var/lib/dhcp/dhclient.leases 2>/dev/null || true
