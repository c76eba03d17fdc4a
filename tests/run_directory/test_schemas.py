"""The columns of the tables are those that rounds are recorded with."""

from __future__ import annotations

from collapipe_ns3.phases import Phase
from run_directory.schemas import PHASES, SCHEMAS
from run_directory.whole import TABLES


def test_every_table_has_its_columns() -> None:
    assert set(SCHEMAS) == set(TABLES)
    assert all(schema.names[:3] == ["scheme", "seed", "round"] for schema in SCHEMAS.values())


def test_every_phase_of_a_round_has_a_column() -> None:
    assert set(PHASES) == {str(phase) for phase in Phase}
