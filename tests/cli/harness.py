"""Drives the real binary. Standard library only.

Environment (set by CMake): KMTOOL_BINARY, KMTOOL_SOURCE, KMTOOL_LISTER (tests/fault/lister.cpp), KMTOOL_FORWARD
(tests/fault/forward.cpp), KMTOOL_KILLFS (tests/fault/killfs.c).
"""

import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

BINARY = os.environ.get("KMTOOL_BINARY", "kmtool")
LISTER = os.environ.get("KMTOOL_LISTER", "")
FORWARD = os.environ.get("KMTOOL_FORWARD", "")
KILLFS = os.environ.get("KMTOOL_KILLFS", "")
SANITIZED = os.environ.get("KMTOOL_SANITIZED", "")  # the sanitizers that the program was built with: memory is then theirs, too
PIN = "pin-of-a-test-4711"
SO_PIN = "so-pin-of-a-test-42"
TOKEN_LABEL = "km-test"


def first_file(*candidates):
    for candidate in candidates:
        found = sorted(pathlib.Path("/").glob(candidate.lstrip("/")))
        if found:
            return str(found[0])
    return ""


SOFTHSM = os.environ.get("KMTOOL_SOFTHSM2") or first_file("/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib/softhsm/libsofthsm2.so")
SPY = first_file("/usr/lib/*/pkcs11-spy.so", "/usr/lib/*/pkcs11/pkcs11-spy.so")
NSS = first_file("/usr/lib/*/libsoftokn3.so", "/usr/lib/*/nss/libsoftokn3.so")


class Result:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def json(self):
        return json.loads(self.out)

    def error(self):
        """The error object of --json."""
        return json.loads(self.err.strip().splitlines()[-1])["error"]

    def __str__(self):
        return f"{' '.join(map(str, self.args))}\nexit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def base_env(home_of_user):
    """A clean environment: nothing of the caller's kmtool or token leaks in."""
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home_of_user), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "KMTOOL_SOFTHSM2", "TMPDIR"):
        if name in os.environ:
            env[name] = os.environ[name]
    return env


def run_program(args, env, stdin=b"", timeout=300, cwd=None, preexec=None, pass_fds=()):
    if isinstance(stdin, str):
        stdin = stdin.encode()
    done = subprocess.run([str(a) for a in args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, timeout=timeout,
                          cwd=cwd, preexec_fn=preexec, pass_fds=pass_fds, check=False)
    return Result(args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


class SoftToken:
    """A SoftHSM token in its own folder, with the PIN in a private file."""

    def __init__(self, folder, label=TOKEN_LABEL):
        self.folder = pathlib.Path(folder)
        self.label = label
        (self.folder / "tokens").mkdir(parents=True)
        self.conf = self.folder / "softhsm2.conf"
        self.conf.write_text(f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.pin_file = self.folder / "pin"
        self.pin_file.write_text(PIN + "\n")
        self.pin_file.chmod(0o600)
        env = dict(os.environ, SOFTHSM2_CONF=str(self.conf))
        subprocess.run(["softhsm2-util", "--module", SOFTHSM, "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN],
                       env=env, check=True, stdout=subprocess.DEVNULL)

    def env(self):
        return {"SOFTHSM2_CONF": str(self.conf), "KMFORWARD_MODULE": SOFTHSM}


class Case(unittest.TestCase):
    """A test class with a fresh folder of its own."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="kmtool-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, ignore_errors=True)
        cls.env = base_env(cls.dir)

    @classmethod
    def kmtool(cls, *args, env=None, stdin=b"", home=None, **more):
        words = [BINARY, *args]
        merged = dict(cls.env, **(env or {}))
        if home is not None:
            merged["KMTOOL_HOME"] = str(home)
        return run_program(words, merged, stdin, **more)

    @classmethod
    def ok(cls, *args, **more):
        """The result of a command that must end with 0."""
        result = cls.kmtool(*args, **more)
        if result.code != 0:
            raise AssertionError(f"should have succeeded: {result}")
        return result

    @classmethod
    def ok_json(cls, *args, **more):
        return cls.ok(*args, "--json", **more).json()

    @classmethod
    def planned(cls, *args, **more):
        """The document of a dry run, without what marks it as one."""
        plan = cls.ok_json(*args, "--dry-run", **more)
        if plan.pop("dry_run", None) is not True:
            raise AssertionError(f"the document of a dry run is not marked: {plan}")
        return plan

    def refused(self, code, *args, says=(), **more):
        """Exits with `code`, standard output empty, `error:` and `hint:` lines in the house style; returns the result."""
        result = self.kmtool(*args, **more)
        self.assertEqual(result.code, code, result)
        if code >= 64:
            self.assertEqual(result.out, "", result)
        self.assert_error_style(result)
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text.lower(), result.err.lower(), result)
        return result

    def assert_error_style(self, result):
        errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
        hints = [line for line in result.err.splitlines() if line.startswith("hint: ")]
        self.assertEqual(len(errors), 1, result)
        self.assertLessEqual(len(hints), 1, result)
        for line in errors + hints:
            text = line.split(": ", 1)[1]
            self.assertFalse(text.endswith("."), result)
            first = text.split()[0]
            self.assertTrue(not re.match(r"[A-Z][a-z]", first), f"starts with a capital: {result}")

    # -- homes ---------------------------------------------------------------------------------------------------------

    @classmethod
    def embedded_home(cls, name="home"):
        home = cls.dir / name
        cls.ok("init", "--embedded", "--home", home)
        return home

    @classmethod
    def module_home(cls, token, name="home", module=None, *extra):
        """A home on `token`; the default module is the forwarding one, so that faults and pkcs11-spy can be put in."""
        home = cls.dir / name
        cls.env = dict(cls.env, **token.env())
        cls.ok("init", "--module", module or FORWARD, "--token-label", token.label, "--pin-source", f"file:{token.pin_file}", "--home", home, *extra)
        cls.env["KMTOOL_PIN_SOURCE"] = f"file:{token.pin_file}"
        return home

    @classmethod
    def on_own_token(cls, own_module=False):
        """A fresh token and a home on it, the one that the class's tests mean; `own_module`: its module is a file that may be moved away."""
        cls.token = SoftToken(cls.dir / "hsm")
        cls.module = cls.dir / "module.so" if own_module else FORWARD
        if own_module:
            shutil.copy(FORWARD, cls.module)
        cls.home = cls.module_home(cls.token, module=cls.module)
        cls.env["KMTOOL_HOME"] = str(cls.home)

    # -- looking from outside ------------------------------------------------------------------------------------------

    @classmethod
    def token_access(cls, home):
        """Module, label, PIN file and environment to look at the token of a home from outside."""
        config = json.loads((pathlib.Path(home) / "config.json").read_text())
        env = dict(cls.env)
        if config["embedded"]:
            env["SOFTHSM2_CONF"] = str(pathlib.Path(home) / "softhsm2.conf")
            pin = pathlib.Path(home) / "token.pin"
            module = config["module"]
        else:
            pin = pathlib.Path(env["KMTOOL_PIN_SOURCE"].split(":", 1)[1])
            module = SOFTHSM if config["module"] == FORWARD else config["module"]
        return module, config["module_args"], config["token"]["label"], pin, env

    @classmethod
    def look(cls, home, *verb):
        module, args, label, pin, env = cls.token_access(home)
        result = run_program([LISTER, module, args, label, pin, *verb], env)
        if result.code != 0:
            raise AssertionError(str(result))
        return result.out.splitlines()

    @classmethod
    def objects(cls, home):
        return [json.loads(line) for line in cls.look(home, "list")]

    @classmethod
    def pkcs11_tool(cls, home, *args, cwd=None):
        module, _, label, pin, env = cls.token_access(home)
        words = ["pkcs11-tool", "--module", module, "--token-label", label, "--login", "--pin", pathlib.Path(pin).read_text().strip(), *args]
        return run_program(words, env, cwd=cwd)

    @classmethod
    def entries(cls, home):
        """The journal's entries, newest last, read as a stranger with SQLite would."""
        database = sqlite3.connect(f"file:{home}/journal.db?mode=ro", uri=True)
        try:
            rows = database.execute("SELECT data FROM entries ORDER BY seq").fetchall()
        finally:
            database.close()
        return [json.loads(row[0]) for row in rows]

    @classmethod
    def snapshot(cls, home):
        """What must not change when nothing is done: catalog and keys on the token (the anchor's label moves with the journal)."""
        anchor = json.loads((pathlib.Path(home) / "config.json").read_text())["home_id"].replace("-", "")
        keys = cls.ok_json("list", home=home)
        objects = sorted(json.dumps(o, sort_keys=True) for o in cls.objects(home) if not o["id"].startswith(anchor))
        return keys, objects


class Rotation(Case):
    """A SoftHSM home with the KEK `root`."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token)
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "root", "--role", "kek")

    def key(self, label):
        return {k["label"]: k for k in self.ok_json("list")["keys"]}[label]

    def states(self, name):
        return {k["version"]: k["state"] for k in self.ok_json("list")["keys"] if k["name"] == name}


class EmbeddedCase(Case):
    """An embedded home with the KEK `root`, which may be exported."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "root", "--role", "kek", "--exportable")


def spy_calls(log):
    """Number of calls by name in a log of pkcs11-spy."""
    calls = {}
    for line in pathlib.Path(log).read_text(errors="replace").splitlines():
        match = re.match(r"^\d+: (C_\w+)", line)
        if match:
            calls[match.group(1)] = calls.get(match.group(1), 0) + 1
    return calls


def spy_env(log):
    """kmtool → forwarding module → pkcs11-spy → SoftHSM."""
    return {"KMFORWARD_MODULE": SPY, "PKCS11SPY": SOFTHSM, "PKCS11SPY_OUTPUT": str(log)}


def counter_of(path):
    """Calls and last call's name from a count file of the fault modules."""
    data = pathlib.Path(path).read_bytes()
    return int.from_bytes(data[:8], "little"), data[8:].split(b"\0")[0].decode()


def main():
    unittest.main(verbosity=2)
