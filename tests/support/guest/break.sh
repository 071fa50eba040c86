#!/bin/sh
# What an image must not be: run in a finished image, so that the boot test has something to find.
set -eu

# First of the drop-ins, hence in force.
printf '%s\n' 'PasswordAuthentication yes' 'KbdInteractiveAuthentication yes' \
	'ChallengeResponseAuthentication yes' 'PermitRootLogin yes' 'AuthenticationMethods any' 'AllowUsers *' \
	>/etc/ssh/sshd_config.d/00-a.conf
echo fountain:fountain | chpasswd
sed -i 's/pam_deny/pam_unix/' /etc/pam.d/sshd # our PAM knows no passwords, whatever sshd is told

useradd --create-home --shell /bin/bash --groups sudo stranger
echo 'stranger ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/stranger
ssh-keygen -q -t ed25519 -N '' -f /tmp/foreign
cat /tmp/foreign.pub >>/home/fountain/.ssh/authorized_keys
install -D -m 600 /tmp/foreign.pub /root/.ssh/authorized_keys

ssh-keygen -q -t rsa -b 2048 -N '' -f /etc/ssh/ssh_host_rsa_key
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
rm -f /var/lib/dbus/machine-id
echo 0123456789abcdef0123456789abcdef >/var/lib/dbus/machine-id

rm /etc/sysctl.d/90-fountainkit.conf
sed -i '/^blacklist sctp$/d' /etc/modprobe.d/fountainkit.conf
chmod u+s /usr/bin/chsh
chmod 755 /home/fountain

echo old >/var/log/dpkg.log
echo old >/var/lib/apt/lists/archive_InRelease
echo old >/var/cache/apt/pkgcache.bin
echo old >/var/tmp/builder.log
echo old >/root/.bash_history
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d

# Before the login prompt, so that it shows on the console before it.
printf '%s\n' '[Unit]' 'Before=systemd-user-sessions.service' '[Service]' 'Type=oneshot' 'ExecStart=/bin/false' '[Install]' 'WantedBy=multi-user.target' \
	>/etc/systemd/system/broken.service
systemctl enable --quiet broken.service
