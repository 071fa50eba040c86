#!/bin/sh
# Makes a freshly bootstrapped Debian bootable, the way Ubuntu's cloud images are: grub for BIOS and for UEFI, both
# consoles, partitions found by label. Runs inside the guest's file system.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

{
	echo 'LABEL=cloudimg-rootfs / ext4 discard,errors=remount-ro 0 1'
	! mountpoint -q /boot || echo 'LABEL=BOOT /boot ext4 defaults 0 2'
	echo 'LABEL=UEFI /boot/efi vfat umask=0077 0 1'
} >/etc/fstab
mkdir -p /etc/default/grub.d
cat >/etc/default/grub.d/50-cloudimg-settings.cfg <<'SETTINGS'
GRUB_TIMEOUT=0
GRUB_RECORDFAIL_TIMEOUT=0
GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"
GRUB_TERMINAL=console
SETTINGS
echo 'PasswordAuthentication no' >/etc/ssh/sshd_config.d/60-cloudimg-settings.conf
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id
systemctl enable --quiet systemd-networkd.service

# Asked for: to a program in the appliance its own disk is /dev/sda now and then; libguestfs translates its commands only.
disk=$(lsblk --noheadings --output PKNAME "$(findmnt --noheadings --output SOURCE /)")
grub-install --target=i386-pc "/dev/$disk"
grub-install --target=x86_64-efi --removable --no-nvram --efi-directory=/boot/efi
update-grub
