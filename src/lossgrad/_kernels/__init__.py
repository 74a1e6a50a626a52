"""The crossing from Python to C, and how many threads it may use. Without a compiler the extension
is not there (`lossgrad._core.backend` then has no kernels)."""
