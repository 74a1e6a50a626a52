"""How fast every operation of the registry is, beside its peers: ``python -m benchmarks -h``."""
