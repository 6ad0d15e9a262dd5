"""The Nagios plugin: one line, its exit codes, no token."""

import re
import sqlite3
import time
import unittest

import harness

FAKETIME = harness.first_file("/usr/lib/*/faketime/libfaketime.so.1")


class Monitor(harness.Case):
    def setUp(self):
        self.setUpClass()
        self.home = self.embedded_home()
        self.env = dict(self.env, KMTOOL_HOME=str(self.home))
        self.run_ok("gen", "root", "--role", "kek")
        self.run_ok("gen", "cargo", "--role", "data", "--exportable")

    def run_ok(self, *words):
        return self.ok(*words, env=self.env)

    def check(self, status, word, *words):
        result = self.kmtool("monitor", *words, env=self.env)
        self.assertEqual(result.code, status, result)
        self.assertEqual(result.err, "", result)
        self.assertRegex(result.out.splitlines()[0], rf"^KMTOOL {word} - [^|]+( \| (\w+=\d+ ?)+)?$")
        return result

    def test_states(self):
        result = self.check(0, "OK")
        self.assertEqual(len(result.out.splitlines()), 1)
        self.assertIn("keys=2 expiring=0 expired=0", result.out)
        self.check(1, "WARNING", "--warning", "1y")
        self.check(2, "CRITICAL", "--critical", "1y")
        self.assertIn("cargo@1 until", self.check(1, "WARNING", "--warning", "1y", "-v").out)
        self.run_ok("gen", "brief", "--role", "mac", "--cryptoperiod", "1s")
        time.sleep(2)
        self.assertIn("expired=1", self.check(2, "CRITICAL").out)

    def test_bundles(self):
        (self.dir / "a|b=9").mkdir()
        out = self.dir / "a|b=9" / "b.kmb"
        self.run_ok("wrap", "cargo", "--kek", "root", "--out", out)
        self.check(0, "OK")
        time.sleep(2)
        self.check(1, "WARNING", "--unverified", "1s")
        self.check(0, "OK", "--unverified", "0")
        out.unlink()
        self.assertIn("missing=1", self.check(1, "WARNING").out)
        self.assertEqual(self.check(1, "WARNING", "-v").out.count("|"), 1)  # what follows it is performance data

    def test_compromised(self):
        out = self.dir / "under.kmb"
        self.run_ok("wrap", "cargo", "--kek", "root", "--out", out)
        self.run_ok("unwrap", out, "--as", "copy", "--activate")
        self.run_ok("state", "root", "compromise", "--reason", "seen")
        lines = self.check(2, "CRITICAL", "-v").out
        self.assertIn("1 compromised key has no successor", lines)
        self.assertIn("root@1 is compromised: kmtool rotate root", lines)
        self.assertIn(f"{out} is under root@1", lines)
        self.run_ok("rotate", "root")
        self.assertIn("1 bundle is under a compromised kek", self.check(2, "CRITICAL").out)
        self.run_ok("rotate", "root", "--rewrap-all")
        moved = self.check(2, "CRITICAL").out  # the bundle is under another kek, the keys in it are as known as before
        self.assertIn("2 keys were under a compromised kek: kmtool rotate cargo copy |", moved)
        self.assertNotIn("bundle is under", moved)
        self.run_ok("state", "copy", "compromise", "--reason", "seen")
        self.assertIn("2 compromised keys have no successor", self.check(2, "CRITICAL").out)
        self.run_ok("rotate", "copy", "--backup", self.dir / "copy.kmb", "--kek", "root")
        self.run_ok("rotate", "cargo")
        self.assertIn("1 active key is in no bundle, an older version is", self.check(1, "WARNING").out)
        self.run_ok("wrap", "cargo", "--kek", "root", "--out", self.dir / "cargo2.kmb")
        self.check(0, "OK")

    @unittest.skipUnless(FAKETIME, "needs faketime")
    def test_clock_set_back(self):
        self.env.update(LD_PRELOAD=FAKETIME, FAKETIME="-1d")
        result = self.check(1, "WARNING", "-v")
        self.assertIn("the clock is behind the journal |", result.out)
        self.assertIn("was the clock set back?", result.out)

    def test_unknown(self):
        self.check(3, "UNKNOWN", "--nonsense")
        self.check(3, "UNKNOWN", "--warning", "soon")
        self.check(3, "UNKNOWN", "--home", self.dir / "nowhere")

    def test_no_module_and_no_pin(self):
        (self.home / "token.pin").unlink()
        config = self.home / "config.json"
        config.write_text(re.sub(r'"module": ?"[^"]*"', '"module":"/no/such/module.so"', config.read_text()))
        self.check(0, "OK")

    def test_tampered(self):
        database = sqlite3.connect(self.home / "journal.db")
        database.execute("UPDATE items SET value = replace(value, '\"active\"', '\"suspended\"') WHERE kind = 'version'")
        database.commit()
        database.close()
        self.assertIn("journal is broken", self.check(2, "CRITICAL").out)


if __name__ == "__main__":
    harness.main()
