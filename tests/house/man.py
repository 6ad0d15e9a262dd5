#!/usr/bin/env python3
"""Manual pages: clean for mandoc -Tlint, and each option of the program has its place in the page of its command.
Usage: man.py MAN-FOLDER KMTOOL. Exit 77 (skipped) without mandoc."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
NOT_FOUND = re.compile(r"referenced manual not found: Xr ([a-z-]+) (\d)")
DOCUMENTED = re.compile(r"Fl Fl ([a-z][a-z-]*)")


def lint(folder):
    """What mandoc has to say. It looks for cross-references among the installed pages; ours are looked for here."""
    pages = sorted(folder.glob("*.[157]"))
    if not pages:
        yield f"no pages in {folder}"
    done = subprocess.run(["mandoc", "-Tlint", *map(str, pages)], capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        reference = NOT_FOUND.search(line)
        if not (reference and folder.joinpath(".".join(reference.groups())).is_file()):
            yield line


def help_of(kmtool, *words):
    done = subprocess.run([kmtool, *words, "--help"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} --help ended with {done.returncode}: {done.stderr}")
    return done.stdout


def options(text):
    """Names of options that a help text defines: they begin a line, perhaps after a short one."""
    lines = (line.strip() for line in text.splitlines())
    return {name for line in lines if line.startswith("-") for name in OPTION.findall(line.split("  ")[0])}


def commands(text):
    """Commands under a heading of the help: an indented word and two spaces."""
    return {m.group(1) for m in re.finditer(r"^  ([a-z][a-z-]*)(?:  |$)", text, re.M)}


def command_options(kmtool, path):
    text = help_of(kmtool, *path)
    found = options(text)
    for sub in commands(text):
        found |= command_options(kmtool, (*path, sub))
    return found


def missing(folder, kmtool):
    top = help_of(kmtool)
    main = (folder / "kmtool.1").read_text(encoding="utf-8")
    common = options(top)
    for name in sorted(common - set(DOCUMENTED.findall(main))):
        yield f"kmtool.1: option --{name} is not described"
    found = commands(top)
    if len(found) < 10:
        yield f"kmtool --help: too few commands were recognised: {sorted(found)}"
    for command in sorted(found):
        page = folder / f"kmtool-{command}.1"
        if not page.is_file() or f"Xr kmtool-{command} 1" not in main:
            yield f"command {command}: no page, or kmtool.1 does not name it"
            continue
        # A command of a family may have a page of its own, which the family's page must name.
        text = page.read_text(encoding="utf-8")
        own = [other for other in sorted(folder.glob(f"kmtool-{command}-*.1")) if other.stem.removeprefix("kmtool-") not in found]
        yield from (f"{page.name}: does not name {other.stem}(1)" for other in own if f"Xr {other.stem} 1" not in text)
        described = set(DOCUMENTED.findall(text + "".join(other.read_text(encoding="utf-8") for other in own)))
        real = command_options(kmtool, (command,))
        for name in sorted(real - described - common):
            yield f"{page.name}: option --{name} is not described"
        for name in sorted(described - real - common):
            yield f"{page.name}: there is no option --{name}"


if __name__ == "__main__":
    if shutil.which("mandoc") is None:
        print("mandoc is not installed")
        sys.exit(77)
    problems = [*lint(Path(sys.argv[1])), *missing(Path(sys.argv[1]), sys.argv[2])]
    print("\n".join(problems) or "manual pages are clean and complete")
    sys.exit(1 if problems else 0)
