"""Runs a study round by round: planned, executed, recorded."""
