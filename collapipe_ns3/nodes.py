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


def cluster_of(node: str) -> int:
    """The number of a node's cluster; -1 of a base station."""
    return int(node[1:].partition(".")[0]) if "." in node else -1
