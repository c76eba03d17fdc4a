"""The names of nodes, the same in plans, records and ns-3."""

SERVER = "bs"
"""The base station with its edge server."""


def station(number: int) -> str:
    """The name of a further base station, counted from 1."""
    return f"{SERVER}{number}"


def control_unit(cluster: int) -> str:
    """The name of a cluster's control unit."""
    return f"c{cluster}.cu"


def device(cluster: int, number: int) -> str:
    """The name of a cluster's device, both counted from 0."""
    return f"c{cluster}.d{number}"


def is_device(node: str) -> bool:
    """Whether this is a cluster's device: neither control unit nor base station."""
    return node.startswith("c") and not node.endswith(".cu")


def cluster_of(node: str) -> int:
    """The cluster of a control unit or a device, -1 for the base station."""
    return -1 if node == SERVER else int(node[1:].partition(".")[0])


def route(src: str, dst: str, control: str) -> tuple[str, ...]:
    """The nodes from one of a cluster's to another: the base station is reached by `control`."""
    if src == dst:
        return (src,)
    relayed = SERVER in (src, dst) and control not in (src, dst)
    return (src, control, dst) if relayed else (src, dst)
