"""Run directories: how they are written, and whether one is whole.

A run directory holds `study.yaml`, `manifest.json`, `plans.jsonl` (a line a round), a folder a
table with a Parquet file a round, `checkpoint.pt`, and `digests.json`, which has the SHA-256 of
each of them. A round is there when `digests.json` lists it. `writing` adds rounds, `whole` is the
one check that everything which reads a run directory begins with; `docs/run-directory.md` explains
both. This package knows neither networks nor training, and imports nothing of this project.
"""
