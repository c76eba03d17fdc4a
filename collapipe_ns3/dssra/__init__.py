"""DSSRA: dynamic segment scheduling and resource allocation, from what was measured.

`decide` makes a `decision` from a `planning_problem`: `planner` lowers the `objective` by updates
of `segments` and `radio`, and `finalists` compares the best plans by event graphs. `docs/dssra.md`
describes the method.
"""
