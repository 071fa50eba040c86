#!/bin/sh
# Turns the mounted base image into ours. Runs inside the guest's file system, as root, in libguestfs' appliance, which has
# no network; the steps are called one after another by ci/image/build.py, each as `provision.sh STEP`.
#
# What comes from the image definition lies beside this script, a name per line: install, purge, exclude, include, mask,
# enable; the packages are in `archive`, a package archive of its own (ci/image/archive.py). The environment gives
# ROOT_UUID, ESP_UUID ('' without one) and UPGRADE (yes or no). Needs nothing that a minimal Debian or Ubuntu lacks.
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

apt() { apt-get --config-file "$here/archive/apt.conf" --quiet --yes "$@"; }

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
	{ for kernel in $(kernels); do depmod "$kernel" || exit; done; } &
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
	start_compiler
	apt update
	transaction
	# An upgrade in the guest then does not ask for a disk.
	printf '%s\n' 'grub-pc grub-pc/install_devices multiselect' \
		'grub-pc grub-pc/install_devices_empty boolean true' | debconf-set-selections &
	answers=$!
	# update-grub runs ours only, from now on.
	for script in /etc/grub.d/[0-9]*; do
		dpkg-statoverride --force-statoverride-add --update --add root root 0644 "$script"
	done
	wait "$modules" || die 'the list of the kernel modules could not be written'
	old_kernels
	finish_compiler
	wait "$answers" || die 'answers for grub-pc could not be left'
}

# Everything at once: apt takes as long to start as a package to install.
# shellcheck disable=SC2046,SC2086 # lists of package names
transaction() {
	installed >"$here/installed"
	unwanted=$(list purge | sort | comm -12 - "$here/installed" | sed 's/$/-/')
	say install: $(list install)
	say purge: $unwanted
	if [ "$UPGRADE" = yes ]; then
		apt --auto-remove --purge --with-new-pkgs upgrade $(list install) $unwanted
	else
		apt --auto-remove --purge install $(list install) $unwanted
	fi
}

# What the definition leaves out: dpkg does not unpack it, and what the base has of it goes.
exclude_files() (
	set -f # patterns
	mkdir -p /etc/dpkg/dpkg.cfg.d
	{
		list exclude | sed 's/^/path-exclude=/'
		list include | sed 's/^/path-include=/'
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
	du -xk --max-depth=3 --exclude="$here" / # for ci/records/sizes.py
}

case ${1-} in
prepare | packages | settings | verify | clean) "$1" ;;
*) die "no step '${1-}': prepare packages settings verify clean" ;;
esac
