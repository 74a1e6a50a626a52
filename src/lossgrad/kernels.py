"""What stands here where the extension of this name, which comes first, has not been built."""

raise ImportError(
    "lossgrad.kernels is compiled, but lossgrad was installed without its kernels "
    "(LOSSGRAD_PURE=1): install it anew without that setting; it needs a C compiler"
)
