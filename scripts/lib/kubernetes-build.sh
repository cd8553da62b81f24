# shellcheck shell=bash
# Builds Kubernetes from Debian's source package, which has all of its dependencies inside. Sourced by
# scripts/kubernetes, which provides `say`, `root` and `work`.

# For shellcheck's sake: set by scripts/kubernetes.
: "${root=}" "${work=}" "${state=}"

# What is built. kubectl comes from Debian's package, unpacked beside: its own place may have another version of it.
readonly kubernetes_programs=(kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy)
# The release that still has the package, and the package's version: the one these tests have run with.
readonly kubernetes_suite=bookworm kubernetes_version='1.20.5+really1.20.2-1.1+deb12u1' kubernetes_release=v1.20.2
# Debian's oldest Go that still builds this tree.
readonly go=/usr/lib/go-1.19/bin

# Whether all programs are there.
is_built() {
    local name
    for name in "${kubernetes_programs[@]}" kubectl pause; do
        [[ -x $work/bin/$name ]] || return 1
    done
}

# Builds what is missing: half an hour on two cores, and 4 GB below target/. Once.
build() {
    ! is_built || return 0
    mkdir -p "$work/bin"
    [[ -f $work/source/Makefile ]] || fetch_source
    [[ -x $work/bin/kubectl ]] || fetch_kubectl
    say "building Kubernetes $kubernetes_release: half an hour or more, once; $work/build.log tells how far it is"
    build_programs >"$work/build.log" 2>&1 || {
        tail -n 20 "$work/build.log" >&2
        say "Kubernetes could not be built: the whole log is $work/build.log"
        return 1
    }
    # The container that holds a pod's namespaces.
    gcc -Os -static -o "$work/bin/pause" "$work"/source/build/pause/linux/pause.c
}

build_programs() {
    local name what=()
    for name in "${kubernetes_programs[@]}"; do
        what+=("cmd/$name")
    done
    # No git repository is there to be asked for a version, and no network is to be asked for modules.
    env -C "$work/source" PATH="$go:$PATH" HOME="$work" GOCACHE="$work/go-cache" GOPROXY=off GOFLAGS=-p=2 CGO_ENABLED=0 \
        KUBE_GIT_VERSION=$kubernetes_release KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 KUBE_GIT_COMMIT=archive \
        KUBE_GIT_TREE_STATE=archive nice -n 19 make WHAT="${what[*]}" || return 1
    for name in "${kubernetes_programs[@]}"; do
        cp "$work/source/_output/local/go/bin/$name" "$work/bin/" || return 1
    done
}

# with_debian COMMAND...: runs it with `private_apt "$sources"` knowing the release's packages and sources.
with_debian() {
    local apt sources mirror kind keyring=/usr/share/keyrings/debian-archive-keyring.gpg result=0
    apt=$(mktemp -d)
    sources=$apt/sources.list
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    # Which mirrors are Debian's, the lists say.
    private_apt machine apt-get -qq update 2>/dev/null || true
    debian_mirrors | while read -r mirror; do
        for kind in deb deb-src; do
            echo "$kind [signed-by=$keyring] $mirror $kubernetes_suite main"
        done
    done >"$sources"
    # A mirror that lacks the release (of security updates, say) is no reason to stop.
    private_apt "$sources" apt-get -qq update 2>/dev/null || true
    "$@" || result=1
    rm -rf "$apt"
    return "$result"
}

fetch_source() { with_debian unpack_source; }
fetch_kubectl() { with_debian unpack_kubectl; }

# apt checks the archives' digests against the signed lists.
unpack_source() {
    say "fetching the source of Kubernetes from Debian"
    if ! (cd "$apt" && private_apt "$sources" apt-get -qq source --download-only "kubernetes=$kubernetes_version" >&2); then
        say "Debian's source package kubernetes $kubernetes_version could not be had from $kubernetes_suite on apt's mirrors"
        return 1
    fi
    unpack_by_hand "$apt"
}

# unpack_by_hand FOLDER: as dpkg-source does, whose package (dpkg-dev) would bring a compiler of its own along.
unpack_by_hand() {
    local patch
    rm -rf "$work/source.part"
    mkdir -p "$work/source.part"
    tar -xzf "$1"/kubernetes_*.orig.tar.gz -C "$work/source.part" --strip-components=1 || return 1
    tar -xJf "$1"/kubernetes_*.debian.tar.xz -C "$work/source.part" || return 1
    while read -r patch; do
        patch -d "$work/source.part" -sp1 <"$work/source.part/debian/patches/$patch" || return 1
    done <"$work/source.part/debian/patches/series"
    mv "$work/source.part" "$work/source"
}

unpack_kubectl() {
    if ! (cd "$apt" && private_apt "$sources" apt-get -qq download kubernetes-client >&2); then
        say "Debian's package kubernetes-client could not be had from $kubernetes_suite on apt's mirrors"
        return 1
    fi
    dpkg-deb -x "$apt"/kubernetes-client_*.deb "$apt/client" && cp "$apt/client/usr/bin/kubectl" "$work/bin/"
}
