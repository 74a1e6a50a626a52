"""Builds the extension: each level of csrc/isa_*.c with its own flags, once for each dtype.

LOSSGRAD_PURE=1 leaves the extension out (the package then runs on its NumPy reference);
LOSSGRAD_CFLAGS adds flags, such as -Werror or -fsanitize=address; LOSSGRAD_LEVELS names the levels
to build, such as avx2,avx512, or all.
"""

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Extension

X86 = {
    "portable": ("isa_portable.c", []),
    "portable_fma": ("isa_portable.c", ["-mfma", "-DLG_ISA=portable_fma"]),
    "sse2": ("isa_sse2.c", []),
    "avx2": ("isa_avx2.c", ["-mavx2", "-mfma", "-mf16c"]),
    "avx512": (
        "isa_avx512.c",
        [
            "-mavx512f",
            "-mavx512dq",
            "-mavx512bw",
            "-mavx512vl",
            "-mfma",
            "-mf16c",
            "-mprefer-vector-width=512",
        ],
    ),
}
ARM = {"portable": ("isa_portable.c", []), "neon": ("isa_neon.c", [])}
OTHER = {"portable": ("isa_portable.c", [])}
KNOWN = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}.get(platform.machine(), OTHER)
DTYPES = {"f32": 0, "f64": 1}
COMMON = ("pool", "sum", "jobs", "row_jobs", "norms", "totals")  # the same for all levels

# -ffp-contract=off: only an explicit fma is fused, so that every level rounds alike.
C_FLAGS = [
    "-std=gnu11",
    "-O3",
    "-g0",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    "-Wundef",
    "-Wno-unknown-pragmas",
]


def levels():
    """The levels to build, slowest first."""
    asked = os.environ.get("LOSSGRAD_LEVELS") or "all"
    names = list(KNOWN) if asked == "all" else [name.strip() for name in asked.split(",")]
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        raise SystemExit(f"LOSSGRAD_LEVELS: {unknown[0]!r} is none of {', '.join(KNOWN)}, all")
    return {name: KNOWN[name] for name in KNOWN if name in names}


class BuildExt(build_ext):
    """Compiles the levels apart from the Cython source, then links them together."""

    def build_extension(self, ext):
        extra = os.environ.get("LOSSGRAD_CFLAGS", "").split()
        chosen = levels()
        base = [*C_FLAGS, *extra]
        jobs = [
            (
                f"csrc/{source}",
                f"{self.build_temp}/{level}_{dtype}",
                [*flags, f"-DLG_DOUBLE={is_double}"],
            )
            for level, (source, flags) in chosen.items()
            for dtype, is_double in DTYPES.items()
        ]
        jobs += [(f"csrc/{name}.c", self.build_temp, []) for name in COMMON]
        table = "-DLG_LEVELS(X)=" + " ".join(f"X({level})" for level in chosen)
        jobs.append(("csrc/dispatch.c", self.build_temp, [table]))

        def compile_one(job):
            source, folder, flags = job
            return self.compiler.compile(
                [source], output_dir=folder, extra_postargs=[*base, *flags]
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ext.extra_objects += [name for names in pool.map(compile_one, jobs) for name in names]
        ext.extra_link_args += [flag for flag in extra if flag.startswith("-fsanitize")]
        super().build_extension(ext)


def extensions():
    if os.environ.get("LOSSGRAD_PURE") == "1":
        return []
    import numpy
    from Cython.Build import cythonize

    module = Extension(
        "lossgrad._kernels",
        ["src/lossgrad/_kernels.pyx"],
        include_dirs=["csrc", numpy.get_include()],
        depends=[str(path) for path in Path("csrc").glob("*.[ch]")],
        extra_compile_args=["-O2", "-g0", "-Wno-unused-function"],
        define_macros=[
            ("CYTHON_WITHOUT_ASSERTIONS", "1"),
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
        ],
    )
    return cythonize([module], build_dir="build/cython")


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
