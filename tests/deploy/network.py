"""Who reaches whom by network policies: what a cluster's network plugin would enforce, read from the manifests."""

from __future__ import annotations

from typing import NamedTuple

from tests.deploy.manifests import Manifest, of_kind, selects

NAME_LABEL = "kubernetes.io/metadata.name"  # which Kubernetes itself puts on every namespace


class Pod(NamedTuple):
    """What policies know of a pod."""

    namespace: str
    labels: dict[str, str]


def reaches(objects: tuple[Manifest, ...], client: Pod, server: Pod, port: int) -> bool:
    """Whether a pod may call another: out of the one and into the other."""
    return _open(objects, "egress", "to", client, server, port) and _open(
        objects, "ingress", "from", server, client, port
    )


def _open(objects: tuple[Manifest, ...], way: str, peers: str, own: Pod, other: Pod, port: int) -> bool:
    policies = [
        one["spec"]
        for one in of_kind(objects, "NetworkPolicy")
        if one["metadata"]["namespace"] == own.namespace and selects(one["spec"]["podSelector"], own.labels)
    ]
    if not any(way.capitalize() in spec["policyTypes"] for spec in policies):
        return True
    for spec in policies:
        for rule in spec.get(way, []):
            ports = [one["port"] for one in rule.get("ports", [])]
            everybody = peers not in rule
            if (not ports or port in ports) and (
                everybody or any(_is_peer(objects, one, own, other) for one in rule[peers])
            ):
                return True
    return False


def _is_peer(objects: tuple[Manifest, ...], peer: Manifest, own: Pod, other: Pod) -> bool:
    """Whether a peer of a rule for ``own`` is ``other``. Blocks of addresses are none of the cluster's pods."""
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" not in peer:  # then pods of the policy's own namespace
        return own.namespace == other.namespace and selects(peer["podSelector"], other.labels)
    return selects(peer["namespaceSelector"], namespace_labels(objects, other.namespace)) and selects(
        peer.get("podSelector", {}), other.labels
    )


def namespace_labels(objects: tuple[Manifest, ...], namespace: str) -> dict[str, str]:
    """Labels of a namespace: of ours as its manifest says, of any other its name alone."""
    made = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in of_kind(objects, "Namespace")}
    return made.get(namespace, {}) | {NAME_LABEL: namespace}
