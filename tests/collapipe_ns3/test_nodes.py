"""Names of nodes say what a node is."""

from __future__ import annotations

import pytest

from collapipe_ns3.nodes import SERVER, Role, cluster_of, control_unit, device, role, station

NODES = {
    SERVER: (Role.BASE_STATION, -1),
    station(1): (Role.BASE_STATION, -1),
    control_unit(0): (Role.CONTROL_UNIT, 0),
    control_unit(12): (Role.CONTROL_UNIT, 12),
    device(3, 10): (Role.DEVICE, 3),
}


@pytest.mark.parametrize("node", NODES)
def test_a_name_says_role_and_cluster(node: str) -> None:
    assert (role(node), cluster_of(node)) == NODES[node]


@pytest.mark.parametrize("name", ["", "bsx", "c0", "c.cu", "c0.cu1", "c0.d", "constant0", "xc0.d0"])
def test_another_name_has_no_role(name: str) -> None:
    with pytest.raises(ValueError, match="expected the name of a node"):
        role(name)
