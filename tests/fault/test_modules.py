"""Contracts of the fault modules themselves: undisturbed they change nothing, and they strike exactly where they are told to."""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402


class Forward(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.env.update(cls.token.env())
        cls.tool(harness.SOFTHSM, "--keygen", "--key-type", "AES:32", "--label", "one", "--id", "01")
        cls.tool(harness.SOFTHSM, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "two", "--id", "02")

    @classmethod
    def tool(cls, module, *args, **env):
        return harness.run_program(["pkcs11-tool", "--module", module, "--token-label", cls.token.label, "--login", "--pin", harness.PIN, *args], dict(cls.env, **env))

    def test_same_answers(self):
        for words in (("--login", "--pin", harness.PIN, "-O"), ("-M",), ("-T",), ("-L",), ("-I",)):
            with self.subTest(words=words):
                real, forwarded = (harness.run_program(["pkcs11-tool", "--module", module, *words], self.env) for module in (harness.SOFTHSM, harness.FORWARD))
                self.assertEqual(real.code, 0, real)
                self.assertTrue(real.out)
                self.assertEqual((forwarded.code, forwarded.out), (real.code, real.out))

    def test_signs_and_hashes_through_it(self):
        data = self.dir / "data"
        data.write_bytes(os.urandom(32))
        for module in (harness.SOFTHSM, harness.FORWARD):
            self.assertEqual(self.tool(module, "--sign", "-m", "ECDSA", "--id", "02", "-i", data, "-o", self.dir / "signature", "--signature-format", "openssl").code, 0)
            self.assertEqual(self.tool(harness.SOFTHSM, "--verify", "-m", "ECDSA", "--id", "02", "-i", data, "--signature-file", self.dir / "signature", "--signature-format", "openssl").code, 0)

    def count(self, *words, **env):
        counts = self.dir / "count"
        counts.unlink(missing_ok=True)
        result = self.tool(harness.FORWARD, *words, KMFORWARD_COUNT_FILE=str(counts), **env)
        return result, *harness.counter_of(counts)

    def test_counts_as_the_spy_does(self):
        log = self.dir / "spy"
        result, calls, last = self.count("-O", KMFORWARD_MODULE=harness.SPY, PKCS11SPY=harness.SOFTHSM, PKCS11SPY_OUTPUT=str(log))
        self.assertEqual((result.code, last), (0, "C_Finalize"), result)
        self.assertEqual(calls, sum(harness.spy_calls(log).values()))

    def test_kills_at_each_call(self):
        _, calls, _ = self.count("-O")
        for at in (1, 2, calls // 2, calls):
            for when in ("before", "after"):
                result, seen, _ = self.count("-O", KMFORWARD_KILL_AT=str(at), KMFORWARD_KILL_WHEN=when)
                self.assertEqual((result.code, seen), (-9, at))
        self.assertEqual(self.count("-O", KMFORWARD_KILL_AT=str(calls + 1))[0].code, 0)

    def test_fails_at_a_call(self):
        result, _, _ = self.count("-O", KMFORWARD_FAIL_AT="1", KMFORWARD_FAIL_NAME="C_Login", KMFORWARD_FAIL_RV="a4")
        self.assertNotEqual(result.code, 0)
        self.assertIn("CKR_PIN_LOCKED", result.err)


class KillFs(harness.Case):
    SCRIPT = "import os; f = os.open('f', os.O_CREAT | os.O_WRONLY); os.write(f, b'a'); os.write(f, b'b'); os.fsync(f); os.rename('f', 'g'); os.unlink('g')"

    def python(self, **env):
        for name in ("f", "g", "count"):
            (self.dir / name).unlink(missing_ok=True)
        merged = dict(self.env, LD_PRELOAD=harness.KILLFS, KILLFS_COUNT_FILE=str(self.dir / "count"), PYTHONDONTWRITEBYTECODE="1", **env)
        result = harness.run_program(["/usr/bin/env", "-u", "PYTHONHOME", sys.executable, "-I", "-c", self.SCRIPT], merged, cwd=self.dir)
        return result, *harness.counter_of(self.dir / "count")

    def test_counts(self):
        result, calls, last = self.python()
        self.assertEqual((result.code, calls, last), (0, 5, "unlink"), result)

    def test_kills(self):
        for at, when, content in ((1, "before", b""), (1, "after", b"a"), (2, "before", b"a"), (2, "after", b"ab"), (4, "before", b"ab")):
            result, calls, _ = self.python(KILLFS_KILL_AT=str(at), KILLFS_WHEN=when)
            self.assertEqual((result.code, calls, (self.dir / "f").read_bytes()), (-9, at, content))
        self.python(KILLFS_KILL_AT="4", KILLFS_WHEN="after")
        self.assertTrue((self.dir / "g").exists())

    def test_fails(self):
        result, _, _ = self.python(KILLFS_FAIL_AT="3", KILLFS_ERRNO="5")
        self.assertEqual(result.code, 1)
        self.assertIn("OSError: [Errno 5]", result.err)
        result, calls, _ = self.python(KILLFS_FAIL_FROM="1", KILLFS_ERRNO="28", KILLFS_NAMES="fsync,rename")
        self.assertIn("Errno 28", result.err)
        self.assertEqual((self.dir / "f").read_bytes(), b"ab")

    def test_sqlite_is_seen(self):
        merged = dict(self.env, LD_PRELOAD=harness.KILLFS, KILLFS_COUNT_FILE=str(self.dir / "sqlite-count"))
        subprocess.run(["sqlite3", "x.db", "CREATE TABLE t(a)"], env=merged, cwd=self.dir, check=True)
        self.assertGreater(harness.counter_of(self.dir / "sqlite-count")[0], 4)


if __name__ == "__main__":
    harness.main()
