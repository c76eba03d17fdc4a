"""An asyncio event loop whose clock is a simulated network, computation, and payloads."""
