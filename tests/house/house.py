#!/usr/bin/env python3
"""Holds the tree to its house rules (rules.py). Usage: house.py ROOT. Exit 1 when a rule is broken."""
import re
import sys
from pathlib import Path

import rules
from functions import long_functions

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">\n]+)[">]', re.M)
SOURCE_SUFFIXES = {".cpp", ".hpp", ".c", ".h", ".cc"}
COUNTED_SUFFIXES = SOURCE_SUFFIXES | {".py", ".cmake", ".sh", ".txt"}


def check_table():
    """The table of rooms is ordered: an edge upwards or to itself is a mistake in the rules."""
    known = []
    for room, below in rules.ROOMS.items():
        for other in below:
            if other not in known:
                yield f"rules.py: room {room} may not stand on {other}, which is not below it"
        known.append(room)


def files(root, folder, suffixes):
    base = root / folder
    return sorted(p for p in base.rglob("*") if p.is_file() and (p.suffix in suffixes or not p.suffix)) if base.is_dir() else []


def room_of(root, path):
    """The room a file lies in; None for what lies in no room."""
    parts = path.relative_to(root).parts
    if parts[0] == "cmd":
        return "cmd"
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ("include", "kmtool") and len(parts) > 3:
        return parts[2]
    return None


class House:
    def __init__(self, root):
        self.root = root
        self.includes = {}  # file, relative -> [(line, bracket, name)]

    def name(self, path):
        return str(path.relative_to(self.root))

    def read(self):
        for folder in ("src", "include/kmtool", "cmd"):
            for path in files(self.root, folder, SOURCE_SUFFIXES):
                if path.suffix in SOURCE_SUFFIXES:
                    text = path.read_text(encoding="utf-8")
                    found = [(text.count("\n", 0, m.start()) + 1, m.group(1), m.group(2)) for m in INCLUDE.finditer(text)]
                    self.includes[self.name(path)] = found

    def target(self, file, name):
        """The file of this project that an include means, or None."""
        beside = (self.root / file).parent / name
        for path in (beside, self.root / "include" / name, self.root / "src" / name):
            if path.is_file():
                return self.name(path.resolve()) if path.resolve().is_relative_to(self.root) else None
        return None

    def check_rooms(self):
        for folder in ("src", "include/kmtool"):
            base = self.root / folder
            for entry in sorted(base.iterdir()) if base.is_dir() else []:
                if entry.is_dir() and (entry.name not in rules.ROOMS or entry.name == "cmd"):
                    yield f"{folder}/{entry.name}: no such room"
                if entry.is_file():
                    yield f"{folder}/{entry.name}: a file outside the rooms"

    def check_includes(self):
        for file, includes in self.includes.items():
            room = room_of(self.root, self.root / file)
            if room not in rules.ROOMS:
                continue  # check_rooms says so
            for line, bracket, name in includes:
                target = self.target(file, name)
                problem = self.project_edge(room, name, target) if target else self.library_edge(file, room, bracket, name)
                if problem:
                    yield f"{file}:{line}: {problem}"

    def project_edge(self, room, name, target):
        other = room_of(self.root, self.root / target)
        if other is None:
            return f'"{name}" lies in no room'
        if other != room and other not in rules.ROOMS[room]:
            return f'room {room} may not include "{name}" of room {other}'
        if other != room and not target.startswith("include/"):
            return f'"{name}" is private to room {other}: include a header of include/kmtool/{other}/'
        return None

    @staticmethod
    def library_edge(file, room, bracket, name):
        if bracket == '"':
            return f'"{name}" does not exist'
        for prefix, rooms in rules.LIBRARIES.items():
            if name.startswith(prefix):
                if rooms is not rules.ANY and room not in rooms:
                    return f"room {room} may not include <{name}>: only {', '.join(rooms)} may"
                if file.startswith("include/") and prefix in rules.SOURCES_ONLY:
                    return f"<{name}> in a public header: everybody who includes it would see it"
                return None
        if "." not in name or name in rules.SYSTEM or name.startswith(("sys/", "linux/", "netinet/")):
            return None
        return f"<{name}> belongs to no library in the list"

    def reach(self, file):
        """Every include name reached from a file, with the file that names it."""
        seen, todo = set(), [file]
        while todo:
            current = todo.pop()
            for _, _, name in self.includes.get(current, []):
                yield name, current
                target = self.target(current, name)
                if target and target not in seen:
                    seen.add(target)
                    todo.append(target)

    def check_unreachable(self):
        for file in self.includes:
            room = room_of(self.root, self.root / file)
            for banned in rules.UNREACHABLE.get(room, []):
                for name, via in self.reach(file):
                    if name.startswith(banned):
                        yield f"{file}: room {room} must not see {name}" + (f" (by way of {via})" if via != file else "")
                        break

    def check_top(self):
        for entry in sorted(self.root.iterdir()):
            if entry.name not in rules.TOP | rules.IGNORED_TOP and entry.suffix != ".deb":
                yield f"{entry.name}: does not belong at the top of the repository"
        tests = self.root / "tests"
        allowed = set(rules.ROOMS) | rules.TEST_FOLDERS
        for entry in sorted(tests.iterdir()) if tests.is_dir() else []:
            if entry.is_dir() and entry.name != "__pycache__" and entry.name not in allowed:
                yield f"tests/{entry.name}: mirrors no room and is no test folder of the list"

    def counted(self):
        for folder in ("src", "include", "cmd", "tests", "completions"):
            yield from files(self.root, folder, COUNTED_SUFFIXES)
        yield from (p for p in (self.root / "quickstart", self.root / "CMakeLists.txt") if p.is_file())

    def check_lengths(self):
        for path in self.counted():
            data = path.read_bytes()
            if b"\0" in data:
                continue
            lines = data.count(b"\n") + (0 if data.endswith(b"\n") or not data else 1)
            if lines > rules.MAX_FILE_LINES:
                yield f"{self.name(path)}: {lines} lines, the limit is {rules.MAX_FILE_LINES}"

    def long_functions(self):
        for path in self.counted():
            if path.suffix in SOURCE_SUFFIXES:
                for first, lines in long_functions(path.read_text(encoding="utf-8"), rules.MAX_FUNCTION_LINES):
                    yield f"{self.name(path)}:{first}: a function of {lines} lines"

    def violations(self):
        self.read()
        yield from check_table()
        for check in (self.check_rooms, self.check_includes, self.check_unreachable, self.check_top, self.check_lengths):
            yield from check()


def main(root):
    house = House(Path(root).resolve())
    found = list(house.violations())
    if not house.includes:
        found.append("no source file was found: nothing was checked")
    for text in house.long_functions():
        print(f"note: {text}")
    for text in found:
        print(f"house: {text}", file=sys.stderr)
    edges = sum(len(includes) for includes in house.includes.values())
    print(f"{len(house.includes)} files, {edges} includes, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else sys.exit("usage: house.py ROOT")))
