#!/usr/bin/env bash
# Let every user open /dev/kvm, and take passt away from libguestfs. What KVM is worth then, ci.doctor finds out.
set -euo pipefail

device=${KVM_DEVICE:-/dev/kvm}
rule='KERNEL=="kvm", GROUP="kvm", MODE="0666", OPTIONS+="static_node=kvm"'

# The runner's user is not in the device's group, and QEMU would quietly fall back to emulation.
if [[ ! -e $device ]]; then
    echo "there is no $device"
elif [[ ! -r $device || ! -w $device ]]; then
    echo "opening $device to everybody"
    sudo tee /etc/udev/rules.d/99-kvm-for-all.rules <<<"$rule"
    sudo udevadm control --reload-rules
    sudo udevadm trigger --name-match=kvm --settle
fi

# libguestfs takes passt wherever it finds it and has no way back where it then fails, as it does on Ubuntu.
# https://github.com/libguestfs/libguestfs/issues/170
if [[ $(dpkg-query --show --showformat='${db:Status-Status}' passt 2>/dev/null) == installed ]]; then
    echo "removing passt"
    sudo env DEBIAN_FRONTEND=noninteractive apt-get remove -qq --yes passt
fi
