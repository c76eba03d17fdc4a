"""Reads run directories into pandas; knows nothing but the record schema."""
