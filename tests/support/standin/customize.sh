# The bootstrapped Debian 11, with what Ubuntu's cloud image has: its own packages, marks and leftovers. Runs in
# mmdebstrap's chroot, before finish.sh; the packages are in /standin.
# Facts: livecd-rootfs, branch ubuntu/jammy (live-build/ubuntu-cpc/hooks.d, live-build/functions).

printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
dpkg --unpack /standin/*.deb
dpkg --configure --pending
rm -r /usr/sbin/policy-rc.d /standin
find /lib/modules -name 'zram.ko*' -delete

# A task's packages are marked as installed by hand; what came with them is not.
apt-mark manual ubuntu-minimal ubuntu-standard ubuntu-server linux-virtual grub-pc
# shellcheck disable=SC2046 # package names
apt-mark auto $(dpkg-query --show --showformat '${Depends}, ${Recommends}\n' ubuntu-minimal ubuntu-standard ubuntu-server \
	linux-virtual linux-image-virtual | tr ',|' '\n\n' | sed -n 's/^ *\([a-z0-9][a-z0-9+.-]*\).*/\1/p' | sort -u |
	while read -r name; do ! dpkg-query --status "$name" >/dev/null 2>&1 || echo "$name"; done) initramfs-tools

# Seeded snaps, as `snap-preseed` leaves them: mounted at every start, whatever becomes of snapd.
mkdir -p /var/lib/snapd/seed/snaps /var/lib/snapd/snaps /snap/core20/1 /snap/lxd/1
head -c 8000000 /dev/urandom >/var/lib/snapd/seed/snaps/core20_1.snap
ln /var/lib/snapd/seed/snaps/core20_1.snap /var/lib/snapd/snaps/core20_1.snap
cat >/etc/systemd/system/snap-core20-1.mount <<'UNIT'
[Unit]
Description=Mount unit for core20, revision 1
Before=snapd.service
[Mount]
What=/var/lib/snapd/snaps/core20_1.snap
Where=/snap/core20/1
Type=squashfs
Options=nodev,ro,x-gdu.hide
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable --quiet snap-core20-1.mount systemd-networkd-wait-online.service

# What the hooks write, and no package owns.
echo 'datasource_list: [ NoCloud, ConfigDrive, AltCloud, OVF, MAAS, Ec2, None ]' >/etc/cloud/cloud.cfg.d/90_dpkg.cfg
printf 'build_name: server\nserial: 20260705\n' >/etc/cloud/build.info
cat >/etc/grub.d/01_track_initrdless_boot_fallback <<'SCRIPT'
#!/bin/sh
echo 'if [ -n "${have_grubenv}" ]; then if [ -z "${boot_once}" ]; then save_env recordfail; fi; fi'
SCRIPT
chmod 755 /etc/grub.d/01_track_initrdless_boot_fallback
printf 'net.ipv6.conf.all.use_tempaddr = 0\nnet.ipv6.conf.default.use_tempaddr = 0\n' >/etc/sysctl.d/99-cloudimg-ipv6.conf
mkdir -p /var/lib/apt/periodic /var/lib/update-notifier
touch /var/lib/update-notifier/dpkg-run-stamp
systemctl enable --quiet systemd-resolved.service
rm -f /etc/resolv.conf
echo 'nameserver 192.0.2.53' >/etc/resolv.conf # in the place of systemd-resolved's: see hostile.sh
