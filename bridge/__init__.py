"""Time: an event loop whose clock is the network, computation in step with it, payloads."""
