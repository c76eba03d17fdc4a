"""The bandwidth and power of every link."""
