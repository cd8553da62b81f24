# shellcheck shell=bash
# What is expected of pods of hermit-wasm. Sourced by scripts/kubernetes, which provides `say`, `root`, `work`, `state`
# and what the other files of the cluster have.

# For shellcheck's sake: set by scripts/kubernetes.
: "${root=}" "${work=}" "${state=}" "${control=}" "${patience=}"

readonly manifests=$root/tests/kubernetes
# In the order in which they run: the last ones take the cluster apart.
readonly steps=(classes job ends limits native sidecar kvm http uninstall by_hand)
passed=0 failed=0

# ---------------------------------------------------------------------------------------- how it is said

# check WHAT COMMAND...
check() {
    local what=$1
    shift
    if "$@" >"$state/check.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        failed=$((failed + 1))
        echo "FAILED  $what ($*)"
        sed 's/^/        | /' "$state/check.log"
    fi
}

# check_is WHAT WANTED COMMAND...: the command's output is exactly this.
check_is() {
    local what=$1 wanted=$2 text
    shift 2
    text=$("$@" 2>&1) || true
    check "$what" is_text "$wanted" "$text"
}
is_text() { [[ $2 == "$1" ]] || { printf 'wanted: %s\ngot: %s\n' "$1" "$2" && false; }; }

# check_text WHAT WANTED COMMAND...: the command's output has these words.
check_text() {
    local what=$1 wanted=$2 text
    shift 2
    text=$("$@" 2>&1) || true
    check "$what" has_words "$wanted" "$text"
}
has_words() { [[ $2 == *"$1"* ]] || { printf 'wanted: %s\ngot: %s\n' "$1" "$2" && false; }; }

run_tests() {
    local step chosen=("${steps[@]}")
    (($# == 0)) || chosen=("$@")
    for step in "${chosen[@]}"; do
        if ! declare -F "step_$step" >/dev/null; then
            say "no step is called '$step'; there are: ${steps[*]}"
            return 2
        fi
    done
    for step in "${chosen[@]}"; do
        printf '\n== %s\n' "$step"
        # A command that fails is seen by the checks behind it.
        "step_$step" || true
    done
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    ((failed == 0))
}

# ---------------------------------------------------------------------------------------- what is asked

# field KIND NAME PATH
field() { k get "$1" "$2" -o "jsonpath={$3}"; }
pod_phase() { [[ $(field pod "$1" .status.phase) == "$2" ]]; }
pod_ready() { [[ $(k get pod "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]; }
pod_ended() { pod_phase "$1" Succeeded || pod_phase "$1" Failed; }
readonly ended='.status.containerStatuses[0].state.terminated'

# Makes what a file describes: given NAME.
given() {
    local complaint
    if ! complaint=$(k apply -f "$manifests/$1.yaml" 2>&1); then
        failed=$((failed + 1))
        echo "FAILED  to make what $1.yaml describes: $complaint"
    fi
}

# Removes what the files describe, whether it is there or not.
clear_away() {
    local file
    for file; do
        k delete --ignore-not-found --wait --timeout "${patience}s" -f "$manifests/$file.yaml" >/dev/null
    done
}

# The folder of a pod's cgroup for memory on this machine: pod_cgroup NAME.
pod_cgroup() {
    local uid
    uid=$(field pod "$1" .metadata.uid)
    find /sys/fs/cgroup/memory /sys/fs/cgroup -maxdepth 5 -type d -name "pod$uid" 2>/dev/null | head -n 1
}
# The limit of a cgroup in bytes, whichever version it is of.
cgroup_limit() { cat "$1/memory.limit_in_bytes" 2>/dev/null || cat "$1/memory.max"; }

# ---------------------------------------------------------------------------------------- installing

readonly label=hermit-wasm/runtime=installed

is_installed() { k -n hermit-wasm rollout status daemonset/installer --timeout 1s >/dev/null 2>&1; }
install_on_nodes() {
    say "installing hermit-wasm on the nodes"
    k label node node1 node2 "$label" --overwrite >/dev/null
    k apply -k "$manifests/installed" >&2
    k -n hermit-wasm rollout status daemonset/installer --timeout "${patience}s" >&2 || {
        k -n hermit-wasm logs daemonset/installer -c install --tail 20 >&2
        return 1
    }
}

# on_node N COMMAND...: in the node's mounts and processes.
on_node() {
    local n=$1
    shift
    nsenter --target "$(pgrep -P "$(<"$state/node$n.pid")")" --mount --pid --net "$@"
}

# Outside of the cluster; one that a step which did not end has left goes first.
start_redis() {
    stop redis TERM
    start redis nsenter --net=/run/netns/hw-control redis-server --bind "$control" --port 6379 --protected-mode no \
        --save '' --dir "$state"
}

step_classes() {
    local n
    check_is 'the class counts what the monitor needs' '96Mi 50m' \
        k get runtimeclass hermit-wasm -o 'jsonpath={.overhead.podFixed.memory} {.overhead.podFixed.cpu}'
    check 'the class for KVM is there' k get runtimeclass hermit-wasm-kvm
    check_text 'QEMU is not among the nodes'\'' programs' 'not-there' \
        on_node 1 sh -c 'test -s /usr/bin/qemu-system-x86_64 || echo not-there'
    for n in 1 2; do
        check "the installer has put it on node$n" on_node "$n" /opt/hermit-wasm/current/bin/hermit-wasm --version
    done
    check_text 'what is installed already is not installed again' 'knows the handlers already' reinstall
}

reinstall() {
    k -n hermit-wasm rollout restart daemonset/installer
    k -n hermit-wasm rollout status daemonset/installer --timeout "${patience}s"
    k -n hermit-wasm logs daemonset/installer -c install
}

# ---------------------------------------------------------------------------------------- jobs

step_job() {
    local pod logs
    clear_away job
    given job
    check 'the job is completed' k wait --for condition=complete job/files --timeout "${patience}s"
    check_is 'four of four' '4' field job files .status.succeeded
    check_is 'no pod failed' '' field job files .status.failed
    for pod in $(k get pods -l app=files -o name); do
        logs=$(k logs "$pod")
        check "$pod saw ConfigMap, Secret, its volume and its name, and could not write to the ConfigMap" \
            job_has_seen "$logs" "${pod#pod/}"
    done
}

job_has_seen() {
    local words
    for words in 'hello from a ConfigMap' 'secret from a Secret' 'written and read' "$2"; do
        has_words "$words" "$1" || return 1
    done
    # The last command's answer: an errno's name.
    [[ $(tail -n 1 <<<"$1") =~ ROFS|ReadOnly|read-only ]] || has_words 'a refusal as the last line' "$1"
}

# ---------------------------------------------------------------------------------------- ends

step_ends() {
    local pod
    clear_away ends linux
    given ends
    given linux
    for pod in exit-0 exit-42 panics linux; do
        await "$patience" "$pod to end" pod_ended "$pod" || true
    done
    check_is 'exit 0 is a success' 'Succeeded 0' ending exit-0
    check_is 'exit 42 is told as that' 'Failed 42' ending exit-42
    check_is 'a trap is 134, as of abort' 'Failed 134' ending panics
    check_text 'the guest'\''s output is in the log' 'exiting with 42' k logs exit-42
    check_text 'a trap'\''s reason is in the log' 'unreachable' k logs panics
    check_text 'an ordinary container runs beside' 'an ordinary container' k logs linux

    await "$patience" 'the waiting pod to run' pod_phase waits Running || true
    check_text 'exec is refused with a sentence' 'exec is not possible: the container is a virtual machine' k exec waits -- /bin/sh
    # Killed after its grace, it would end with 137. Of a pod that is deleted, nobody keeps the exit code.
    await "$patience" 'the pod whose probe fails to end' pod_ended unwell || true
    check_is 'SIGTERM, here as a probe fails, ends a pod' 'Failed 143' ending unwell
}
ending() { k get pod "$1" -o "jsonpath={.status.phase} {$ended.exitCode}"; }

# ---------------------------------------------------------------------------------------- limits

step_limits() {
    local cgroup
    k delete pod waits --ignore-not-found --wait >/dev/null
    given ends
    await "$patience" 'the waiting pod to run' pod_phase waits Running || true
    cgroup=$(pod_cgroup waits)
    check_is 'the pod'\''s cgroup has room for limit and overhead: 64 + 96 MiB' "$(((64 + 96) << 20))" \
        cgroup_limit "$cgroup"
    check 'QEMU is in it' has_program "$cgroup" qemu-system
    check 'virtiofsd is in it' has_program "$cgroup" virtiofsd
    clear_away ends linux
    await "$patience" 'the cgroup to be gone' test ! -d "$cgroup"
    check 'nothing of it is left' test ! -d "$cgroup"
}
has_program() {
    find "$1" -name cgroup.procs -exec cat {} + | while read -r pid; do cat "/proc/$pid/comm"; done | grep "^${2:0:15}"
}

# shellcheck source=scripts/lib/kubernetes-pods.sh
source "$root/scripts/lib/kubernetes-pods.sh"

# ---------------------------------------------------------------------------------------- KVM

step_kvm() {
    clear_away kvm
    given kvm
    await "$patience" 'the scheduler to look at the pod' is_unschedulable kvm || true
    check 'a pod that wants KVM waits for a node that is labelled so' is_unschedulable kvm
    k label node node1 hermit-wasm/kvm=present >/dev/null
    if kvm_works; then
        await "$patience" 'the pod to end' pod_ended kvm || true
        check_is 'with KVM it runs' 'Succeeded 0' ending kvm
    else
        await "$patience" 'the pod to end' pod_ended kvm || true
        check_is 'on a node that claims to have KVM and does not, the pod fails' 'Failed 125' ending kvm
        check_text 'its log says why' KVM k logs kvm
    fi
    k label node node1 hermit-wasm/kvm- >/dev/null
    clear_away kvm
}

is_unschedulable() {
    local reason
    reason=$(k get pod "$1" -o 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}')
    is_text Unschedulable "$reason"
}

# Whether this machine's KVM runs machines: tried, not assumed.
kvm_works() { "$root/target/release/hermit-wasm" run --accel kvm --greet >/dev/null 2>&1 </dev/null; }

# ---------------------------------------------------------------------------------------- a node dies under load

# shellcheck source=scripts/lib/kubernetes-load.sh
source "$root/scripts/lib/kubernetes-load.sh"

store_is_ready() { [[ $(field deployment store .status.readyReplicas) == 4 ]]; }
# All four are ready, and none is on the node that died.
store_has_moved() {
    [[ $(k get pods -l app=store -o 'jsonpath={range .items[*]}{.spec.nodeName} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
        grep -c '^node1 True') == 4 ]]
}

step_http() {
    local address died moved
    clear_away http
    start_redis
    given http
    await "$patience" 'four servers' store_is_ready || true
    check 'four servers are ready' store_is_ready
    check_is 'they are on both nodes' 'node1 node1 node2 node2' servers_places
    address=$(field service store .spec.clusterIP)

    load_begins "$address"
    sleep 10
    say 'node2 dies'
    died=$SECONDS
    kill_node 2
    await "$patience" 'the servers to be on node1' store_has_moved || true
    moved=$((SECONDS - died))
    check "after $moved s four servers are ready on the node that is left" store_has_moved
    sleep 10
    load_ends
    check "$(load_summary)" load_was_answered
    check 'node2 is known to be dead' node_is node2 Unknown

    say 'node2 comes back'
    clear_node 2
    ip -n hw-node2 link set eth0 up
    up_node 2
    await "$patience" 'node2' node_is node2 True || true
    check 'node2 is back' node_is node2 True
    k delete pods -l app=store --wait >/dev/null
    await "$patience" 'four servers' store_is_ready || true
    check_is 'new servers are on both nodes' 'node1 node1 node2 node2' servers_places
    clear_away http
    stop redis TERM
}
servers_places() { k get pods -l app=store -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort | xargs; }

# ---------------------------------------------------------------------------------------- uninstalling

step_uninstall() {
    local n
    k apply -k "$manifests/uninstalled" >/dev/null
    check 'the uninstaller has run' k -n hermit-wasm rollout status daemonset/installer --timeout "${patience}s"
    for n in 1 2; do
        check "nothing is left on node$n" is_uninstalled "$n"
    done
    k delete -k "$manifests/uninstalled" --wait >/dev/null
    check_linux
}

is_uninstalled() {
    on_node "$1" sh -c '! ls /opt/hermit-wasm/* && ! ls /etc/hermit-wasm/* && ! grep hermit /etc/containerd/config.toml'
}

check_linux() {
    clear_away linux
    given linux
    await "$patience" 'an ordinary container' pod_ended linux || true
    check_is 'ordinary containers run as before' 'Succeeded 0' ending linux
    clear_away linux
}

# The same without Kubernetes' help: node1 gets the files, and runs the script.
step_by_hand() {
    local files=$state/node1/root/root/files
    # Where this step is asked for alone, the installer has been at work.
    [[ -z $(k get runtimeclass hermit-wasm --ignore-not-found -o name) ]] || step_uninstall
    rm -rf "$files" "$state/node1/root/root/install-node"
    "$root/deploy/node-files" "$files"
    cp "$root/deploy/install-node" "$state/node1/root/root/"
    check_text 'install-node installs' 'installed version' \
        on_node 1 /root/install-node install /root/files --restart 'pkill -x containerd'
    check_text 'what is installed already is not installed again' 'knows the handlers already' \
        on_node 1 /root/install-node install /root/files --restart false
    k label node node1 "$label" --overwrite >/dev/null
    given pair
    await "$patience" 'the pod with two machines' pod_ready pair || true
    check 'machines run there' pod_ready pair
    clear_away pair
    check_text 'install-node uninstalls' 'uninstalled' on_node 1 /root/install-node uninstall --restart 'pkill -x containerd'
    check 'nothing is left on node1' is_uninstalled 1
    check_linux
}
