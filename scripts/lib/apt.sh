# shellcheck shell=bash
# What Debian's package manager brings. Sourced by scripts/setup, which provides `say`.

# Debian's. riscv64's firmware, OpenSBI, is in a package that QEMU's depends on.
declare -rA packages=(
    [linker]='gcc libc6-dev' [cxx]=g++ [valgrind]=valgrind [pgrep]=procps [shellcheck]=shellcheck
    [qemu]=qemu-system-x86 [qemu_user]=qemu-user [qemu_arm]=qemu-system-arm [qemu_riscv]=qemu-system-misc
    [virtiofsd_package]=virtiofsd [virtiofsd_libraries]='libseccomp-dev libcap-ng-dev'
    [redis]=redis-server [curl]=curl [ip]=iproute2 [skopeo]=skopeo [umoci]=umoci [python_venv]=python3-venv [wasi_cc]='clang lld wasi-libc libclang-rt-dev-wasm32'
    [podman_packages]='podman crun runc conmon netavark aardvark-dns slirp4netns uidmap iptables'
    [containerd_packages]='containerd runc containernetworking-plugins iptables'
    [cri_client_packages]='python3-grpcio python3-protobuf protobuf-compiler busybox-static' [docker_packages]='docker.io iptables'
    [kubernetes]='golang-1.19-go rsync make patch gcc libc6-dev etcd-server buildah busybox-static openssl iptables procps iproute2'
)

# as_root COMMAND...: fails if this user cannot be root without a password.
as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Fetches apt's lists, once. A mirror that fails is no reason to stop: another may have the packages.
refresh_apt() {
    [[ -z ${apt_is_fresh:-} ]] || return 0
    apt_is_fresh=1
    as_root apt-get -qq update >&2 || say "apt-get update failed in part; going on"
}

# What apt would do if it installed these packages: lines `Inst NAME …`, `Remv NAME …`. Changes nothing, needs no
# rights. Recommended packages would bring QEMU's graphical front ends.
simulate_apt() { LC_ALL=C apt-get -qq -s --no-install-recommends install "$@" 2>/dev/null; }

# The names in the lines of a simulation ($1) that begin with $2.
names_in() { awk -v what="$2" '$1 == what { printf "%s ", $2 }' <<<"$1"; }

# Installs the packages of the needs given, and says which and what they bring along; where this user cannot, or where
# apt would remove something for it, says what to do. HERMIT_WASM_APT_MAY_REMOVE=1 lets apt remove: for a machine that is
# thrown away afterwards.
install_with_apt() {
    local need plan removed more keep=(--no-remove) wanted=()
    for need in "$@"; do
        read -ra more <<<"${packages[$need]}"
        wanted+=("${more[@]}")
    done
    if ! command -v apt-get >/dev/null; then
        say "this machine has no apt. Install what these Debian packages contain: ${wanted[*]}"
        return 1
    fi
    if ! as_root true 2>/dev/null; then
        say "root's rights are needed. Run: sudo apt-get update && sudo apt-get install ${wanted[*]}"
        return 1
    fi
    refresh_apt
    plan=$(simulate_apt "${wanted[@]}") || {
        say "apt cannot install ${wanted[*]}: $(LC_ALL=C apt-get -qq -s install "${wanted[@]}" 2>&1 | tail -n 1)"
        install_one_by_one "$@"
        return
    }
    removed=$(names_in "$plan" Remv)
    if [[ -n $removed && ${HERMIT_WASM_APT_MAY_REMOVE:-} == 1 ]]; then
        say "removing with apt, as HERMIT_WASM_APT_MAY_REMOVE=1 allows: ${removed% }"
        keep=()
    elif [[ -n $removed ]]; then
        if (($# == 1)); then
            say "to install ${wanted[*]}, apt would REMOVE: ${removed% }. Nothing is changed. If that is what you want, run:"
            say "    sudo apt-get install --no-install-recommends ${wanted[*]}"
        fi
        install_one_by_one "$@"
        return
    fi
    say "installing with apt: $(names_in "$plan" Inst | sed 's, $,,')"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends "${keep[@]}" install "${wanted[@]}" >&2 || {
        say "apt-get could not install: ${wanted[*]}"
        return 1
    }
}

# What one need prevents must not keep the others from being met. A single one has failed already.
install_one_by_one() {
    (($# > 1)) || return 1
    local need status=0
    for need in "$@"; do
        install_with_apt "$need" || status=1
    done
    return "$status"
}

# Runs an apt tool on lists and a cache of its own below $apt, which the caller sets, so that the machine's configuration
# and state stay as they are and root's rights aren't needed. With $1 = machine the sources are the machine's; else a
# file's.
private_apt() {
    local sources=$1 options
    shift
    options=(
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Debug::NoLocking=1
        # The sandbox's user could not write into a directory of ours.
        -o "APT::Sandbox::User=$(id -un)"
        # A mirror that doesn't answer must not hold us up for minutes.
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=1
    )
    [[ $sources == machine ]] ||
        options+=(-o "Dir::Etc::sourcelist=$sources" -o Dir::Etc::sourceparts=-)
    local tool=$1
    shift
    "$tool" "${options[@]}" "$@"
}

# The base addresses of the Debian mirrors that apt is configured with.
debian_mirrors() {
    # shellcheck disable=SC2016 # apt's variables, not the shell's.
    private_apt machine apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
        'Created-By: Packages' 'Label: Debian' |
        awk '{ sub("/*dists/" $2 "/*$", "", $1); print $1 }' | sort -u
}
