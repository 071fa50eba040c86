#!/usr/bin/env bash
# Install what the build and its tests need: only what is missing, and seconds where nothing is.
# With --python only the environments of Python and Node.js: what publishing and checking need, without root.
# With --tests also what no build needs: a browser, and a checker of what it shows.
# Exit code 3: this machine lacks something that the script cannot install (docs/exit-codes.md).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
stamp=$venv/.requirements-installed
lookup_path=$PATH:/usr/sbin:/sbin
part=${1:-}
done_something=no

# Each package with the program it is needed for. libguestfs's appliance is put together from installed packages, so
# its DHCP client must be on this machine: see find_missing_packages.
packages=(
    apt:apt-get
    ca-certificates:
    cloud-image-utils:cloud-localds
    curl:curl
    debian-archive-keyring:
    e2fsprogs:debugfs
    fdisk:sfdisk
    git:git
    gnupg:gpg
    gpgv:gpgv
    guestfish:guestfish
    guestfs-tools:virt-customize
    make:make
    mmdebstrap:mmdebstrap
    openssh-client:ssh-keygen
    python3-venv:python3
    qemu-system-x86:qemu-system-x86_64
    qemu-utils:qemu-img
    util-linux:setpriv
)

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 3
}

has() { PATH=$lookup_path command -v "$1" >/dev/null; }

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "this needs root, and there is no sudo: $*"
    fi
}

installed() { [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

available() { [[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [^\(] ]]; }

is_ubuntu() { grep -qs '^ID=ubuntu$' /etc/os-release; }

kernels() { compgen -G '/boot/vmlinuz-*'; }

find_missing_packages() {
    local entry
    for entry in "${packages[@]}"; do
        installed "${entry%%:*}" || printf '%s\n' "${entry%%:*}"
    done
    # mmdebstrap needs newuidmap where it is not run by root.
    if ((EUID != 0)) && ! installed uidmap; then echo uidmap; fi
    if ! kernels >/dev/null; then
        if is_ubuntu; then echo linux-image-virtual; else echo linux-image-amd64; fi
    fi
}

# libguestfs before 1.55.5 knows only isc-dhcp-client; later Debians and Ubuntus no longer have it.
# https://github.com/libguestfs/libguestfs/commit/91fab3f49
find_missing_dhcp_client() {
    if installed isc-dhcp-client; then return; fi
    if available isc-dhcp-client; then
        echo isc-dhcp-client
    elif ! installed dhcpcd-base; then
        echo dhcpcd-base
    fi
}

# For the tests of the release catalogue. Chrome does as well, which GitHub's runners have; Ubuntu has Chromium only as a
# snap, which a container cannot run.
has_browser() { has chromedriver && { has chromium || has google-chrome; }; }

find_missing_browser() {
    if [[ $part != --tests ]] || has_browser; then return; fi
    if is_ubuntu; then
        say "for the tests of the release catalogue, install Google Chrome and chromedriver; without them they are skipped"
    else
        printf '%s\n' chromium chromium-driver
    fi
}

install_packages() {
    local missing
    mapfile -t missing < <(find_missing_packages && find_missing_browser)
    if ((${#missing[@]} == 0)) && [[ -z $(find_missing_dhcp_client) ]]; then return; fi
    say "reading the package lists"
    as_root apt-get update -qq || say "warning: not all package lists could be read"
    mapfile -t -O "${#missing[@]}" missing < <(find_missing_dhcp_client)
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >&2 ||
        fail "apt-get could not install all of: ${missing[*]}"
    done_something=yes
}

# Ubuntu keeps its kernels from everybody but root: https://bugs.launchpad.net/bugs/759725
make_kernel_readable() {
    local kernel
    while read -r kernel; do
        if [[ ! -r $kernel ]]; then
            say "making $kernel readable, for libguestfs"
            as_root chmod 0644 "$kernel"
            done_something=yes
        fi
    done < <(kernels)
}

# Without apt the programs count, whatever the packages are called.
list_what_to_install() {
    local entry package program missing=()
    for entry in "${packages[@]}"; do
        package=${entry%%:*} program=${entry#*:}
        if [[ -n $program ]] && ! has "$program"; then missing+=("$program (Debian: $package)"); fi
    done
    has dhclient || has dhcpcd || missing+=("dhclient or dhcpcd (Debian: isc-dhcp-client)")
    if [[ $part == --tests ]] && ! has_browser; then missing+=("chromium and chromedriver (Debian: chromium-driver)"); fi
    kernels >/dev/null || missing+=("a kernel in /boot and its modules (Debian: linux-image-amd64)")
    if ((${#missing[@]} > 0)); then
        say "there is no apt-get here; please install:"
        printf '    %s\n' "${missing[@]}" >&2
        exit 3
    fi
}

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        if recent_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or later found; install one, for example python3.11 with python3.11-venv"
}

# What the environment was made from; a system upgrade that replaces its Python makes it another.
wanted_state() {
    sha256sum <"$root/requirements.lock"
    "$venv/bin/python" -c 'import sys; print(*sys.version_info[:2])'
}

make_environment() {
    local python
    if recent_enough "$venv/bin/python" && [[ -f $stamp && $(wanted_state) == "$(<"$stamp")" ]]; then return; fi
    if ! recent_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        say "making $venv with $("$python" --version)"
        "$python" -m venv --clear "$venv" || fail "$python could not make $venv"
    fi
    say "installing the Python packages of requirements.lock"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement "$root/requirements.lock" || fail "the Python packages could not be installed"
    wanted_state >"$stamp"
    done_something=yes
}

# Projects of npm packages: the emulator that the rehearsal of a release talks to; GitHub's own parser and the checker of
# accessibility, which the tests stand on. With the Node.js of the environment.
npm_projects=(ci/rehearsal)
if [[ $part == --tests ]]; then npm_projects+=(tests/support); fi

# npm ci starts by removing the folder and the stamp in it, so that half an installation is never taken for a whole one.
install_npm_packages() {
    local project=$root/$1 installed
    installed=$project/node_modules/.installed
    if [[ ! -f $project/package-lock.json ]] || cmp --quiet "$project/package-lock.json" "$installed"; then return; fi
    say "installing the npm packages of $project/package-lock.json"
    PATH=$venv/bin:$PATH npm ci --prefix "$project" --ignore-scripts --no-audit --no-fund --loglevel error >&2 ||
        fail "the npm packages could not be installed"
    cp "$project/package-lock.json" "$installed"
    done_something=yes
}

main() {
    local project
    case $part in
        "" | --python | --tests) ;;
        *) say "usage: $0 [--python | --tests]" && exit 2 ;;
    esac
    # One set-up at a time: the lock is on the folder itself and ends with this process.
    exec 9<"$root"
    if has flock; then PATH=$lookup_path flock 9; fi
    if [[ $part != --python ]]; then
        if has apt-get && has dpkg-query; then install_packages; else list_what_to_install; fi
        make_kernel_readable
    fi
    make_environment
    for project in "${npm_projects[@]}"; do install_npm_packages "$project"; done
    if [[ $done_something == no ]]; then say "nothing to do"; else say "done in $SECONDS s"; fi
}

main "$@"
