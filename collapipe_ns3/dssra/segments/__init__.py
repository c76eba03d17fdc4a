"""Segment scheduling: which devices hold which blocks, in what order."""
