"""Writes run directories, and checks whether one is whole.

A run directory holds `study.yaml`, `manifest.json`, `plans.jsonl` (a line for each round), a folder
for each table with a Parquet file for each round, `checkpoint.pt`, and `digests.json`, which has
the SHA-256 of all of them. A round counts as written when `digests.json` lists it. `writing` adds
rounds; `whole` is the check that every reader of a run directory begins with.
`docs/run-directory.md` explains both. This package imports nothing else of this project.
"""
