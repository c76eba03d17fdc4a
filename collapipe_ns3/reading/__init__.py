"""Reads studies: YAML to a checked configuration, with every error found at once."""
