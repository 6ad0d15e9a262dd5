#!/usr/bin/env python3
"""Proof that the house test can fail: a clean little tree passes, and each planted violation is found by its rule."""
import contextlib
import io
import sys
import tempfile
from pathlib import Path

import house
import rules

CLEAN = {
    "include/kmtool/core/json.hpp": "#pragma once\n#include <nlohmann/json.hpp>\n",
    "include/kmtool/core/text.hpp": "#pragma once\n#include <string>\n",
    "include/kmtool/domain/role.hpp": '#pragma once\n#include "kmtool/core/text.hpp"\n',
    "include/kmtool/journal/journal.hpp": '#pragma once\n#include "kmtool/core/json.hpp"\n',
    "include/kmtool/op/run.hpp": '#pragma once\n#include "kmtool/journal/journal.hpp"\n',
    "include/kmtool/policy/policy.hpp": '#pragma once\n#include "kmtool/domain/role.hpp"\n',
    "include/kmtool/serve/serve.hpp": '#pragma once\n#include "kmtool/core/text.hpp"\n',
    "src/core/text.cpp": '#include "kmtool/core/text.hpp"\n#include <fmt/format.h>\n#include <sys/stat.h>\n',
    "src/core/secret.cpp": "#include <openssl/evp.h>\n",
    "src/journal/sqlite.hpp": "#pragma once\n#include <sqlite3.h>\n",
    "src/journal/journal.cpp": '#include "journal/sqlite.hpp"\n',
    "src/pkcs11/token.cpp": "#include <libp11.h>\n#include <openssl/err.h>\n#include <p11-kit/pkcs11.h>\n",
    "src/policy/rules.cpp": '#include "kmtool/policy/policy.hpp"\n',
    "cmd/main.cpp": '#include <CLI/CLI.hpp>\n#include <libsmartcols/libsmartcols.h>\n#include "kmtool/op/run.hpp"\n',
    "tests/journal/entry_test.cpp": '#include "journal/sqlite.hpp"\n',
    "README.md": "x\n",
}

LONG_FUNCTION = "int f(int x) {\n" + "  if (x == '{') { ++x; }  // }\n" * 70 + "  return x;\n}\n"

# What is planted (the culprit first), and what a complaint must contain; there may be no complaint about anything else.
PLANTED = [
    ({"src/core/up.cpp": '#include "kmtool/domain/role.hpp"\n'}, "room core may not include"),
    ({"src/domain/up.cpp": '  #  include "kmtool/journal/journal.hpp"\n'}, "room domain may not include"),
    ({"src/policy/side.cpp": '#include "kmtool/journal/journal.hpp"\n'}, "room policy may not include"),
    ({"src/op/up.cpp": '#include "kmtool/keys/g.hpp"\n', "include/kmtool/keys/g.hpp": ""}, "room op may not include"),
    ({"src/op/private.cpp": '#include "journal/sqlite.hpp"\n'}, "is private to room journal"),
    ({"src/op/dots.cpp": '#include "../journal/sqlite.hpp"\n'}, "is private to room journal"),
    ({"src/op/db.cpp": "#include <sqlite3.h>\n"}, "room op may not include <sqlite3.h>"),
    ({"src/home/module.cpp": "#include <libp11.h>\n"}, "room home may not include <libp11.h>"),
    ({"src/home/types.cpp": "#include <p11-kit/pkcs11.h>\n"}, "room home may not include <p11-kit/pkcs11.h>"),
    ({"src/bundle/digest.cpp": "#include <openssl/evp.h>\n"}, "room bundle may not include <openssl/evp.h>"),
    ({"src/pkcs11/digest.cpp": "#include <openssl/evp.h>\n"}, "room pkcs11 may not include <openssl/evp.h>"),
    ({"src/op/args.cpp": "#include <CLI/CLI.hpp>\n"}, "room op may not include <CLI/CLI.hpp>"),
    ({"src/op/table.cpp": "#include <libsmartcols/libsmartcols.h>\n"}, "room op may not include <libsmartcols"),
    ({"src/op/json.cpp": "#include <nlohmann/json.hpp>\n"}, "room op may not include <nlohmann/json.hpp>"),
    ({"cmd/x.cpp": "#include <openssl/evp.h>\n"}, "room cmd may not include <openssl/evp.h>"),
    ({"src/op/http.cpp": "#include <curl/curl.h>\n"}, "belongs to no library in the list"),
    ({"src/op/lost.cpp": '#include "kmtool/op/lost.hpp"\n'}, "does not exist"),
    ({"include/kmtool/core/hash.hpp": "#pragma once\n#include <openssl/evp.h>\n"}, "in a public header"),
    ({"src/policy/json.cpp": '#include "kmtool/core/json.hpp"\n'}, "room policy must not see kmtool/core/json.hpp"),
    ({"src/policy/far.cpp": '#include "kmtool/core/far.hpp"\n', "include/kmtool/core/far.hpp": '#include "kmtool/core/json.hpp"\n'},
     "(by way of include/kmtool/core/far.hpp)"),
    ({"src/serve/token.cpp": '#include "kmtool/op/run.hpp"\n'}, "room serve may not include"),
    ({"src/attic/x.cpp": "\n"}, "src/attic: no such room"),
    ({"src/stray.cpp": "\n"}, "src/stray.cpp: a file outside the rooms"),
    ({"include/kmtool/all.hpp": "\n"}, "a file outside the rooms"),
    ({"notes.txt": "x\n"}, "notes.txt: does not belong at the top"),
    ({"tests/misc/x.cpp": "\n"}, "tests/misc: mirrors no room"),
    ({"src/core/long.cpp": "//\n" * (rules.MAX_FILE_LINES + 1)}, "401 lines"),
    ({"tests/core/long_test.cpp": "//\n" * rules.MAX_FILE_LINES + "// no last line end"}, "401 lines"),
]


def write(root, tree):
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run(extra):
    """Exit code, complaints and output of a house test over the clean tree with something planted."""
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        write(Path(folder), CLEAN | extra)
        code = house.main(folder)
    return code, err.getvalue().splitlines(), out.getvalue()


def failures():
    code, complaints, _ = run({})
    if code != 0 or complaints:
        yield f"the clean tree is refused: {complaints}"
    code, complaints, _ = run({"src/core/full.cpp": "//\n" * rules.MAX_FILE_LINES})
    if code != 0:
        yield f"a file of exactly {rules.MAX_FILE_LINES} lines is refused: {complaints}"
    for tree, expected in PLANTED:
        code, complaints, _ = run(tree)
        about_it = all(line.startswith("house: " + next(iter(tree)).split("/x.cpp")[0]) for line in complaints)
        if code != 1 or not about_it or not any(expected in line for line in complaints):
            yield f"{list(tree)}: exit {code}, expected complaints about it with {expected!r}, got {complaints}"
    code, _, out = run({"src/core/f.cpp": "namespace k {\n" + LONG_FUNCTION + "}\n"})
    if code != 0 or "src/core/f.cpp:2: a function of 73 lines" not in out:
        yield f"a long function is not reported: exit {code}: {out}"
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), tempfile.TemporaryDirectory() as empty:
        if house.main(empty) != 1:
            yield "an empty tree passes"
    rules.ROOMS["core"] = ["op"]
    if run({})[0] != 1:
        yield "an edge upwards in the table itself is not found"


if __name__ == "__main__":
    found = list(failures())
    for text in found:
        print(f"selftest: {text}", file=sys.stderr)
    print(f"{len(PLANTED)} planted violations, {len(found)} not found as they should be")
    sys.exit(1 if found else 0)
