#!/bin/sh
# Turns the mounted base image into ours. Runs inside the guest's file system, as root, in libguestfs' appliance; the
# steps are called one after another by ci/image/build.py, each as `provision.sh STEP`.
#
# What comes from the image definition lies beside this script, a name per line: install, purge, mask, enable.
# The environment gives DISK, ROOT_UUID and ESP_UUID ('' without one), UPGRADE (yes or no) and, where the host uses one,
# http_proxy. Needs nothing that a minimal Debian or Ubuntu lacks.
set -eu

here=$(dirname "$0")
user=fountain

export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

list() { grep -v -e '^#' -e '^$' "$here/$1" || true; }
say() { echo "--- $*"; }
die() {
	echo "provision: $*" >&2
	exit 1
}

apt() {
	apt-get --quiet --yes -o DPkg::Lock::Timeout=60 -o Acquire::Retries=3 -o Acquire::Languages=none \
		-o APT::Install-Recommends=false -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
		-o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 "$@"
}

installed() {
	dpkg-query --show --showformat '${binary:Package}\t${db:Status-Abbrev}\n' 2>/dev/null |
		sed -n 's/^\([^:\t]*\)[^\t]*\tii.*/\1/p' | sort -u
}

# --- prepare: take the base's own configuration back, so that ours starts from the distribution's defaults -----------

# Whoever made the base image may have left settings in any of these. What no package owns goes.
override_folders='
/etc/NetworkManager
/etc/apt/apt.conf.d
/etc/apt/preferences.d
/etc/cloud/cloud.cfg.d
/etc/cron.d
/etc/cron.daily
/etc/cron.hourly
/etc/default/grub.d
/etc/init.d
/etc/initramfs-tools/conf.d
/etc/modprobe.d
/etc/netplan
/etc/network
/etc/pam.d
/etc/profile.d
/etc/ssh
/etc/sudoers.d
/etc/sysctl.d
/etc/systemd
/etc/tmpfiles.d
/etc/udev/rules.d
/usr/local/lib/systemd
'

# Written by maintainer scripts, hence in no package's list of files, yet not a base image's idea.
keep='^/etc/(pam\.d/common-|apt/apt\.conf\.d/(01autoremove|70debconf)|init\.d/\.|ssh/(moduli|ssh_config)$)'

prepare() {
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d # no service may start in here
	chmod 755 /usr/sbin/policy-rc.d

	say 'removing configuration that no package owns'
	folders=''
	for folder in $override_folders; do
		[ ! -d "$folder" ] || folders="$folders $folder"
	done
	cat /var/lib/dpkg/info/*.list /var/lib/dpkg/info/*.conffiles 2>/dev/null | sort -u >"$here/owned"
	# shellcheck disable=SC2086 # a list of folders without blanks
	find $folders -type f | sort | comm -23 - "$here/owned" | grep -v -E "$keep" | while read -r file; do
		echo "$file"
		rm -f "$file"
	done
	# Links to what was just removed would be failed units at every start; masks point to /dev/null and go too.
	find /etc/systemd/system -type l -lname /dev/null -print -delete
	find /etc/systemd/system -xtype l -print -delete

	rm -f /etc/nologin /etc/ssh/sshd_not_to_be_run /etc/cloud/cloud-init.disabled /etc/rc.local /etc/ld.so.preload
	rm -rf /var/lib/cloud /etc/ssh/authorized_keys* /etc/ssh/ssh_host_*
	rm -f /var/lib/dpkg/lock* /var/lib/apt/lists/lock /var/cache/apt/archives/lock

	# Written anew: a base's own table may name disks that are not there. No check at start: under snapshot=on the
	# file system is always as clean as we leave it. The EFI partition is there for updates of the boot loader only.
	{
		echo "UUID=$ROOT_UUID / ext4 errors=remount-ro 0 0"
		[ -z "$ESP_UUID" ] || echo "UUID=$ESP_UUID /boot/efi vfat umask=0077,noauto 0 0"
	} >/etc/fstab

	say 'finishing what the base left half-installed'
	dpkg --configure -a --force-confdef --force-confold
	[ -z "$(dpkg --audit)" ] || apt --fix-broken install
}

# --- packages ----------------------------------------------------------------------------------------------------------

# shellcheck disable=SC2086,SC2046 # lists of package names
packages() {
	# Its index of manual pages is rebuilt after every package, for nobody.
	echo 'man-db man-db/auto-update boolean false' | debconf-set-selections
	rm -f /var/lib/man-db/auto-update
	# Packages ask for a new initramfs one after another; it is made once, below.
	echo 'update_initramfs=no' >"$initramfs_switch"
	# A new grub must be written to the disk as this appliance sees it; in the guest it is another device.
	echo "grub-pc grub-pc/install_devices multiselect $DISK" | debconf-set-selections

	# Without, a list that could not be fetched is a warning, and the image would quietly lack updates.
	apt update --error-on=any >"$here/lists.log" 2>&1 &
	lists=$!

	# Meanwhile. What goes is known without the lists, and half-written ones must not be read.
	installed >"$here/installed"
	unwanted=$(list purge | sort | comm -12 - "$here/installed")
	say purge: $unwanted
	mkdir -p "$here/no-lists/partial"
	[ -z "$unwanted" ] || apt -o "Dir::State::Lists=$here/no-lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		--auto-remove purge $unwanted
	finish "$lists" "$here/lists.log" 'the package lists could not be fetched'

	[ "$UPGRADE" = no ] || apt upgrade --with-new-pkgs
	old_kernels

	# The initramfs is packed with the one, and consists of the other.
	{ command -v zstd && static_busybox; } >/dev/null 2>&1 || apt install zstd busybox-static
	# Without KVM it takes as long as the packages do. Few of these have a part in it; `boot` looks for those.
	start_files >"$here/start-files.log" 2>&1 &
	boot_files=$!

	wanted=$(list install)
	say install: $wanted
	apt --auto-remove --purge install $wanted
	apt-mark manual $wanted >/dev/null
	finish "$boot_files" "$here/start-files.log" 'initramfs or boot loader could not be written'
	printf '%s\n' 'grub-pc grub-pc/install_devices multiselect' \
		'grub-pc grub-pc/install_devices_empty boolean true' | debconf-set-selections
}

# One that needs no libraries, which the initramfs does not have.
static_busybox() { [ -x /bin/busybox ] && ! ldd /bin/busybox; }

# The end of what runs beside the rest: its process, its log, what to say where it failed.
finish() {
	code=0
	wait "$1" || code=$?
	cat "$2"
	[ "$code" = 0 ] || die "$3"
}

initramfs_switch=/etc/initramfs-tools/update-initramfs.conf

start_files() {
	for kernel in $(kernels); do
		update-initramfs -c -k "$kernel" || return
	done
	# There is one system on the disk, and one kernel: nothing to look for.
	for script in 05_debian_theme 20_linux_xen 30_os-prober 30_uefi-firmware 40_custom 41_custom; do
		[ ! -e "/etc/grub.d/$script" ] || chmod -x "/etc/grub.d/$script"
	done
	update-grub
}

# An upgrade leaves the base's kernel beside the new one; only the newest boots.
old_kernels() {
	kernels=$(kernels)
	newest=$(echo "$kernels" | tail -n 1)
	for kernel in $kernels; do
		[ "$kernel" != "$newest" ] || continue
		# shellcheck disable=SC2046
		apt purge $(installed | grep -E "^linux-.*-$(echo "$kernel" | sed 's/-[a-z].*$//')(-|\$)")
		rm -rf "/lib/modules/$kernel"
	done
}

kernels() { find /boot -maxdepth 1 -name 'vmlinuz-*' | sed 's/.*vmlinuz-//' | sort -V; }

# --- accounts: one login, by key -----------------------------------------------------------------------------------------

accounts() {
	# A second name for root is no user of its own: userdel would refuse.
	sed -i -E '/^root:/!{/^[^:]*:[^:]*:0*:/d}' /etc/passwd
	cut -d: -f1 /etc/passwd >"$here/users"
	awk -F: 'NR == FNR { known[$1]; next } $1 in known' "$here/users" /etc/shadow >"$here/shadow"
	cat "$here/shadow" >/etc/shadow

	awk -F: '$3 >= 1000 && $1 != "nobody" { print $1 }' /etc/passwd | while read -r name; do
		say "removing the user $name"
		userdel --force --remove "$name" 2>&1 || die "the user $name cannot be removed"
	done
	awk -F: '$3 > 0 && $3 < 1000 && $7 !~ /(nologin|false|sync)$/ { print $1 }' /etc/passwd | while read -r name; do
		say "no login shell for the system user $name"
		usermod --shell /usr/sbin/nologin "$name"
	done
	# Neither an empty nor a set password survives, whoever's it is.
	sed -i -E 's/^([^:]+):[^:]*:/\1:*:/' /etc/shadow
	find / -xdev \( -path /proc -o -path /sys -o -path /usr -o -path "$here" \) -prune -o \
		-type f -name 'authorized_keys*' -print -exec rm -f {} +

	rm -rf "/home/${user:?}"
	useradd --uid 1000 --user-group --create-home --shell /bin/bash --comment Toolsmith --groups adm,sudo "$user"
	usermod --password '*' "$user"
	usermod --shell /bin/bash root
	install -d -m 700 -o "$user" -g "$user" "/home/$user/.ssh"
	install -m 600 -o "$user" -g "$user" "$here/authorized_keys" "/home/$user/.ssh/authorized_keys"
	visudo --check --quiet || die 'the sudo rules are not valid'
}

# --- services and mounts -------------------------------------------------------------------------------------------------

# shellcheck disable=SC2086 # lists of unit names
services() {
	unwanted=''
	for unit in $(list mask); do
		! unit_exists "$unit" || unwanted="$unwanted $unit"
	done
	wanted="$(list enable) $(cd /etc/systemd/system && echo fountainkit-*.service)"
	systemctl disable --quiet $unwanted || true # some are static
	systemctl mask --quiet $unwanted
	systemctl unmask --quiet $wanted
	systemctl enable --quiet $wanted
	systemctl set-default --quiet multi-user.target

	# They look for what this image has not at every start: encrypted, swap and other volumes, System V scripts.
	for generator in cryptsetup gpt-auto hibernate-resume integritysetup rc-local system-update sysv veritysetup; do
		ln -sf /dev/null "/etc/systemd/system-generators/systemd-$generator-generator"
	done
	# Refuses logins until the last service has started: see pam_nologin(8).
	mkdir -p /etc/tmpfiles.d
	ln -sf /dev/null /etc/tmpfiles.d/systemd-nologin.conf
	# Composed anew for every login, whether or not somebody reads it.
	rm -f /etc/update-motd.d/*
}

unit_exists() {
	case $1 in
	*@*) file=${1%%@*}@.${1##*.} ;; # an instance: there is a file for its template only
	*) file=$1 ;;
	esac
	for folder in /etc/systemd/system /lib/systemd/system /usr/lib/systemd/system; do
		[ ! -e "$folder/$file" ] || return 0
	done
	[ -e "/etc/init.d/${1%.service}" ]
}

# --- boot ------------------------------------------------------------------------------------------------------------------

boot() {
	printf 'update_initramfs=yes\nbackup_initramfs=no\n' >"$initramfs_switch"
	for kernel in $(kernels); do
		if find /etc/initramfs-tools /usr/share/initramfs-tools /etc/default/grub.d ! -path "$initramfs_switch" \
			-newer "/boot/initrd.img-$kernel" | grep .; then
			say 'these are newer than the initramfs: making it again'
			start_files
		fi
	done
}

# --- verify: what the guest needs, asked of the finished file system ----------------------------------------------------

verify() {
	[ -n "$(kernels)" ] || die 'no kernel is installed'
	for kernel in $(kernels); do
		[ -s "/boot/initrd.img-$kernel" ] || die "the kernel $kernel has no initrd"
		for module in 9p 9pnet_virtio; do
			find "/lib/modules/$kernel" -name "$module.ko*" | grep -q . ||
				grep -q "/$module.ko" "/lib/modules/$kernel/modules.builtin" ||
				die "the kernel $kernel has no $module module: use a base with a generic kernel, not a cloud or kvm one"
		done
	done
	if grep -E '^[[:space:]]*linux[[:space:]]' /boot/grub/grub.cfg | grep -v "root=UUID=$ROOT_UUID "; then
		die 'grub would look for the root file system elsewhere than at its UUID'
	fi
	grep -q "root=UUID=$ROOT_UUID " /boot/grub/grub.cfg || die 'grub starts no kernel'

	audit=$(dpkg --audit)
	[ -z "$audit" ] || die "dpkg --audit: $audit"

	ssh-keygen -q -t ed25519 -N '' -f "$here/hostkey"
	mkdir -p /run/sshd
	for who in root "$user"; do
		sshd -T -h "$here/hostkey" -C "user=$who,host=localhost,addr=127.0.0.1" >"$here/sshd"
		for setting in 'passwordauthentication no' 'kbdinteractiveauthentication no' 'permitrootlogin no' \
			'permitemptypasswords no' 'pubkeyauthentication yes' 'port 22' 'port 3023' \
			'authorizedkeysfile .ssh/authorized_keys'; do
			grep -q -i -x "$setting" "$here/sshd" || die "sshd does not have '$setting' for $who"
		done
		[ "$(grep -c '^port ' "$here/sshd")" = 2 ] || die 'sshd listens on more than the ports 22 and 3023'
	done
	echo "kernel $(kernels | tail -n 1)"
}

# --- clean: what must not ship -------------------------------------------------------------------------------------------

clean() {
	apt clean
	rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/lock /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
		/var/cache/man/* /var/lib/cloud /var/lib/dhcp/* /var/lib/NetworkManager /var/crash/* /var/backups/* \
		/var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/systemd/timers \
		/var/lib/systemd/timesync /var/lib/update-notifier /var/lib/ubuntu-advantage \
		/var/lib/ucf/*.[0-9] /var/mail/* /var/spool/cron/crontabs/* \
		/etc/ssh/ssh_host_* /etc/.pwd.lock /etc/*- /etc/apt/apt.conf.d/*proxy* \
		/root/.ssh /root/.bash_history /root/.cache /root/.lesshst /root/.viminfo /root/.wget-hsts /run/* \
		/etc/udev/rules.d/70-persistent-net.rules /boot/*.old /boot/*.old-dkms
	find /var/log -type f -delete
	rm -rf /var/log/journal /var/log/apt/* /var/log/installer /var/log/unattended-upgrades
	# shellcheck disable=SC2046
	rm -rf $(find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -path "$here")
	find /usr/sbin/policy-rc.d -delete
	: >/etc/machine-id
	mkdir -p /var/lib/dbus
	ln -sf /etc/machine-id /var/lib/dbus/machine-id
}

case ${1-} in
prepare | packages | accounts | services | boot | verify | clean) "$1" ;;
*) die "no step '${1-}': prepare packages accounts services boot verify clean" ;;
esac
