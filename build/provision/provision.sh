#!/bin/sh
# Turns the mounted base image into ours. Runs inside the guest's file system, as root, in libguestfs' appliance, which has
# no network; the steps are called one after another by ci/image/build.py, each as `provision.sh STEP`.
#
# What it is told lies beside this script, a name per line: exclude, include, plain, mask, disable, enable, of the image
# definition; `request`, what to ask apt for, and `plan`, what apt must make of it; the packages are in `archive`, a
# package archive of its own (ci/image/packages/archive.py). The environment gives ROOT_UUID, BOOT_UUID and ESP_UUID (''
# where there is none). What it uses of the base's tools is in requirements.toml.
set -eu

here=$(dirname "$0")
user=fountain

export DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8
export PATH=/usr/sbin:/usr/bin:/sbin:/bin # of packages only

list() { grep -v -e '^#' -e '^$' "$here/$1" || true; }
say() { echo "--- $*"; }
die() {
	echo "provision: $*" >&2
	exit 1
}

apt() { apt-get --config-file "$here/archive/apt.conf" --quiet --yes "$@"; }

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
/etc/dpkg/dpkg.cfg.d
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

	rm -f /etc/nologin /etc/ssh/sshd_not_to_be_run /etc/cloud/cloud-init.disabled /etc/apt/apt.conf /etc/rc.local /etc/ld.so.preload
	rm -rf /var/lib/cloud /etc/ssh/authorized_keys* /etc/ssh/ssh_host_*
	rm -f /var/lib/dpkg/lock* /var/lib/apt/lists/lock /var/cache/apt/archives/lock

	# Written anew: a base's own table may name disks that are not there. No check at start: under snapshot=on the
	# file system is always as clean as we leave it. The EFI partition is there for updates of the boot loader only.
	{
		echo "UUID=${ROOT_UUID:?} / ext4 errors=remount-ro 0 0"
		[ -z "$BOOT_UUID" ] || echo "UUID=$BOOT_UUID /boot ext4 nodev,nosuid 0 0"
		[ -z "$ESP_UUID" ] || echo "UUID=$ESP_UUID /boot/efi vfat umask=0077,noauto 0 0"
	} >/etc/fstab
}

# --- packages ----------------------------------------------------------------------------------------------------------

packages() {
	# Packages ask for a new initramfs one after another; `boot` makes it once.
	echo 'update_initramfs=no' >"$initramfs_switch"
	# openssh's scripts make those that are not there, RSA's in many seconds; `clean` removes them all.
	for kind in rsa ecdsa ed25519; do
		: >"/etc/ssh/ssh_host_${kind}_key"
		: >"/etc/ssh/ssh_host_${kind}_key.pub"
	done
	exclude_files
	forget_translations
	{ for kernel in $(kernels); do goes "$kernel" || depmod "$kernel" || exit; done; } &
	modules=$!
	# Its index of manual pages is rebuilt after every package, for nobody.
	rm -f /var/lib/man-db/auto-update
	# A new grub must be written to the disk as this appliance's kernel names it, which numbers disks as it finds them:
	# libguestfs translates names in its own commands only. In the guest it is another device.
	new_grub=$(find "$here/archive" -name 'grub-pc_*')
	if [ -n "$new_grub" ]; then
		disk=$(lsblk --noheadings --output PKNAME "$(findmnt --noheadings --output SOURCE /)") ||
			die 'there is no telling which disk the root file system is on'
		echo "grub-pc grub-pc/install_devices multiselect /dev/$disk" | debconf-set-selections
	fi
	# The kernel that runs here is not the guest's: one of the same version may go.
	answer_about_kernel false
	start_compiler
	transaction
	# An upgrade in the guest then does not ask for a disk.
	printf '%s\n' 'grub-pc grub-pc/install_devices multiselect' \
		'grub-pc grub-pc/install_devices_empty boolean true' | debconf-set-selections && answer_about_kernel true &
	answers=$!
	# update-grub runs ours only, from now on.
	for script in /etc/grub.d/[0-9]*; do
		dpkg-statoverride --force-statoverride-add --update --add root root 0644 "$script"
	done
	wait "$modules" || die 'the list of the kernel modules could not be written'
	forget_kernels
	# Of packages that come later, too.
	for program in $(list plain); do
		dpkg-statoverride --force-statoverride-add --add root root 0755 "$program"
		[ ! -e "$program" ] || chmod 0755 "$program"
	done
	# grub-install's, for menus in other languages and letters.
	rm -rf /boot/grub/locale /boot/grub/fonts /boot/grub/unicode.pf2
	finish_compiler
	wait "$answers" || die 'answers for grub-pc could not be left'
}

# Everything at once: apt takes as long to start as a package to install.
transaction() {
	apt update
	# shellcheck disable=SC2046 # a list of words
	apt $(list request)
	[ ! -s "$here/plan" ] || [ -e "$here/compared" ] || die 'apt did nothing of what was planned'
}

# compare: apt's hook, which is told on stdin what is about to be done. See DPkg::Pre-Install-Pkgs in apt.conf(5).
compare() {
	# After the settings, a line per package: name, old version, its architecture and multiarch, a sign, the same of the
	# new version, and the file; or `**REMOVE**`, or `**CONFIGURE**` for what was unpacked before.
	sed '1,/^$/d' | awk '$9 == "**REMOVE**" { print $1, $2, "-" } $9 ~ /^\// { print $1, $2, $6 }' | LC_ALL=C sort -u >"$here/apt"
	LC_ALL=C sort -u "$here/plan" >"$here/planned"
	if ! difference=$(diff -U 0 "$here/planned" "$here/apt"); then
		echo "$difference" | grep '^[-+][^-+]' >&2
		die 'apt would not do what was planned on the building machine (-), but something else (+)'
	fi
	: >"$here/compared"
}

# What the definition leaves out: dpkg does not unpack it, and what the base has of it goes.
exclude_files() (
	set -f # patterns
	mkdir -p /etc/dpkg/dpkg.cfg.d
	{
		# /lib is /usr/lib, but dpkg compares what the package says: Debian 13's kernels say the latter.
		list exclude | sed -e 's/^/path-exclude=/p' -e 's,=/lib/,=/usr/lib/,' | sort -u
		list include | sed -e 's/^/path-include=/p' -e 's,=/lib/,=/usr/lib/,' | sort -u
	} >/etc/dpkg/dpkg.cfg.d/90-fountainkit
	folders=$(list exclude | sed -e 's/[*?[].*//' -e 's,/[^/]*$,,' | sort -u)
	set -- -false
	for pattern in $(list include); do set -- "$@" -o -path "$pattern"; done
	set -- '(' "$@" ')' -o '(' '(' -false
	for pattern in $(list exclude); do set -- "$@" -o -path "$pattern"; done
	for folder in $folders; do
		[ ! -d "$folder" ] || find "$folder" ! -type d '(' "$@" ')' -delete ')' ')'
		[ ! -d "$folder" ] || find "$folder" -mindepth 1 -type d -empty -delete
	done
)

# debconf reads all it could ask whenever it asks something: 1.4 MB, nearly all of it in languages nobody uses here.
forget_translations() {
	sed -i -E '/^(Extended_description|Description|Choices)-[A-Za-z_@]+\.[Uu][Tt][Ff]-8:/d' /var/cache/debconf/templates.dat
}

# Packages written in Python compile their files while they are set up, one after another; from here on they only say so,
# and it is done beside the rest.
compiler=/usr/bin/py3compile
start_compiler() {
	[ -x "$compiler" ] || return 0
	mkfifo "$here/to-compile"
	dpkg-divert --quiet --local --rename --add "$compiler"
	printf '#!/bin/sh\necho "$*" >%s\n' "$here/to-compile" >"$compiler"
	chmod 755 "$compiler"
	xargs --max-lines=1 --max-procs=2 "$compiler.distrib" <"$here/to-compile" >"$here/compiled" 2>&1 &
	compiling=$!
	exec 9>"$here/to-compile" # it ends when nobody has it open any more
}

finish_compiler() {
	[ -e "$compiler.distrib" ] || return 0
	exec 9>&-
	code=0
	wait "$compiling" || code=$?
	cat "$here/compiled"
	[ "$code" = 0 ] || die 'Python files could not be compiled'
	rm "$compiler"
	dpkg-divert --quiet --local --rename --remove "$compiler"
}

initramfs_switch=/etc/initramfs-tools/update-initramfs.conf

# Whether to refuse that the running kernel is removed. https://manpages.debian.org/linux-check-removal
answer_about_kernel() {
	! grep -q '^linux-image-.* -$' "$here/plan" ||
		echo "linux-base linux-base/removing-running-kernel boolean $1" | debconf-set-selections
}

# Whether the plan removes the kernel $1.
goes() { grep -q -E "^linux-image-(unsigned-)?$1 [^ ]+ -\$" "$here/plan"; }

# What packages leave of kernels that went.
forget_kernels() {
	for folder in /lib/modules/*; do
		[ -e "/boot/vmlinuz-${folder##*/}" ] || rm -rf "$folder"
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
	chmod 700 "/home/$user"
	usermod --password '*' "$user"
	usermod --shell /bin/bash root
	install -d -m 700 -o "$user" -g "$user" "/home/$user/.ssh"
	install -m 600 -o "$user" -g "$user" "$here/authorized_keys" "/home/$user/.ssh/authorized_keys"
	visudo --check --quiet || die 'the sudo rules are not valid'
}

# --- services and mounts -------------------------------------------------------------------------------------------------

# shellcheck disable=SC2086 # lists of unit names
services() {
	unwanted=$(existing mask)
	off=$(existing disable)
	wanted="$(list enable) $(cd /etc/systemd/system && echo fountainkit-*.service fountainkit-*.timer)"
	systemctl disable --quiet $unwanted $off || true # some are static
	systemctl mask --quiet $unwanted
	systemctl unmask --quiet $wanted
	# Where no [Install] section says who wants a unit, a link of its package does; one to nothing stands in front of it.
	for unit in $off; do
		for link in /lib/systemd/system/*.wants/"$unit"; do
			[ -L "$link" ] || continue
			ours=/etc/systemd${link#/lib/systemd}
			mkdir -p "${ours%/*}"
			ln -sf /dev/null "$ours"
		done
	done
	# syslog.socket, which it requires, asks for it by this name.
	[ ! -e /lib/systemd/system/rsyslog.service ] ||
		ln -sf /lib/systemd/system/rsyslog.service /etc/systemd/system/syslog.service
	# An alias of a package's unit may be in the way of the same one of ours. https://github.com/systemd/systemd/pull/22500
	systemctl enable --quiet --force $wanted
	# Whatever packages want to do from time to time, this machine is not there for it.
	timers=$(find /etc/systemd/system -path '*.wants/*.timer' ! -name 'fountainkit-*' -exec basename {} \; | sort -u)
	[ -z "$timers" ] || systemctl disable --quiet $timers
	# Where mount(8) looks for a program of a file system's.
	ln -sf /usr/lib/fountainkit/mount-9p /sbin/mount.9p
	systemctl set-default --quiet fountainkit-first.target

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

existing() {
	for unit in $(list "$1"); do
		! unit_exists "$unit" || echo "$unit"
	done
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

# --- settings: who may log in, what runs, how it starts ------------------------------------------------------------------

settings() {
	# Limits for each source came with OpenSSH 8.5.
	dpkg --compare-versions "$(dpkg-query --show --showformat '${Version}' openssh-server)" ge 1:8.5 ||
		sed -i '/^PerSourceMaxStartups /d' /etc/ssh/sshd_config.d/00-fountainkit.conf
	boot >"$here/boot.log" 2>&1 &
	booting=$!
	accounts
	services
	code=0
	wait "$booting" || code=$?
	cat "$here/boot.log"
	[ "$code" = 0 ] || die 'initramfs or boot loader could not be written'
}

# --- boot ------------------------------------------------------------------------------------------------------------------

# What update-initramfs and update-grub would make with the guest's files: they ask the machine they run on, for a minute
# without KVM.
boot() {
	printf 'update_initramfs=yes\nbackup_initramfs=no\n' >"$initramfs_switch"
	for kernel in $(kernels); do
		/usr/lib/fountainkit/make-initramfs "$kernel" "/boot/initrd.img-$kernel" || return
	done
	"$grub_script" >/boot/grub/grub.cfg || return
	chmod 600 /boot/grub/grub.cfg
}

grub_script=/etc/grub.d/09_fountainkit

# --- verify: what the guest needs, asked of the finished file system ----------------------------------------------------

verify() {
	[ -n "$(kernels)" ] || die 'no kernel is installed'
	printf '%s\n' 9p 9pnet_virtio sr_mod virtio_console zram >"$here/asked-drivers"
	for kernel in $(kernels); do
		[ -s "/boot/initrd.img-$kernel" ] || die "the kernel $kernel has no initrd"
		list_drivers "$kernel" >"$here/drivers"
		# What shares need, and the buses that a disk or a seed may be on.
		for module in 9p 9pnet_virtio virtio_blk virtio_scsi sd_mod sr_mod ata_piix ahci nvme xhci_pci usb_storage; do
			! grep -q -x "driver $module absent" "$here/drivers" ||
				die "the kernel $kernel has no $module module: use a base with a generic kernel, not a cloud or kvm one"
		done
	done
	if grep -E '^[[:space:]]*linux[[:space:]]' /boot/grub/grub.cfg | grep -v "root=UUID=$ROOT_UUID "; then
		die 'grub would look for the root file system elsewhere than at its UUID'
	fi
	grep -q "root=UUID=$ROOT_UUID " /boot/grub/grub.cfg || die 'grub starts no kernel'

	audit=$(dpkg --audit)
	[ -z "$audit" ] || die "dpkg --audit: $audit"

	root=$(findmnt --noheadings --output SOURCE /)
	dumpe2fs -h "$root" >/dev/null || die "the guest's e2fsprogs does not know the root file system's features"
	[ "$(grub-probe --device "$root" --target=fs)" = ext2 ] || die "the guest's grub cannot read the root file system"

	# Ours stand in front of these, and call them where there is a seed.
	for generator in netplan cloud-init-generator; do
		[ -x "/lib/systemd/system-generators/$generator" ] || [ -x "/usr/lib/systemd/system-generators/$generator" ] ||
			die "there is no /lib/systemd/system-generators/$generator, which the guest's own calls"
	done

	ssh-keygen -q -t ed25519 -N '' -f "$here/hostkey"
	mkdir -p /run/sshd
	for who in root "$user"; do
		sshd -T -h "$here/hostkey" -C "user=$who,host=localhost,addr=127.0.0.1" >"$here/sshd"
		for setting in 'passwordauthentication no' 'kbdinteractiveauthentication no' 'permitrootlogin no' \
			'permitemptypasswords no' 'pubkeyauthentication yes' 'port 22' 'port 3023' 'allowusers fountain' \
			'authorizedkeysfile .ssh/authorized_keys'; do
			grep -q -i -x "$setting" "$here/sshd" || die "sshd does not have '$setting' for $who"
		done
		[ "$(grep -c '^port ' "$here/sshd")" = 2 ] || die 'sshd listens on more than the ports 22 and 3023'
	done
	echo "kernel $(kernels | tail -n 1)" # the last one that the drivers were asked of
	cat "$here/drivers"
}

# How the kernel $1 has each driver that a start here may need: `driver NAME built-in`, or `module`, or `absent`. The files
# of some are named with dashes.
list_drivers() {
	{
		find "/lib/modules/$1" -name '*.ko*' | sed -n 's,.*/\([^/]*\)\.ko.*,\1 module,p'
		sed -n 's,.*/\([^/]*\)\.ko.*,\1 built-in,p' "/lib/modules/$1/modules.builtin"
	} | awk 'NR == FNR { gsub("-", "_", $1); how[$1] = $2; next }
		/^[^#]/ { print "driver", $1, $1 in how ? how[$1] : "absent" }' - \
		/etc/initramfs-tools/modules /usr/lib/fountainkit/other-drivers "$here/asked-drivers"
}

# --- clean: what must not ship -------------------------------------------------------------------------------------------

clean() {
	rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/cache/apt/archives/lock \
		/var/cache/debconf/*-old /var/cache/ldconfig/aux-cache \
		/var/cache/man/* /var/lib/cloud /var/lib/dhcp/* /var/lib/NetworkManager /var/crash/* /var/backups/* \
		/var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/systemd/timers \
		/var/lib/systemd/timesync /var/lib/update-notifier /var/lib/ubuntu-advantage \
		/var/lib/ucf/*.[0-9] /var/mail/* /var/spool/cron/crontabs/* \
		/etc/ssh/ssh_host_* /etc/.pwd.lock /etc/*- /etc/apt/apt.conf.d/*proxy* \
		/root/.ssh /root/.bash_history /root/.cache /root/.lesshst /root/.viminfo /root/.wget-hsts /run/* \
		/etc/udev/rules.d/70-persistent-net.rules /boot/*.old /boot/*.old-dkms
	find /var/log -type f -delete
	rm -rf /var/log/journal /var/log/apt/* /var/log/installer /var/log/unattended-upgrades
	forget_translations
	# shellcheck disable=SC2046
	rm -rf $(find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -path "$here")
	rm /usr/sbin/policy-rc.d
	: >/etc/machine-id
	mkdir -p /var/lib/dbus
	ln -sf /etc/machine-id /var/lib/dbus/machine-id
	du -xk --max-depth=3 --exclude="$here" / # for ci/image/sizes.py
}

case ${1-} in
prepare | packages | compare | settings | verify | clean) "$1" ;;
*) die "no step '${1-}': prepare packages compare settings verify clean" ;;
esac
