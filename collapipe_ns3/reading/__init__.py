"""Reads studies: YAML to a checked configuration, with all errors reported at once."""
