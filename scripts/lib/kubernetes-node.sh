#!/usr/bin/env bash
# The first process of a node: gives it a root of its own, then keeps containerd, kubelet and kube-proxy running.
#   nsenter --net=... unshare --mount --pid --fork --kill-child kubernetes-node.sh FOLDER NAME ADDRESS POD_NETWORK
# Whoever kills it kills all processes of the node with it, containers included, as a power cut does.
set -euo pipefail
folder=$1 name=$2 address=$3 pods=$4
new=$folder/root

# ---------------------------------------------------------------------------------------- the node's own root
# Programs are this machine's, read-only. All else is the node's: what is installed on it is not on this machine.

mount --make-rprivate /
mkdir -p "$new"/{usr,etc,opt,var,run,tmp,sys,proc,dev,root,old} "$folder"/{etc,work}
mount --bind "$new" "$new"
mount --bind /usr "$new/usr"
mount -o remount,bind,ro "$new/usr"
# QEMU is to come with what is installed.
for program in "$new"/usr/bin/qemu-system-*; do
    [[ ! -f $program ]] || mount --bind /dev/null "$program"
done
for link in bin sbin lib lib64; do
    [[ -e $new/$link ]] || ln -s "usr/$link" "$new/$link"
done
mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/work" node "$new/etc"
mount -t proc proc "$new/proc"
mount --rbind /sys "$new/sys"
mount --rbind /dev "$new/dev"
mount -t tmpfs -o mode=755 run "$new/run"
ln -sfn /run "$new/var/run"
mkdir -p "$new/opt/kubernetes"
mount --bind "$folder/../../bin" "$new/opt/kubernetes"
mount -o remount,bind,ro "$new/opt/kubernetes"
# kubelet sets these for the whole machine: it gets copies. It finds the values that it wants, or sets them there.
mkdir -p "$new/run/sysctl"
for key in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes; do
    copy=$new/run/sysctl/${key//\//.}
    cat "/proc/sys/$key" >"$copy"
    mount --bind "$copy" "$new/proc/sys/$key"
done
cd "$new"
pivot_root . old
umount -l /old
# Volumes and containers' roots are seen by whoever shares them.
mount --make-rshared /
cd /

# kubelet wants its pods' cgroup to be there: in each hierarchy of version 1, or in the only one of version 2.
hierarchies=(/sys/fs/cgroup/*/)
[[ ! -f /sys/fs/cgroup/cgroup.controllers ]] || hierarchies=(/sys/fs/cgroup/)
for hierarchy in "${hierarchies[@]}"; do
    mkdir -p "${hierarchy}hermit-wasm-$name"
    for key in cpuset.cpus cpuset.mems; do
        [[ ! -f $hierarchy$key ]] || cat "$hierarchy$key" >"${hierarchy}hermit-wasm-$name/$key"
    done
done

# ---------------------------------------------------------------------------------------- what it is told

mkdir -p /etc/containerd /etc/cni/net.d /etc/kubernetes /var/lib/{kubelet,containerd} /var/log /tmp
chmod 1777 /tmp
echo "$name" >/etc/hostname
echo "127.0.0.1 localhost $name" >/etc/hosts
cat >/etc/cni/net.d/10-pods.conflist <<END
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{
    "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
END
cat >/etc/kubernetes/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /hermit-wasm-$name
enforceNodeAllocatable: [pods]
failSwapOn: false
oomScoreAdj: 0
maxPods: 250
evictionHard: {memory.available: 50Mi, nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
END

# ---------------------------------------------------------------------------------------- what runs

# keep NAME COMMAND...: as systemd does, starts it again when it ends.
keep() {
    local log=/var/log/$1.log
    shift
    while :; do
        "$@" >>"$log" 2>&1 || true
        sleep 0.5
    done
}
keep containerd containerd &
until [[ -S /run/containerd/containerd.sock ]]; do sleep 0.2; done
for image in /var/lib/images/*.tar; do
    ctr --namespace k8s.io images import "$image" >>/var/log/images.log 2>&1
done
keep kubelet /opt/kubernetes/kubelet --config /etc/kubernetes/kubelet.yaml --kubeconfig /etc/kubernetes/kubeconfig \
    --hostname-override "$name" --node-ip "$address" --container-runtime remote \
    --container-runtime-endpoint unix:///run/containerd/containerd.sock --pod-infra-container-image localhost/pause:1 --v 2 &
# Of connections the kernel tracks as many as this machine says.
keep kube-proxy /opt/kubernetes/kube-proxy --kubeconfig /etc/kubernetes/kubeconfig --hostname-override "$name" \
    --cluster-cidr 10.244.0.0/16 --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0s \
    --conntrack-tcp-timeout-close-wait 0s &
wait
