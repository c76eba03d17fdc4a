"""Bandwidth and power of every link."""
