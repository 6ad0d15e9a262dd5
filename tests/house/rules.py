"""The house rules as data. What is not listed here is not allowed; a new edge or a new library is a decision made here."""

# Which room may include headers of which other rooms, lowest first: a room may only name rooms that stand above it in this
# table, so that the table itself cannot hold a cycle. Arrows point down only:
#   cmd -> ceremony, rotate, audit, usage, apikey, serve -> keys, transfer, share -> op
#       -> home, journal, pkcs11, bundle, policy -> tlog, crypto -> domain -> core
GROUND = ["core", "domain"]
STORES = ["home", "journal", "pkcs11", "bundle", "policy"]
BELOW_OP = GROUND + ["crypto", "tlog"] + STORES
ROOMS = {
    "core": [],
    "domain": ["core"],
    "crypto": GROUND,
    "tlog": GROUND + ["crypto"],
    "pkcs11": GROUND + ["crypto"],
    "policy": GROUND,
    "bundle": GROUND + ["crypto"],
    "journal": GROUND + ["crypto", "tlog"],
    "home": GROUND + ["crypto", "pkcs11", "policy"],
    "op": BELOW_OP,
    "keys": BELOW_OP + ["op"],
    "transfer": BELOW_OP + ["op"],
    "share": BELOW_OP + ["op"],
    "rotate": BELOW_OP + ["op", "keys", "transfer", "share"],
    "ceremony": BELOW_OP + ["op", "keys", "transfer", "share"],
    "audit": BELOW_OP + ["op", "keys", "transfer", "share"],
    "usage": BELOW_OP + ["op", "keys", "transfer", "share"],
    "apikey": BELOW_OP + ["op", "keys", "transfer", "share"],
    # The gateway answers the network: it sees the decision, proofs and digests, and neither token nor database.
    "serve": ["core", "crypto", "tlog", "apikey"],
    "cmd": BELOW_OP + ["op", "keys", "transfer", "share"] + ["rotate", "ceremony", "audit", "usage", "apikey", "serve"],
}

# Libraries by the beginning of the include, and the rooms that may see them. ANY: all rooms.
ANY = None
LIBRARIES = {
    "fmt/": ANY,
    "nlohmann/": ["core"],  # everybody else goes through kmtool/core/json.hpp
    "openssl/err.h": ["core", "crypto", "pkcs11"],  # libp11 reports its errors through OpenSSL's queue
    "openssl/": ["core", "crypto"],
    "p11-kit/": ["pkcs11"],
    "libp11.h": ["pkcs11"],
    "sqlite3.h": ["journal"],
    "CLI/": ["cmd"],
    "libsmartcols": ["cmd"],
    "boost/": ["serve"],
    "idn2.h": ["apikey"],  # hosts of referrers
    "zlib.h": ["apikey"],  # CRC-32
    "libgfshare.h": ["share"],
    "qrencode.h": ["share"],
    "png.h": ["share"],
    "cmark.h": ["ceremony"],
}

# Headers of a library that must stay inside their room's sources: a public header that named one would hand it to everybody.
SOURCES_ONLY = ["openssl/", "p11-kit/", "libp11.h", "sqlite3.h", "CLI/", "libsmartcols", "boost/", "idn2.h", "zlib.h"]

# What a room must not reach by any chain of includes.
UNREACHABLE = {
    "policy": ["kmtool/core/json.hpp", "nlohmann/"],  # takes facts about keys, never JSON
    "tlog": ["kmtool/core/file.hpp"],  # pure
    "serve": ["kmtool/pkcs11/", "kmtool/journal/"],
}

# The operating system: headers without a folder, besides those of the C++ library (which have no .h) and sys/, linux/, netinet/.
SYSTEM = {
    "arpa/inet.h", "dirent.h", "dlfcn.h", "errno.h", "fcntl.h", "grp.h", "langinfo.h", "limits.h", "locale.h", "malloc.h",
    "netdb.h", "poll.h", "pthread.h", "pwd.h", "sched.h", "signal.h", "spawn.h", "stdio.h", "stdlib.h", "string.h",
    "syslog.h", "termios.h", "time.h", "unistd.h", "wchar.h",
}

# The top of the repository, and the folders of tests/ besides those that mirror a room.
TOP = {
    ".ci", ".clang-format", ".clang-tidy", ".gitignore", "CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md",
    "cmd", "completions", "include", "man", "quickstart", "src", "tests",
}
IGNORED_TOP = {".git", ".cache", "build", "compile_commands.json"}  # as .gitignore has them
TEST_FOLDERS = {"bench", "cli", "fault", "fuzz", "house", "token"}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60  # reported, not refused
