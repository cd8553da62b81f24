# shellcheck shell=bash
# Ways to the standard library's source where rustup cannot supply it. Sourced by scripts/setup, which provides
# `say`, `channel`, `sysroot` and scripts/lib/apt.sh.

# Suites in which to look for Debian's rust-src, likeliest first. Only `dpkg-deb -x` touches what is found, so a
# suite newer than the machine's own does no harm.
readonly debian_suites=(trixie-backports trixie forky testing unstable)

# For shellcheck's sake: set by scripts/setup.
: "${channel=}" "${sysroot=}"

# What is accepted of archives and folders: see there.
: "${rust_src_record:=$(dirname "${BASH_SOURCE[0]}")/rust-src.sha256}"

# Whether a digest is recorded for our version: recorded archive|tree DIGEST WHAT. Says which are, if not.
recorded() {
    local accepted
    accepted=$(awk -v version="$channel" -v kind="$1" '$1 == version && $2 == kind { print $3 }' "$rust_src_record")
    if ! grep -qxF "$2" <<<"$accepted"; then
        say "$3 is refused: its SHA-256 is $2, and $rust_src_record records for Rust $channel:"
        say "${accepted:-nothing}"
        return 1
    fi
}

# Whether a `library` directory is a recorded one: it is compiled into every image.
rust_src_is_recorded() {
    local digest
    digest=$(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum) || return 1
    recorded tree "${digest%% *}" "$1"
}

# Puts a `library` directory where rustc expects it. Copied beside and then renamed, so that a copy cut short
# isn't taken for a whole one.
place_library() {
    local from=$1 rust=$sysroot/lib/rustlib/src/rust
    if [[ ! -f $from/core/src/lib.rs || ! -f $from/Cargo.lock ]]; then
        say "$from is not the standard library's source (no core/src/lib.rs and Cargo.lock)"
        return 1
    fi
    rust_src_is_recorded "$from" || return 1
    if ! mkdir -p "$rust" || ! rm -rf "$rust/library.part" "$rust/library"; then
        say "cannot write to $rust"
        return 1
    fi
    cp -R "$from" "$rust/library.part" && mv "$rust/library.part" "$rust/library"
}

# Prints the version of package rust-src for exactly our rustc in the sources given, if there is one.
debian_version() {
    private_apt "$1" apt-cache madison rust-src 2>/dev/null |
        awk -F' *[|] *' -v want="$channel" '$2 ~ "^" want "[+~-]" { print $2; exit }'
}

# Debian's rust-src of exactly rustc's version, from the suites that the machine is configured with or else from
# another suite of the same mirrors.
rust_src_from_debian() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        say "this machine has no apt, so Debian's package rust-src cannot be had"
        return 1
    fi
    local apt result=0
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/unpacked"
    fetch_from_debian || result=1
    rm -rf "$apt"
    return "$result"
}

# The body of rust_src_from_debian; works in its $apt.
fetch_from_debian() {
    local sources=machine version mirror suite='' keyring
    say "looking for Debian's rust-src $channel with apt"
    private_apt machine apt-get -qq update 2>/dev/null || true
    version=$(debian_version machine)
    if [[ -z $version ]]; then
        sources=$apt/sources.list
        for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
            [[ ! -f $keyring ]] || break
        done
        while read -r mirror && [[ -z $version ]]; do
            for suite in "${debian_suites[@]}"; do
                if [[ -f $keyring ]]; then
                    echo "deb [signed-by=$keyring] $mirror $suite main" >"$sources"
                else
                    echo "deb $mirror $suite main" >"$sources"
                fi
                private_apt "$sources" apt-get -qq update 2>/dev/null || continue
                version=$(debian_version "$sources")
                [[ -z $version ]] || break
            done
        done < <(debian_mirrors)
    fi
    if [[ -z $version ]]; then
        say "none of apt's mirrors has rust-src $channel"
        return 1
    fi
    say "unpacking Debian's rust-src $version${suite:+ from $suite} into $sysroot"
    (cd "$apt/unpacked" && private_apt "$sources" apt-get -qq download "rust-src=$version" >&2) || return 1
    dpkg-deb -x "$apt/unpacked"/rust-src_*.deb "$apt/unpacked" || return 1
    place_library "$(echo "$apt"/unpacked/usr/src/rustc-*/library)"
}

# An archive that the user names: a rust-src component as Rust's own distribution packs it, or only its `rust/`.
rust_src_from_archive() {
    local archive=${HERMIT_WASM_RUST_SRC:-} unpacked found digest result=0
    if [[ -z $archive ]]; then
        return 1
    elif [[ ! -r $archive ]]; then
        say "HERMIT_WASM_RUST_SRC names $archive, which is not there or not readable"
        return 1
    fi
    digest=$(sha256sum <"$archive") || return 1
    recorded archive "${digest%% *}" "$archive" || return 1
    unpacked=$(mktemp -d)
    say "unpacking $archive (HERMIT_WASM_RUST_SRC) into $sysroot"
    if tar -xf "$archive" -C "$unpacked"; then
        found=$(find "$unpacked" -maxdepth 7 -type d -name library -print -quit)
        place_library "${found:-$archive}" || result=1
    else
        say "tar cannot unpack $archive (is xz installed?)"
        result=1
    fi
    rm -rf "$unpacked"
    return "$result"
}
