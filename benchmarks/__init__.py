"""How fast every operation of the registry is, beside its peers: see ``python -m benchmarks -h``."""
