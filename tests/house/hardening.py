#!/usr/bin/env python3
"""The program's hardening, looked for in the file that was linked and in how each of its sources was compiled.
Usage: hardening.py KMTOOL [COMPILE-COMMANDS.json]. Before that, a small program without any of it must be found wanting in all."""
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = {"stack protector": "-fstack-protector-strong", "stack clash protection": "-fstack-clash-protection", "FORTIFY": "-D_FORTIFY_SOURCE=2"}
BARE = ["-O1", "-no-pie", "-fno-pie", "-fno-stack-protector", "-fno-stack-clash-protection", "-U_FORTIFY_SOURCE", "-Wl,-z,norelro", "-Wl,-z,lazy",
        "-Wl,-z,execstack", "-Wl,-rpath,/tmp"]
LARGE_FRAME = "#include <string.h>\nint main(int n, char** v) { char b[70000]; strcpy(b, v[0]); return b[n]; }\n"
PROBE = re.compile(r"\bor[lqb]?\s+\$0x0,(0x[0-9a-f]+)?\(%[er]sp")


def tool(*args):
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def findings(binary):
    """What the file lacks."""
    headers, dynamic, symbols = (tool("readelf", "-W", option, str(binary)) for option in ("-hl", "-d", "--dyn-syms"))
    if "Type:                              DYN" not in headers or not re.search(r"FLAGS_1.*\bPIE\b", dynamic):
        yield "PIE: it is loaded at a fixed address"
    if "GNU_RELRO" not in headers:
        yield "RELRO: relocations stay writable"
    if not re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic):
        yield "RELRO: symbols are bound late, the table of them stays writable"
    stack = re.search(r"GNU_STACK\s.*?\s(R[W ][E ])\s", headers)
    if stack is None or "E" in stack[1]:
        yield "stack: it can be executed"
    if re.search(r"LOAD\s.*\sRWE\s", headers):
        yield "memory: a segment is writable and can be executed"
    if re.search(r"\((RPATH|RUNPATH|TEXTREL)\)", dynamic):
        yield "RPATH or TEXTREL: libraries from elsewhere, or code that is written to"
    if "__stack_chk_fail" not in symbols:
        yield "stack protector: no function checks its frame"
    if not re.search(r"\b__\w+_chk\b(?<!__stack_chk)", symbols):
        yield "FORTIFY: no checked function of the C library is called"
    if "x86-64" in headers.lower() and not PROBE.search(tool("objdump", "-d", "--no-show-raw-insn", str(binary))):
        yield "stack clash protection: no large frame is probed"


def uncovered(database):
    """Sources of the program that were compiled without one of the flags."""
    ours = re.compile(r"/(src|cmd)/[^/]*(/[^/]*)?\.cpp$")
    entries = [entry for entry in json.loads(Path(database).read_text(encoding="utf-8")) if ours.search(entry["file"])]
    if len(entries) < 100:
        yield f"{database} lists only {len(entries)} sources"
    for entry in entries:
        words = shlex.split(entry["command"])
        for what, flag in FLAGS.items():
            if flag not in words:
                yield f"{entry['file']}: compiled without {what}"
        if not {"-fPIE", "-fPIC"} & set(words):
            yield f"{entry['file']}: compiled for a fixed address"


def prove():
    """A program without any of it is told from one that has it."""
    with tempfile.TemporaryDirectory() as folder:
        source, bare = Path(folder) / "bare.c", Path(folder) / "bare"
        source.write_text(LARGE_FRAME, encoding="utf-8")
        subprocess.run(["cc", *BARE, str(source), "-o", str(bare)], check=True, stderr=subprocess.DEVNULL)
        found = {line.split(":")[0] for line in findings(bare)}
    return {"PIE", "RELRO", "stack", "RPATH or TEXTREL", "stack protector", "FORTIFY", "stack clash protection"} - found


def main():
    unseen = prove()
    if unseen:
        raise SystemExit(f"this test would not see that these are missing: {', '.join(sorted(unseen))}")
    lines = list(findings(sys.argv[1]))
    for database in sys.argv[2:]:
        lines += uncovered(database)
    print(*lines, sep="\n", end="\n" if lines else "")
    if not lines:
        print("PIE, full RELRO, no executable stack, stack protector, stack clash protection, FORTIFY: all there")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
