"""ns-3 scenarios: loading, radios, measurement; no learning."""
