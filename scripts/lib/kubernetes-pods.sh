# shellcheck shell=bash
# What is expected of pods with native code, and of pods with several containers. Sourced by
# scripts/lib/kubernetes-test.sh.

# For shellcheck's sake: set by scripts/kubernetes and its other files.
: "${state=}" "${control=}" "${patience=}" "${ended=}"

# ---------------------------------------------------------------------------------------- native code

# Where containerd's runtime keeps what it compiles on a node: it runs as root, whose home is this.
readonly kept=/root/.cache/hermit-wasm
readonly node_config=/etc/hermit-wasm/oci.toml
readonly node_compiler=/opt/hermit-wasm/current/bin/hermit-wasm-compiler

kept_code() { on_node 1 find "$kept" -name '*.cwasm' -printf '%f %i %s\n'; }

step_native() {
    local before pod
    clear_away native native-again
    # What earlier pods have left.
    on_node 1 rm -rf "$kept"
    given native
    await "$patience" 'the pod to end' pod_ended native || true
    check_is 'a module runs as native code' 'Failed 42' ending native
    check_text 'its log says so' 'the engine is native' k logs native
    before=$(kept_code)
    check_is 'the code is kept on the node' 1 grep -c . <<<"$before"

    # Who has no compiler cannot have compiled.
    on_node 1 mv "$node_compiler" "$node_compiler.away"
    given native-again
    for pod in native-again native-other; do
        await "$patience" "$pod to end" pod_ended "$pod" || true
    done
    on_node 1 mv "$node_compiler.away" "$node_compiler"
    check_is 'another pod with this module takes the code that is kept' 'Failed 42' ending native-again
    check_text 'its log says so' 'the engine is native' k logs native-again
    check_is 'the code is as it was' "$before" kept_code
    check_text 'another module would have to be compiled: the pod'\''s status says that the compiler is missing' \
        'the compiler for native code, hermit-wasm-compiler, is not here' field pod native-other "$ended.message"
    clear_away native native-again
}

# ---------------------------------------------------------------------------------------- several containers

# What the sidecar has printed, once it has printed both.
sidecar_has_said() { has_words "$2" "$(k logs "$1" -c sidecar 2>&1)"; }

step_sidecar() {
    local cgroup
    clear_away sidecar pair
    start_redis
    await "$patience" 'Redis' inside control redis-cli -h "$control" hset http-kv greeting 'a machine serves this'
    # shellcheck disable=SC2016 # "$1" is of the other shell.
    on_node 1 sh -c 'grep -qx "native = true" "$1" || echo "native = true" >>"$1"' sh "$node_config"
    given sidecar
    await "$patience" 'the pod with a sidecar' pod_ready sidecar || true
    await "$patience" 'the sidecar to have an answer' sidecar_has_said sidecar 'a machine serves this' || true
    check 'the sidecar, a Linux program, reads in the volume what a machine wrote before' \
        sidecar_has_said sidecar 'a machine wrote this'
    check 'the sidecar is served by the machine, at 127.0.0.1 of their pod' \
        sidecar_has_said sidecar 'a machine serves this'
    cgroup=$(pod_cgroup sidecar)
    check_is 'one of the two containers is a machine' 1 count_programs "$cgroup" qemu-system
    await "$patience" 'the pod on the other node' pod_ended sidecar-refused || true
    check_text 'a node that does not allow it refuses, and the pod'\''s status says why' \
        "is a native program, and this node's $node_config does not say native = true" \
        field pod sidecar-refused "$ended.message"
    on_node 1 sed -i '/^native = true$/d' "$node_config"
    stop redis TERM

    given pair
    await "$patience" 'the pod with two machines' pod_ready pair || true
    cgroup=$(pod_cgroup pair)
    check_is 'both containers of another pod are machines' 2 count_programs "$cgroup" qemu-system
    check_is 'its cgroup has room for both: twice 64 MiB, and the 192 MiB of its class' "$(((64 + 64 + 192) << 20))" \
        cgroup_limit "$cgroup"
    clear_away sidecar pair
}

# count_programs CGROUP NAME
count_programs() { has_program "$1" "$2" | grep -c .; }
