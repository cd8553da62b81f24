# shellcheck shell=bash
# What a pod costs: many idle ones are started on one node, and looked at. Sourced by scripts/kubernetes, which provides
# `say`, `root`, `state` and the cluster's functions.

# For shellcheck's sake: set by scripts/kubernetes.
: "${root=}" "${state=}" "${patience=}"

# How many if nothing else is said.
readonly figure_pods=10

idle_pods() {
    cat <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: $1
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec:
      runtimeClassName: hermit-wasm
      nodeName: node1
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: localhost/sleep:1
        imagePullPolicy: Never
        args: ["86400000"]
        resources: {limits: {memory: 64Mi}, requests: {cpu: 10m, memory: 64Mi}}
END
}

idle_ready() { [[ $(k get deployment idle -o 'jsonpath={.status.readyReplicas}') == "$1" ]]; }

# All processes of a cgroup: members FOLDER.
members() { find "$1" -name cgroup.procs -exec cat {} + | sort -u; }

# The memory that is a process's own share, in KiB: its part of what it shares with others is a fraction.
share_of() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup" 2>/dev/null || echo 0; }

# The processor time of a cgroup so far, in microseconds: of version 1 it has a hierarchy of its own.
cpu_of() {
    local twin=/sys/fs/cgroup/cpuacct/${1#/sys/fs/cgroup/memory/}
    if [[ -f $twin/cpuacct.usage ]]; then
        echo $(($(<"$twin/cpuacct.usage") / 1000))
    else
        awk '/^usage_usec/ { print $2 }' "$1/cpu.stat"
    fi
}

# The processor time of the node's daemons, of containerd's shims and of the children that they waited for, in milliseconds.
cpu_of_daemons() {
    local pid
    for pid in $(pgrep --ns "$1" --nslist pid -x 'containerd|kubelet|containerd-shim'); do
        awk '{ sub(/.*\) /, ""); print ($12 + $13 + $14 + $15) * 10 }' "/proc/$pid/stat"
    done | awk '{ sum += $1 } END { print sum }'
}

# figures [PODS]
figures() {
    local init began seconds daemons pod cgroup pid name node_side=0 pods=() before after n=${1:-$figure_pods}
    init=$(pgrep -P "$(<"$state/node1.pid")")
    k delete deployment idle --ignore-not-found --wait >/dev/null
    await "$patience" 'earlier pods to be gone' no_idle_pods
    daemons=$(cpu_of_daemons "$init")
    began=${EPOCHREALTIME/./}
    idle_pods "$n" | k apply -f - >/dev/null
    await $((patience + 10 * n)) "$n pods" idle_ready "$n"
    seconds=$(((${EPOCHREALTIME/./} - began) / 1000000))
    daemons=$(($(cpu_of_daemons "$init") - daemons))
    # What the guests do until they sleep.
    sleep 20

    declare -A memory=()
    local tasks=0 used=0 cpu=0
    for pod in $(k get pods -l app=idle -o 'jsonpath={.items[*].metadata.name}'); do
        cgroup=$(pod_cgroup "$pod")
        pods+=("$cgroup")
        cpu=$((cpu + $(cpu_of "$cgroup")))
        used=$((used + $(cat "$cgroup/memory.usage_in_bytes" 2>/dev/null || cat "$cgroup/memory.current")))
        for pid in $(members "$cgroup"); do
            name=$(<"/proc/$pid/comm")
            memory[$name]=$((${memory[$name]:-0} + $(share_of "$pid")))
            tasks=$((tasks + $(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)))
        done
    done
    for pid in $(pgrep --ns "$init" --nslist pid -f 'containerd-shim'); do
        node_side=$((node_side + $(share_of "$pid")))
    done
    before=0 after=0
    for cgroup in "${pods[@]}"; do before=$((before + $(cpu_of "$cgroup"))); done
    sleep 30
    for cgroup in "${pods[@]}"; do after=$((after + $(cpu_of "$cgroup"))); done

    echo "$n idle pods on node1, each with 64 MiB for its guest; all figures are for one pod"
    echo "memory of the pod's cgroup        $((used / n >> 20)) MiB"
    for name in "${!memory[@]}"; do
        printf 'memory of %-23s %d.%d MiB\n' "$name" $((memory[$name] / n / 1024)) $((memory[$name] * 10 / n / 1024 % 10))
    done | sort
    echo "memory of containerd's shim       $((node_side / n / 1024)) MiB, outside of the cgroup"
    echo "tasks (processes and threads)     $((tasks / n))"
    echo "processor time of a start         $((cpu / n / 1000)) ms in the pod, $((daemons / n)) ms of kubelet, containerd, its shims and runc"
    echo "processor time when idle          $(((after - before) / n / 30)) microseconds a second"
    echo "time until all were ready         $seconds s"
    k delete deployment idle --wait >/dev/null
}
no_idle_pods() { [[ -z $(k get pods -l app=idle -o name) ]]; }
