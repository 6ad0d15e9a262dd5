"""Rotation from cron: quiet when nothing is due, one at a time, loud and precise when something is wrong."""

import fcntl
import json
import os
import subprocess
import time
import unittest

import harness

FAKETIME = harness.first_file("/usr/lib/*/faketime/libfaketime.so.1")


class Quiet(harness.Rotation):
    """A home of its own: keys of other tests come due."""

    def test_quiet(self):
        env = {"PATH": os.environ["PATH"], "SOFTHSM2_CONF": str(self.token.conf), "KMFORWARD_MODULE": harness.SOFTHSM}
        words = [harness.BINARY, "--home", self.home, "rotate", "--due", "--no-input", "--pin-source", f"file:{self.token.pin_file}"]
        result = harness.run_program(words, env, preexec=os.setsid)
        self.assertEqual((result.code, result.out, result.err), (0, "", ""), result)
        loose = self.dir / "loose-pin"
        loose.write_text(harness.PIN)
        loose.chmod(0o644)
        words[-1] = f"file:{loose}"
        self.assertIn(harness.run_program(words, env).code, (77, 78))


class Cron(harness.Rotation):
    def test_wrong_pin_file_is_tried_once(self):
        wrong = self.dir / "wrong-pin"
        wrong.write_text("not-the-pin-1")
        wrong.chmod(0o600)
        tries = self.dir / "tries"
        for _ in range(3):
            env = harness.spy_env(tries) | {"KMTOOL_PIN_SOURCE": f"file:{wrong}"}
            self.refused(77, "rotate", "--due", "--no-input", env=env)
        self.assertEqual(harness.spy_calls(tries).get("C_Login"), 1)
        # Nor without --no-input: nobody is there either way. A file that was changed or touched is another matter.
        env = harness.spy_env(tries) | {"KMTOOL_PIN_SOURCE": f"file:{wrong}"}
        for _ in range(2):
            self.refused(77, "rotate", "--due", env=env, says="touch the file")
        self.assertEqual(harness.spy_calls(tries).get("C_Login"), 1)
        wrong.touch()
        self.refused(77, "rotate", "--due", env=env, says="CKR_PIN_INCORRECT")
        self.refused(77, "rotate", "--due", env=env, says="has not changed since")
        self.assertEqual(harness.spy_calls(tries).get("C_Login"), 2)
        # A person may; then everything is as before.
        self.ok("rotate", "--due")
        self.ok("rotate", "--due", "--no-input")

    def test_no_login_where_few_tries_are_left(self):
        """The token's flags are those that it shows after wrong PINs; what a person may still do, --no-input does not."""
        low, final, locked = "10000", "20000", "40000"  # CKF_USER_PIN_COUNT_LOW, _FINAL_TRY, _LOCKED
        cases = [(low, ("--no-input",), "few tries"), (final, ("--no-input",), "only one try"), (final, (), "only one try"), (locked, (), "locked")]
        for number, (flags, words, says) in enumerate(cases):
            with self.subTest(flags=flags, words=words):
                tries = self.dir / f"tries-{number}"
                env = harness.spy_env(tries) | {"KMFORWARD_TOKEN_FLAGS": flags}
                self.refused(77, "rotate", "--due", *words, env=env, says=says)
                calls = harness.spy_calls(tries)
                self.assertGreater(calls.get("C_GetTokenInfo", 0), 0)
                self.assertEqual(calls.get("C_Login", 0), 0)
        tries = self.dir / "tries-of-a-person"
        self.ok("rotate", "--due", env=harness.spy_env(tries) | {"KMFORWARD_TOKEN_FLAGS": low})
        self.assertEqual(harness.spy_calls(tries).get("C_Login"), 1)
        self.assertIn("few tries", json.dumps(self.entries(self.home)))

    def test_two_at_once(self):
        self.ok("gen", "twin", "--role", "data", "--count", "6", "--cryptoperiod", "1s")
        time.sleep(2)
        words = [harness.BINARY, "rotate", "--due", "--json"]
        running = [subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        rotated = []
        for process in running:
            out, err = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, err)
            rotated += [one["name"] for one in json.loads(out)["rotated"]]
        # The second may find a twin due again, whose second has passed: each run rotates each key at most once.
        for n in range(1, 7):
            self.assertLessEqual(self.states(f"twin-{n:04}")[1], "deactivated")
            self.assertIn(f"twin-{n:04}", rotated)
        for n in range(1, 7):
            self.assertEqual(list(self.states(f"twin-{n:04}").values()).count("active"), 1)

    def test_no_wait(self):
        with open(self.home / "mutate.lock", "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refused(75, "rotate", "--due", "--no-wait")

    def test_one_failure_does_not_stop_the_others(self):
        self.ok("gen", "due-0001", "--role", "data", "--cryptoperiod", "1s")
        self.ok("gen", "due-0002", "--role", "data", "--cryptoperiod", "1s", "--backup", self.dir / "due.kmb", "--kek", "root")  # needs --backup
        self.ok("gen", "due-0003", "--role", "data", "--cryptoperiod", "1s")
        time.sleep(2)
        limited = self.kmtool("rotate", "due-0002", "due-0003", "--max-failures", "1")
        self.assertEqual(limited.code, 1, limited)
        self.assertIn("stopped after 1 failure (--max-failures); not tried: due-0003", limited.err)
        result = self.kmtool("rotate", "--due", "--json")
        self.assertEqual(result.code, 1, result)
        report = result.json()
        self.assertEqual([failed["name"] for failed in report["failed"]], ["due-0002"])
        self.assertLessEqual({"due-0001", "due-0003"}, {one["name"] for one in report["rotated"]})
        for n in (1, 2, 3):
            self.ok("state", f"due-000{n}", "deactivate", "--reason", "done with it")

    @unittest.skipUnless(FAKETIME, "needs faketime")
    def test_clock_set_back(self):
        self.ok("gen", "clocked", "--role", "data", "--cryptoperiod", "1s")
        time.sleep(2)
        self.ok("gen", "stays", "--role", "data")
        rotated = self.ok_json("rotate", "clocked")
        self.assertEqual(len(rotated["rotated"]), 1)
        before = self.states("clocked")
        env = {"LD_PRELOAD": FAKETIME, "FAKETIME": "-1d"}
        result = self.ok("rotate", "--due", "--json", env=env)
        self.assertEqual(result.json()["rotated"], [])
        self.assertIn("clock", result.err)
        self.assertEqual(self.states("clocked"), before)
        self.assertIs(self.ok_json("doctor")["healthy"], True)


class DestroyAfter(harness.Case):
    def test_policy(self):
        home = self.embedded_home()
        self.env = dict(self.env, KMTOOL_HOME=str(home))
        run = lambda *words: self.ok(*words, env={"KMTOOL_HOME": str(home)})
        run("gen", "short", "--role", "mac")
        run("gen", "long", "--role", "data")
        run("rotate", "--all")
        policy = home / "policy.json"
        policy.write_text(policy.read_text().replace('"destroy_after": {}', '"destroy_after": {"mac": "1s"}'))
        run("policy", "accept")
        time.sleep(2)
        report = self.ok_json("rotate", "--due", env={"KMTOOL_HOME": str(home)})
        self.assertEqual(report["destroyed"], ["short@1"])
        states = {k["label"]: k["state"] for k in self.ok_json("list", env={"KMTOOL_HOME": str(home)})["keys"]}
        self.assertEqual(states, {"short@1": "destroyed", "short@2": "active", "long@1": "deactivated", "long@2": "active"})

    def test_whose_bundles_are_bad(self):
        home = self.embedded_home("bad")
        env = {"KMTOOL_HOME": str(home)}
        out = self.dir / "bad.kmb"
        self.ok("gen", "root", "--role", "kek", env=env)
        self.ok("gen", "kept", "--role", "mac", "--backup", out, "--kek", "root", env=env)
        self.ok("state", "kept", "deactivate", "--reason", "over", env=env)
        whole = out.read_bytes()
        out.write_bytes(whole.replace(b'"wrapped":["', b'"wrapped":["A', 1))
        self.assertEqual(self.kmtool("bundles", "--verify-all", env=env).code, 1)
        policy = home / "policy.json"
        policy.write_text(policy.read_text().replace('"destroy_after": {}', '"destroy_after": {"mac": "1s"}'))
        self.ok("policy", "accept", env=env)
        time.sleep(2)
        for dry in (["--dry-run"], []):
            result = self.kmtool("rotate", "--due", "--json", *dry, env=env)
            self.assertEqual((result.code, result.json()["destroyed"]), (1, []), result)
            self.assertEqual(result.json()["failed"][0]["name"], "kept@1")
        out.write_bytes(whole)
        self.ok("bundles", "--verify-all", env=env)
        self.assertEqual(self.ok_json("rotate", "--due", env=env)["destroyed"], ["kept@1"])


if __name__ == "__main__":
    harness.main()
