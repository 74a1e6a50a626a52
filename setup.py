"""Builds the extensions: each level of csrc/isa_*.c with its own flags, once for each dtype.

LOSSGRAD_PURE=1 leaves the extension out (the package then runs on its NumPy reference);
LOSSGRAD_LEVELS names the levels to build, such as avx2,avx512, or all; LOSSGRAD_CFLAGS adds flags,
such as -Werror or -fsanitize=address.
"""

import os
import platform
import shutil
import subprocess
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.extension import Extension

# What is compiled for, which need not be what compiles: macosx-11.0-arm64, emscripten_4_0_9_wasm32.
TARGET = sysconfig.get_platform()
WINDOWS = TARGET.startswith("win")
THREADS = [] if WINDOWS or "emscripten" in TARGET else ["-pthread"]
if TARGET.endswith("universal2"):  # a level's flags are for one of the two processors
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")
MACHINE = platform.machine() if TARGET.endswith("universal2") else TARGET.rpartition("-")[2]

AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512"]
# What no machine of today runs, the oracles and what there was before AVX2, is compiled in half
# the time.
LEAN = ["-O1", "-DLG_LEAN"]
FUSED = [*LEAN, "-DLG_ISA=portable_fma"]  # its bits are those of vectors with fused multiply-add
# Slowest first.
X86 = {
    "portable": ("isa_portable.c", LEAN),
    "portable_fma": ("isa_portable.c", [*FUSED, "-mfma"]),
    "sse2": ("isa_sse2.c", [*LEAN, "-Os"]),  # a fifth smaller, BCE 12 % slower
    "avx2": ("isa_avx2.c", AVX2),
    "avx512": ("isa_avx512.c", [*AVX512, "-mfma", "-mf16c"]),
}
ARM = {"portable_fma": ("isa_portable.c", FUSED), "neon": ("isa_neon.c", [])}
OTHER = {"portable": ("isa_portable.c", [])}
KNOWN = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}.get(MACHINE, OTHER)
# Beside vectors a portable level is nobody's fastest: it is an oracle, for those who ask for it.
USUAL = [name for name in KNOWN if not name.startswith("portable")] or list(KNOWN)
DTYPES = {"f32": 0, "f64": 1}
CROSSING = "lossgrad._kernels.crossing"
# The same for all levels.
COMMON = ("pool", "sum", "jobs", "row_jobs", "norms", "totals", "doors", "xla")

# -ffp-contract=off: only an explicit fma is fused, so that every level rounds alike.
C_FLAGS = [
    "-std=gnu11",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-strict-aliasing",
    "-Wall",
    "-Wextra",
    "-Wundef",
    "-Wno-unknown-pragmas",
]
if not WINDOWS:  # whose calling convention has them; nothing is thrown through
    C_FLAGS.append("-fno-asynchronous-unwind-tables")
CYTHON_FLAGS = ["-O1", "-g0", "-Wno-unused-function"]
# GCC for Windows aligns its stack by 16 bytes, and moves wider vectors as if by more (bug 54412).
UNALIGNED = "-Wa,-muse-unaligned-vector-move"

# What is asked of the compiler before it begins, each by a source that is accepted only then.
OLDEST = "GCC 9 or Clang 12"
NEEDED = {
    f"needs a C compiler, {OLDEST} or later (Debian: apt install gcc)": "int works;",
    f"needs a newer C compiler, {OLDEST} or later; CC names another": """
        #if defined __clang__ ? __clang_major__ < 12 : __GNUC__ < 9
        #error
        #endif
        """,
    "needs Python's headers (Debian: apt install python3-dev; Fedora: dnf install python3-devel)": (
        "#include <Python.h>"
    ),
}


def levels():
    """The levels to build, slowest first."""
    asked = os.environ.get("LOSSGRAD_LEVELS")
    named = {None: USUAL, "": USUAL, "all": list(KNOWN)}
    names = named[asked] if asked in named else [name.strip() for name in asked.split(",")]
    unknown = [name for name in names if name not in KNOWN]
    if unknown:
        raise SystemExit(f"LOSSGRAD_LEVELS: {unknown[0]!r} is none of {', '.join(KNOWN)}, all")
    return {name: KNOWN[name] for name in KNOWN if name in names}


def missing(need):
    """The end of a build, in one line."""
    return SystemExit(
        f"lossgrad {need}, or set LOSSGRAD_PURE=1 to install without compiled kernels"
    )


def accepts(command, source):
    """Whether the compiler takes the source."""
    try:
        return subprocess.run(command, input=source.encode(), capture_output=True).returncode == 0
    except OSError:
        return False


TRANSLATING = threading.Lock()  # Cython translates one source at a time


def translated(ext):
    """The C that Cython makes of the extension's source."""
    from Cython.Build import cythonize

    with TRANSLATING:
        return cythonize([ext], build_dir="build/cython")[0].sources[0]


class BuildExt(build_ext):
    """Compiles what all extensions are made of side by side, then links each."""

    def finalize_options(self):
        super().finalize_options()
        if WINDOWS and self.extensions:
            self.compiler = "mingw32"  # the way to call GCC and clang alike
            if not shutil.which(os.environ.get("CC", "gcc")):
                raise missing("needs MinGW-w64's GCC, or clang named by CC (MSVC has no vectors)")

    def check_compiler(self):
        """Ends with one line that says what is missing; else knows what to tell this compiler."""
        command = [*self.compiler.compiler_so, "-x", "c", "-fsyntax-only", "-"]
        command += [f"-I{folder}" for folder in self.compiler.include_dirs]
        for need, source in NEEDED.items():
            if not accepts(command, source):
                raise missing(need)
        is_clang = accepts(command, "#ifndef __clang__\n#error\n#endif")
        self.own_flags = [UNALIGNED] if WINDOWS and not is_clang else []

    def sources(self, ext):
        """(source, folder of its object, flags) of what is compiled, the slowest first."""
        extra = os.environ.get("LOSSGRAD_CFLAGS", "").split()
        if ext.name != CROSSING:
            yield ext.sources[0], self.build_temp, [*CYTHON_FLAGS, *extra]
            return
        chosen = levels()
        common = [*C_FLAGS, *self.own_flags, *extra]
        for level, (source, flags) in reversed(chosen.items()):
            for dtype, is_double in DTYPES.items():
                each = [*common, *flags, f"-DLG_DOUBLE={is_double}"]
                yield f"csrc/{source}", f"{self.build_temp}/{level}_{dtype}", each
        yield ext.sources[0], self.build_temp, [*CYTHON_FLAGS, *extra]
        for name in COMMON:
            yield f"csrc/{name}.c", self.build_temp, common
        table = "-DLG_LEVELS(X)=" + " ".join(f"X({level})" for level in chosen)
        yield "csrc/dispatch.c", self.build_temp, [*common, table]

    def compiled(self, ext, source, folder, flags):
        """The names of the objects."""
        include = [*self.compiler.include_dirs, *ext.include_dirs]
        if source.endswith(".pyx"):
            source = translated(ext)
        return self.compiler.compile(
            [source], folder, ext.define_macros, include, extra_postargs=flags
        )

    def build_extensions(self):
        self.check_compiler()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [
                (ext, pool.submit(self.compiled, ext, *job))
                for ext in self.extensions
                for job in self.sources(ext)
            ]
        for ext, job in jobs:
            ext.extra_objects += job.result()
        super().build_extensions()

    def build_extension(self, ext):
        ext.sources = []
        self.force = True  # what has been compiled is linked, whatever its source's age
        ext.extra_link_args += THREADS or (["-static-libgcc"] if WINDOWS else [])
        asked = os.environ.get("LOSSGRAD_CFLAGS", "").split()
        ext.extra_link_args += [flag for flag in asked if flag.startswith("-fsanitize")]
        super().build_extension(ext)


def extensions():
    if os.environ.get("LOSSGRAD_PURE") == "1":
        return []
    import numpy

    headers = "src/lossgrad/include"
    inside = Extension(
        CROSSING,
        ["src/lossgrad/_kernels/crossing.pyx"],
        include_dirs=["csrc", headers, numpy.get_include()],
        depends=[str(path) for path in Path("csrc").glob("*.[ch]")],
        define_macros=[
            ("CYTHON_WITHOUT_ASSERTIONS", "1"),
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
        ],
    )
    door = Extension("lossgrad.kernels", ["src/lossgrad/kernels.pyx"], include_dirs=[headers])
    return [inside, door]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
