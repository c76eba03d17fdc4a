"""DSSRA: dynamic segment scheduling and resource allocation, from what was measured."""
