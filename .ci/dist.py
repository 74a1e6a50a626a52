"""Whether what is to be published is what it should be: python .ci/dist.py FOLDER [--release TAG].

Every wheel is small and has its kernels, its types and its header; the sdist has what wheels are
made of and tested by. With --release all versions are the tag's, the change log has its section
with a date, and the project has an address.
"""

import argparse
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 4 * 2**20  # bytes of a wheel
IN_WHEELS = ("_kernels/crossing.*", "kernels.*", "kernels.pxd", "include/lossgrad.h", "py.typed")
IN_SDIST = ("setup.py", "csrc/vec.h", "tests/conftest.py", "src/lossgrad/_kernels/crossing.pyx")


def of_wheel(path):
    """What is wrong with a wheel."""
    if (size := path.stat().st_size) > LARGEST:
        yield f"is of {size / 2**20:.1f} MiB, more than {LARGEST / 2**20:.0f}"
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if name.startswith("lossgrad/")}
    for wanted in IN_WHEELS:
        pattern = re.escape(f"lossgrad/{wanted}").replace(r"\*", r"[\w.-]+\.(so|pyd)")
        if not any(re.fullmatch(pattern, name) for name in names):
            yield f"lacks {wanted}"


def of_sdist(path):
    """What is wrong with an sdist."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    yield from (f"lacks {wanted}" for wanted in IN_SDIST if wanted not in names)


def of_release(tag):
    """What is not ready for a release under the tag."""
    version = tag.removeprefix("v")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = {
        "pyproject.toml": project["version"],
        "src/lossgrad/__init__.py": found(r'^__version__ = "(.*)"$', "src/lossgrad/__init__.py"),
        "CITATION.cff": found(r"^version: (.*)$", "CITATION.cff"),
        "CHANGELOG.md": found(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", "CHANGELOG.md"),
    }
    for path, one in stated.items():
        if one != version:
            yield f"{path} has version {one}, not {version}"
    if "urls" not in project:
        yield "pyproject.toml has no [project.urls]: the repository's and the site's addresses"


def found(pattern, path):
    """The first match in a file of the repository, or None."""
    match = re.search(pattern, (ROOT / path).read_text(), re.M)
    return match and match[1]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", metavar="TAG")
    options = parser.parse_args(arguments)
    kinds = {"*.whl": of_wheel, "*.tar.gz": of_sdist}
    files = [(path, of) for kind, of in kinds.items() for path in options.folder.glob(kind)]
    wrong = [f"{path.name} {what}" for path, of in files for what in of(path)]
    if not files:
        wrong.append(f"{options.folder} has no wheel and no sdist")
    if options.release:
        wrong += of_release(options.release)
    for path, _ in files:
        print(f"{path.stat().st_size / 2**20:6.2f} MiB  {path.name}")
    print("\n".join(wrong) or "good")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
