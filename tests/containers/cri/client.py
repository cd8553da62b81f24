#!/usr/bin/python3
"""Says to containerd what Kubernetes' kubelet says: a pod, one container in it, its end; all by the container runtime
interface, over gRPC. The messages are cri.proto's, compiled by `protoc --python_out`.

    client.py SOCKET REQUEST

REQUEST is a JSON object:

    handler, image                 the runtime handler's name; the image's
    name                           the pod's name
    logs                           a directory for the container's log
    args, env, mounts, annotations ["a"], ["NAME=value"], [[HOST, CONTAINER, read-only]], {"name": "value"}
    memory, user, cwd, readonly    bytes; a number; a path; true
    cgroup                         the pod's parent cgroup
    do                             what to do while it runs: a list of "wait-for:TEXT" (until its output has that),
                                   "exec" (asks for a second process), "stop:SECONDS", "pause" (tells the pod's state
                                   and its address, and waits for a line on standard input)

What the container printed comes out of this program's standard output and standard error, and its exit code is this
program's. What else happened goes to standard error, each line with `cri: ` before it.
"""

import json
import os
import sys
import time

import grpc

import cri_pb2 as pb

RUNTIME = "/runtime.v1.RuntimeService/"
EXITED = 2
# How long a container may take.
LIMIT = 120
# What ends this program if something else than the container fails.
BROKEN = 99


class Runtime:
    def __init__(self, socket):
        self.channel = grpc.insecure_channel("unix://" + socket)

    def call(self, method, request, response):
        stub = self.channel.unary_unary(
            RUNTIME + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return stub(request, timeout=LIMIT, wait_for_ready=True)

    def status(self, container):
        request = pb.ContainerRequest(container_id=container)
        return self.call("ContainerStatus", request, pb.ContainerStatusResponse).status


def note(text):
    print("cri: " + text.replace("\n", " "), file=sys.stderr, flush=True)


def streams(path):
    """The two outputs in a container's log: lines of `TIME STREAM F|P TEXT`; P is a part of a line."""
    outputs = {b"stdout": bytearray(), b"stderr": bytearray()}
    with open(path, "rb") as log:
        for line in log:
            _, stream, tag, text = line.rstrip(b"\n").split(b" ", 3)
            outputs[stream] += text + (b"" if tag == b"P" else b"\n")
    return outputs


def container_config(ask):
    annotations = ask.get("annotations", {})
    resources = pb.LinuxContainerResources(memory_limit_in_bytes=ask.get("memory", 0))
    security = pb.LinuxContainerSecurityContext(readonly_rootfs=ask.get("readonly", False))
    if "user" in ask:
        security.run_as_user.value = ask["user"]
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name="c"),
        image=pb.ImageSpec(image=ask["image"]),
        args=ask.get("args", []),
        working_dir=ask.get("cwd", ""),
        envs=[pb.KeyValue(key=k, value=v) for k, v in (e.split("=", 1) for e in ask.get("env", []))],
        mounts=[pb.Mount(host_path=h, container_path=c, readonly=r) for h, c, r in ask.get("mounts", [])],
        annotations=annotations,
        log_path="c.log",
        linux=pb.LinuxContainerConfig(resources=resources, security_context=security),
    )


def meanwhile(runtime, ask, pod, container, log):
    for step in ask.get("do", []):
        what, _, value = step.partition(":")
        if what == "wait-for":
            deadline = time.monotonic() + LIMIT
            while value.encode() not in streams(log)[b"stdout"]:
                if time.monotonic() > deadline or runtime.status(container).state == EXITED:
                    raise TimeoutError("the container did not print " + repr(value))
                time.sleep(0.05)
        elif what == "exec":
            try:
                request = pb.ExecSyncRequest(container_id=container, cmd=["ls"], timeout=10)
                answer = runtime.call("ExecSync", request, pb.ExecSyncResponse)
                note(f"exec ended with {answer.exit_code}: {answer.stderr.decode(errors='replace')}")
            except grpc.RpcError as error:
                note("exec refused: " + error.details())
        elif what == "stop":
            begin = time.monotonic()
            request = pb.StopContainerRequest(container_id=container, timeout=int(value))
            runtime.call("StopContainer", request, pb.Nothing)
            note(f"stopped after {time.monotonic() - begin:.1f} s")
        elif what == "pause":
            request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod)
            status = runtime.call("PodSandboxStatus", request, pb.PodSandboxStatusResponse).status
            note(f"pod state {status.state} handler {status.runtime_handler} address {status.network.ip}")
            sys.stdin.readline()
        else:
            raise ValueError("there is no step " + repr(step))


def run(runtime, ask):
    version = runtime.call("Version", pb.VersionRequest(), pb.VersionResponse)
    if version.runtime_api_version != "v1":
        raise ValueError("the engine speaks version " + version.runtime_api_version)
    os.makedirs(ask["logs"], exist_ok=True)
    name = ask["name"]
    sandbox = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, uid=name, namespace="default"),
        hostname=name[:60],
        log_directory=ask["logs"],
        annotations=ask.get("annotations", {}),
        linux=pb.LinuxPodSandboxConfig(cgroup_parent=ask.get("cgroup", "")),
    )
    request = pb.RunPodSandboxRequest(config=sandbox, runtime_handler=ask["handler"])
    pod = runtime.call("RunPodSandbox", request, pb.RunPodSandboxResponse).pod_sandbox_id
    try:
        request = pb.CreateContainerRequest(
            pod_sandbox_id=pod, config=container_config(ask), sandbox_config=sandbox
        )
        container = runtime.call("CreateContainer", request, pb.CreateContainerResponse).container_id
        log = os.path.join(ask["logs"], "c.log")
        try:
            runtime.call("StartContainer", pb.ContainerRequest(container_id=container), pb.Nothing)
        except grpc.RpcError as error:
            note("not started: " + error.details())
        meanwhile(runtime, ask, pod, container, log)
        deadline = time.monotonic() + LIMIT
        while (status := runtime.status(container)).state != EXITED:
            if time.monotonic() > deadline:
                raise TimeoutError("the container does not end")
            time.sleep(0.02)
        outputs = streams(log)
        sys.stdout.buffer.write(outputs[b"stdout"])
        sys.stdout.flush()
        sys.stderr.buffer.write(outputs[b"stderr"])
        sys.stderr.flush()
        runtime.call("RemoveContainer", pb.ContainerRequest(container_id=container), pb.Nothing)
        return status.exit_code
    finally:
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            runtime.call(method, pb.PodSandboxRequest(pod_sandbox_id=pod), pb.Nothing)


def main():
    socket, ask = sys.argv[1], json.loads(sys.argv[2])
    try:
        code = run(Runtime(socket), ask)
    except (grpc.RpcError, OSError, ValueError, TimeoutError) as error:
        details = error.details() if isinstance(error, grpc.RpcError) else str(error)
        note(f"failed: {details}")
        code = BROKEN
    sys.exit(code)


main()
