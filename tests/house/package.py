#!/usr/bin/env python3
"""The Debian package: made by CPack, held against lintian with everything it can say, and against the hardening that was promised.
Usage: package.py BUILD-FOLDER. Exit 77 (skipped) without lintian or dpkg-dev."""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import hardening

NEEDED = ["usr/bin/kmtool", "usr/share/bash-completion/completions/kmtool", "usr/share/zsh/vendor-completions/_kmtool",
          "usr/share/fish/vendor_completions.d/kmtool.fish", "usr/share/man/man1/kmtool.1.gz", "usr/share/doc/kmtool/copyright",
          "usr/share/doc/kmtool/changelog.Debian.gz"]
LIBRARIES = ["libc6", "libssl3", "libp11-3", "libsqlite3-0"]


def run(*args):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def make(build, folder):
    code, said = run("cpack", "-G", "DEB", "--config", str(build / "CPackConfig.cmake"), "-B", str(folder))
    packages = sorted(folder.glob("*.deb"))
    if code != 0 or len(packages) != 1:
        raise SystemExit(f"cpack made no package:\n{said}")
    return packages[0]


def findings(package, folder):
    # The speller takes bytes of machine code for words.
    code, said = run("lintian", "--allow-root", "--pedantic", "--display-info", "--display-experimental", "--suppress-tags",
                     "spelling-error-in-binary", "--fail-on", "error,warning,info,pedantic,experimental", str(package))
    lines = [line for line in said.splitlines() if re.match(r"[EWIPXOC]: ", line)]
    yield from lines
    if code != 0 and not lines:
        yield said
    subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
    for name in NEEDED:
        if not (folder / "root" / name).is_file():
            yield f"{name} is missing"
    depends = run("dpkg-deb", "-f", str(package), "Depends")[1]
    for library in LIBRARIES:
        if library not in depends:
            yield f"{library} is not among what it depends on: {depends}"
    yield from hardening.findings(folder / "root/usr/bin/kmtool")


def main():
    if not (shutil.which("lintian") and shutil.which("dpkg-shlibdeps")):
        print("skipped: no lintian or dpkg-dev")
        return 77
    with tempfile.TemporaryDirectory() as name:
        package = make(Path(sys.argv[1]), Path(name))
        lines = list(findings(package, Path(name)))
        print(*lines, sep="\n", end="\n" if lines else "")
        if not lines:
            print(f"{package.name}: {run('lintian', '--version')[1].strip()} and readelf have nothing to say")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
