#!/usr/bin/env bash
# Install what a part of this repository needs: only what is missing, and seconds where nothing is.
#
#   --python     the packages that every stage imports; nothing of the system's, so that it takes no root
#   --rehearsal  these, and GitHub on this machine
#   --lint       these, and what checks the sources and runs the unit tests
#   --image      the packages that every stage imports, and the system's tools to build and boot images
#   --tests      everything, a browser included
#   --look       nothing: it says what a person's machine lacks
#
# Without an argument: what a person's machine needs for `make demo`, which is --image and --rehearsal.
# All but --image, --tests and the last work wherever Python 3.11 does, macOS with its old bash included.
# Exit code 3: this machine lacks something that the script cannot install (docs/exit-codes.md).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
stamp=$venv/.requirements-installed
lookup_path=$PATH:/usr/sbin:/sbin
done_something=no

# Each holds the packages of those before it, in the same versions: `make lock`.
locks=(requirements.lock requirements-rehearsal.lock requirements-dev.lock)

# What the part asks for: how many of the locks, the system's tools, a browser, projects of npm packages. Those are the
# emulator that a release is rehearsed with; GitHub's own parser and the checker of accessibility, which tests stand on.
depth=1 system=no browser=no npm_projects=() look=no
case ${1:-} in
    --python) ;;
    --rehearsal) depth=2 npm_projects=(ci/rehearsal) ;;
    --lint) depth=3 ;;
    --image) system=yes ;;
    --tests) depth=3 system=yes browser=yes npm_projects=(ci/rehearsal tests/support) ;;
    --look) look=yes ;;
    "") depth=2 system=yes npm_projects=(ci/rehearsal) ;;
    *) echo "usage: $0 [--python | --rehearsal | --lint | --image | --tests | --look]" >&2 && exit 2 ;;
esac
lock=${locks[depth - 1]}

# Each package with the program it is needed for. libguestfs's appliance is put together from installed packages, so
# its DHCP client must be on this machine: see find_missing_dhcp_client.
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

# For the network of virt-customize, which only the bench's usual recipe uses. libguestfs before 1.55.5 knows only
# isc-dhcp-client; later Debians and Ubuntus no longer have it.
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
    if [[ $browser == no ]] || has_browser; then return; fi
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
    if [[ $browser == yes ]] && ! has_browser; then missing+=("chromium and chromedriver (Debian: chromium-driver)"); fi
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

# What the environment holds once `lock` is installed: it and the locks before it, for this Python, which an upgrade of
# the system may replace.
wanted_state() {
    (cd "$root" && "$venv/bin/python" - "${locks[@]:0:depth}" <<'END')
import hashlib, pathlib, sys
print(*sys.version_info[:2])
for lock in sys.argv[1:]:
    print(hashlib.sha256(pathlib.Path(lock).read_bytes()).hexdigest(), lock, sep="  ")
END
}

# True where what the environment holds begins with what is wanted: with a longer lock installed, nothing is missing.
has_packages() {
    local wanted
    recent_enough "$venv/bin/python" && [[ -f $stamp ]] || return 1
    wanted=$(wanted_state)
    [[ $(<"$stamp")$'\n' == "$wanted"$'\n'* ]]
}

# The system's pip installs into the environment, which needs none then: to give it one takes as long as ten packages.
# Where there is none, or one before 22.3, which has no --python, the environment gets its own.
install_with_pip() {
    local pip=("$1" -m pip --python "$venv/bin/python")
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
        pip=("$venv/bin/python" -m pip)
        "${pip[@]}" --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null || return
    fi
    # Only wheels: to install one runs nothing of it. What a job imports is compiled then, and the rest never.
    "${pip[@]}" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps --no-compile \
        --requirement "$root/$lock"
}

make_environment() {
    local python
    if has_packages; then return; fi
    python=$(find_python)
    if ! recent_enough "$venv/bin/python"; then
        say "making $venv with $("$python" --version)"
        "$python" -m venv --clear --without-pip "$venv" || fail "$python could not make $venv"
    fi
    : >"$stamp" # half an installation is never taken for a whole one
    say "installing the Python packages of $lock"
    install_with_pip "$python" || fail "the Python packages could not be installed"
    wanted_state >"$stamp"
    done_something=yes
}

# With the Node.js of the environment. npm ci starts by removing the folder and the stamp in it, so that half an
# installation is never taken for a whole one.
install_npm_packages() {
    local project=$root/$1 installed
    installed=$project/node_modules/.installed
    if [[ ! -f $project/package-lock.json ]] || cmp -s "$project/package-lock.json" "$installed"; then return; fi
    say "installing the npm packages of $project/package-lock.json"
    PATH=$venv/bin:$PATH npm ci --prefix "$project" --ignore-scripts --no-audit --no-fund --loglevel error >&2 ||
        fail "the npm packages could not be installed"
    cp "$project/package-lock.json" "$installed"
    done_something=yes
}

# For a machine on which nothing is installed yet: where there is an environment, toolsmith-image doctor sees more.
look_only() {
    local package missing=()
    if has apt-get && has dpkg-query; then
        while IFS= read -r package; do missing+=("$package"); done < <(find_missing_packages && find_missing_dhcp_client)
        if ((${#missing[@]})); then say "these packages are missing: ${missing[*]}"; fi
        say "next: make -C $(printf %q "$root") setup, which installs what is missing and the Python environment"
    else
        (list_what_to_install) || true
        say "next: make -C $(printf %q "$root") setup, which installs the Python environment once they are there"
    fi
    (find_python >/dev/null) || true # it says so where there is none
    exit 3
}

main() {
    local project
    if [[ $look == yes ]]; then look_only; fi
    # One set-up at a time: the lock is on the folder itself and ends with this process.
    exec 9<"$root"
    if has flock; then PATH=$lookup_path flock 9; fi
    if [[ $system == yes ]]; then
        if has apt-get && has dpkg-query; then install_packages; else list_what_to_install; fi
        make_kernel_readable
    fi
    make_environment
    for project in ${npm_projects[@]+"${npm_projects[@]}"}; do install_npm_packages "$project"; done
    if [[ $done_something == no ]]; then say "nothing to do"; else say "done in $SECONDS s"; fi
}

main "$@"
