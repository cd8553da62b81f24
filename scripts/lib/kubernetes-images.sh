# shellcheck shell=bash
# The images that the tests run, as archives which each node imports when it starts: nobody fetches anything. Sourced by
# scripts/kubernetes, which provides `say`, `root` and `work`.

# For shellcheck's sake: set by scripts/kubernetes.
: "${root=}" "${work=}" "${state=}"

# Modules of guests/ that pods run, each as an image of its name: `FROM scratch`, the module, an entry point.
readonly apps=(files exit panic sleep http-kv)

build_images() {
    local app module folder
    mkdir -p "$work/images"
    folder=$work/image
    rm -rf "$folder"
    mkdir -p "$folder"

    cp "$work/bin/pause" "$folder/pause"
    build_image pause "$folder" '["/pause"]'
    # For comparison, and to see that other pods are as they were: an ordinary Linux program.
    rm -rf "$folder" && mkdir -p "$folder/bin"
    cp /bin/busybox "$folder/bin/busybox"
    build_image busybox "$folder" '["/bin/busybox"]'

    for app in "${apps[@]}"; do
        module=$(cargo xtask guests --only "$app")
        rm -rf "$folder" && mkdir -p "$folder"
        cp "$module" "$folder/app.wasm"
        build_image "$app" "$folder" '["/app.wasm"]'
    done
    rm -rf "$folder"

    say "building the installer's image"
    cargo xtask launcher >&2
    cargo xtask compiler >/dev/null
    "$root/deploy/installer-image" "$work/images/installer.tar"
}

# build_image NAME FOLDER ENTRYPOINT: one layer with the folder's files.
build_image() {
    local storage=(--root "$work/buildah" --runroot "$work/buildah-run" --storage-driver vfs) container
    say "building the image $1"
    container=$(buildah "${storage[@]}" from scratch)
    buildah "${storage[@]}" copy --quiet "$container" "$2" / >/dev/null
    buildah "${storage[@]}" config --entrypoint "$3" "$container"
    buildah "${storage[@]}" commit --quiet --rm "$container" "localhost/$1:1" >/dev/null
    rm -f "$work/images/$1.tar"
    buildah "${storage[@]}" push --quiet "localhost/$1:1" "docker-archive:$work/images/$1.tar:localhost/$1:1"
    buildah "${storage[@]}" rmi --force "localhost/$1:1" >/dev/null
}
