"""A round as an event graph, which ends to the nanosecond when the engine does."""
