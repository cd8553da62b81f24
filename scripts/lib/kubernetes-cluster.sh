# shellcheck shell=bash
# Two nodes and what steers them, on this machine: three network namespaces on one bridge. Sourced by
# scripts/kubernetes, which provides `say`, `root`, `work` and `state`.
#
#   hw-control   10.88.0.1    etcd, apiserver, controller-manager, scheduler; the bridge is there
#   hw-node1     10.88.0.11   containerd, kubelet, kube-proxy; pods 10.244.1.0/24
#   hw-node2     10.88.0.12   the same; pods 10.244.2.0/24

# For shellcheck's sake: set by scripts/kubernetes.
: "${root=}" "${work=}" "${state=}"

readonly services=10.97.0.0/16
readonly control=10.88.0.1
# How long something may take, in seconds. On a machine that is busy with other work, seconds become a minute; a test
# that fails takes as long, and no test judges by it.
readonly patience=300

node_address() { echo "10.88.0.1$1"; }
pod_network() { echo "10.244.$1.0/24"; }

# inside control|node1|node2 COMMAND...: in that network. Not by `ip netns exec`, which hides the cgroups.
inside() {
    local name=$1
    shift
    nsenter --net="/run/netns/hw-$name" "$@"
}

# kubectl. On a machine that is busy with other things too, the apiserver is sometimes late: it is asked again.
k() {
    local tries complaint status
    complaint=$(mktemp)
    for tries in 1 2 3 4 5; do
        status=0
        inside control "$work/bin/kubectl" --kubeconfig "$state/kubeconfig" "$@" 2>"$complaint" || status=$?
        ((status != 0 && tries < 5)) || break
        grep -Eq 'TLS handshake timeout|i/o timeout|request timed out|was refused' "$complaint" || break
    done
    cat "$complaint" >&2
    rm "$complaint"
    return "$status"
}

# start NAME COMMAND...: in the background, with its log and its process's number beside.
start() {
    local name=$1
    shift
    setsid "$@" >>"$state/$name.log" 2>&1 </dev/null &
    echo $! >"$state/$name.pid"
    disown
}

# Ends what `start` has started, with all of its own: stop NAME SIGNAL.
stop() {
    local pid file=$state/$1.pid
    [[ -f $file ]] || return 0
    pid=$(<"$file")
    kill "-$2" "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    rm "$file"
}

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= limit)); then
            say "waited too long for: $what ($*)"
            return 1
        fi
        sleep 0.5
    done
}

# ---------------------------------------------------------------------------------------- up

up_network() {
    local n
    ip netns add hw-control
    ip -n hw-control link set lo up
    ip -n hw-control link add br0 type bridge
    ip -n hw-control addr add "$control/24" dev br0
    ip -n hw-control link set br0 up
    for n in 1 2; do
        ip netns add "hw-node$n"
        ip -n "hw-node$n" link set lo up
        ip -n "hw-node$n" link add eth0 type veth peer name "node$n" netns hw-control
        ip -n hw-control link set "node$n" master br0 up
        ip -n "hw-node$n" addr add "$(node_address "$n")/24" dev eth0
        ip -n "hw-node$n" link set eth0 up
        ip -n "hw-node$n" route add default via "$control"
        ip -n "hw-node$n" route add "$(pod_network $((3 - n)))" via "$(node_address $((3 - n)))"
        ip -n hw-control route add "$(pod_network "$n")" via "$(node_address "$n")"
        inside "node$n" sysctl -q net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
    done
}

up_control() {
    local bin=$work/bin certs=$state/certs token
    mkdir -p "$certs"
    openssl genrsa -out "$certs/accounts.key" 2048 2>/dev/null
    openssl rsa -in "$certs/accounts.key" -pubout -out "$certs/accounts.pub" 2>/dev/null
    token=$(openssl rand -hex 16)
    (umask 077 && echo "$token,admin,admin,system:masters" >"$certs/tokens.csv")

    start etcd nsenter --net=/run/netns/hw-control etcd --data-dir "$state/etcd" \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380
    start apiserver nsenter --net=/run/netns/hw-control "$bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 \
        --bind-address "$control" --secure-port 6443 --cert-dir "$certs" --token-auth-file "$certs/tokens.csv" \
        --service-cluster-ip-range "$services" --allow-privileged --authorization-mode AlwaysAllow \
        --service-account-key-file "$certs/accounts.pub" --service-account-signing-key-file "$certs/accounts.key" \
        --service-account-issuer https://kubernetes.default.svc --disable-admission-plugins ServiceAccount \
        --kubelet-preferred-address-types InternalIP
    await "$patience" "the apiserver's certificate" test -s "$certs/apiserver.crt"
    (umask 077 && cat >"$state/kubeconfig") <<END
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: admin}}]
clusters: [{name: test, cluster: {server: "https://$control:6443", certificate-authority-data: "$(base64 -w0 "$certs/apiserver.crt")"}}]
users: [{name: admin, user: {token: $token}}]
END
    await "$patience" 'the apiserver' k get --raw /healthz
    # A node that is silent for 16 s is taken for dead, 5 s later its pods are started elsewhere (usually 40 s and 300 s).
    start controller-manager nsenter --net=/run/netns/hw-control "$bin/kube-controller-manager" \
        --kubeconfig "$state/kubeconfig" --service-account-private-key-file "$certs/accounts.key" --leader-elect=false \
        --node-monitor-grace-period 16s --pod-eviction-timeout 5s --cert-dir "$certs"
    start scheduler nsenter --net=/run/netns/hw-control "$bin/kube-scheduler" --kubeconfig "$state/kubeconfig" \
        --leader-elect=false --cert-dir "$certs"
}

# An ordinary node's: of hermit-wasm it says nothing, which is to be installed.
containerd_config() {
    cat <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  # Without CAP_SYS_RESOURCE, nothing can be made less likely to be killed than containerd is.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
END
}

# up_node N: for the first time, or again after it has died, with what it had on its disk.
up_node() {
    local n=$1 folder=$state/node$1
    if [[ ! -d $folder ]]; then
        mkdir -p "$folder/root/var/lib/images" "$folder"/etc/{kubernetes,containerd}
        cp "$work"/images/*.tar "$folder/root/var/lib/images/"
        cp "$state/kubeconfig" "$folder/etc/kubernetes/kubeconfig"
        containerd_config >"$folder/etc/containerd/config.toml"
    fi
    start "node$n" nsenter --net="/run/netns/hw-node$n" unshare --mount --pid --fork --kill-child \
        "$root/scripts/lib/kubernetes-node.sh" "$folder" "node$n" "$(node_address "$n")" "$(pod_network "$n")"
}

node_is() { [[ $(k get node "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == "$2" ]]; }

up_cluster() {
    local n
    mkdir -p "$state"
    up_network
    say "starting etcd, apiserver, controller-manager, scheduler"
    up_control
    for n in 1 2; do
        say "starting node$n"
        up_node "$n"
    done
    for n in 1 2; do
        await "$patience" "node$n to be ready" node_is "node$n" True
    done
}

# ---------------------------------------------------------------------------------------- down

# As a power cut: its cable first, so that nobody gets a last word from it.
kill_node() {
    ip -n "hw-node$1" link set eth0 down
    stop "node$1" KILL
}

# Removes what a dead node has left in the machine's kernel, so that it can start again.
clear_node() {
    local controller
    ip -n "hw-node$1" link del cni0 2>/dev/null || true
    for controller in /sys/fs/cgroup/*/ /sys/fs/cgroup/; do
        remove_cgroup "${controller}hermit-wasm-node$1"
    done
}

# From the leaves; its processes have been killed but may not be gone yet.
remove_cgroup() {
    [[ -d $1 ]] || return 0
    await "$patience" "the cgroup $1 to be empty" remove_cgroups "$1"
}
remove_cgroups() { find "$1" -depth -type d -exec rmdir {} +; }

down_cluster() {
    local n name
    for n in 1 2; do
        stop "node$n" KILL
        clear_node "$n" || true
    done
    for name in scheduler controller-manager apiserver etcd redis; do
        stop "$name" TERM
    done
    for name in node1 node2 control; do
        ip netns del "hw-$name" 2>/dev/null || true
    done
    rm -rf "$state"
}
