"""The NumPy twin of what an evaluation has measured and added up in C."""
