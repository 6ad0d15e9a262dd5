"""Storing a third party's key, and issuing one that is kept, killed at every point as crash_loop.py does it. Besides what that asks for:
what is listed as kept opens to what was stored, what was kept before still does, and an issued key and its kept copy are there
together or not at all.

    apikey_loop.py kill | fail        KM_CRASH_STRIDE, KM_CRASH_ONLY, KM_CRASH_DIR as in crash_loop.py
"""

import sys

import crash_loop
from crash_loop import Place, require
import harness

FIRST, SECOND = "sk_live_first_0123456789", "sk_live_second_0123456789"
COMMANDS = {
    "store": ["apikey", "store", "second", "--app", "shop"],
    "store-first": ["apikey", "store", "second", "--app", "shop"],  # makes the token key too
    "store-over": ["apikey", "store", "first", "--app", "shop", "--force"],
    "keep": ["apikey", "create", "--app", "shop", "--ip", "10.0.0.1", "--keep"],
}
bare = dict(prepare=crash_loop.prepare, check=crash_loop.check, run=Place.run)


def run(self, *words, **env):
    """With a key on standard input, for the commands that read one."""
    words = [str(w).format(out=self.out, dir=self.dir, fingerprint=self.fingerprint()) for w in words]
    given = FIRST if "first" in words and "--force" not in words else SECOND
    return harness.run_program([harness.BINARY, *words], dict(self.env, **env), stdin=given, timeout=60)


def prepare(folder):
    place = bare["prepare"](folder)
    if "store-first" not in sys.argv[2:]:
        place.must("apikey", "store", "first", "--app", "shop")
    return place


def value_of(place, name):
    show = [sys.executable, "-c", "import os; print(os.environ['V'], end='')"]
    return place.must("apikey", "exec", "--app", "shop", "--set", f"V={name}", "--", *show).out


def check(place, base, number):
    bare["check"](place, base, number)
    kept = {each["name"] for each in place.must("apikey", "store", "--list", "--json").json()["stored"]}
    issued = place.must("apikey", "list", "--json").json()["keys"]
    require(("@default" in kept) == (len(issued) == 1), f"kept: {kept}, issued: {issued}")
    require("first" in kept or "store-first" in sys.argv[2:], f"kept: {kept}")
    for name in kept - {"@default"}:
        wanted = {SECOND} if name == "second" else {FIRST, SECOND}
        require(value_of(place, name) in wanted, f"{name} opens to something else")
    if "@default" in kept:
        key = value_of(place, "@default")
        result = harness.run_program([harness.BINARY, "apikey", "check", "--key-stdin", "--ip", "10.0.0.1"], place.env, stdin=key)
        require(result.code == 0, f"the kept key: {result}")


if __name__ == "__main__":
    crash_loop.prepare, crash_loop.check, Place.run = prepare, check, run
    failed = 0
    for names in (["store", "store-over", "keep"], ["store-first"]):  # in a home with a token key for it, and in one without
        sys.argv[2:] = names
        crash_loop.COMMANDS.clear()
        crash_loop.COMMANDS.update({name: COMMANDS[name] for name in names})
        failed |= crash_loop.main()
    sys.exit(failed)
