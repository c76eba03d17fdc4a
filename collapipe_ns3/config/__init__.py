"""The keys of a study file: types, units, bounds and defaults."""
