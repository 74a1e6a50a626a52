"""Kernels call nothing of the C library whose results differ between its versions."""

import re
import shutil
import subprocess

import pytest
from conftest import kernels

NM = shutil.which("nm")
# What copies, allocates and prints: Cython needs it. Of math.h only what is exact is among them.
HARMLESS = """
free malloc realloc calloc memcmp memcpy memmove memset strlen strcmp strrchr vsnprintf snprintf
abort __stack_chk_fail __cxa_finalize __assert_fail __memcpy_chk __memset_chk __memmove_chk
__vsnprintf_chk __snprintf_chk frexp
"""
OF_THE_LINKER = r"_ITM_\w+|__gmon_start__"
OF_PYTHON = r"_?Py\w+"
OF_THREADS = r"pthread_\w+|sched_yield|sig\w+set|clock_gettime|__register_atfork|__tls_get_addr"


@pytest.mark.skipif(kernels is None or NM is None, reason="needs the compiled kernels and nm")
def test_no_function_of_the_mathematical_library():
    listed = subprocess.run(
        [NM, "-D", "--undefined-only", kernels.__file__], capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip(f"this nm reads no dynamic symbols: {listed.stderr.strip()}")
    names = {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines() if line}
    assert any(name.startswith("Py") for name in names)
    others = names - set(HARMLESS.split())
    known = f"{OF_THE_LINKER}|{OF_PYTHON}|{OF_THREADS}"
    assert not {name for name in others if not re.fullmatch(known, name)}
