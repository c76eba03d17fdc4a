"""The names of nodes, the same in plans, records and ns-3, and what they say about a node."""

from __future__ import annotations

from run_directory.roles import Role as Role
from run_directory.roles import role as role

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
    """The cluster of a control unit or a device, -1 for a base station."""
    return -1 if role(node) is Role.BASE_STATION else int(node[1:].partition(".")[0])


def route(src: str, dst: str, control: str) -> tuple[str, ...]:
    """The nodes on the way from `src` to `dst`, both included.

    Both are nodes of the cluster whose control unit is `control`, or the base station, which is
    reached by way of the control unit.
    """
    if src == dst:
        return (src,)
    relayed = SERVER in (src, dst) and control not in (src, dst)
    return (src, control, dst) if relayed else (src, dst)


def state_route(holder: str, new_holder: str, control: str) -> tuple[str, ...]:
    """The nodes on the way of optimizer states to another device, by way of the control unit."""
    return tuple(dict.fromkeys((holder, control, new_holder)))
