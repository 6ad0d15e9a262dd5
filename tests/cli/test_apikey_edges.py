"""Edges of `kmtool apikey`: what restricts nothing, bursts of checks, a snapshot without counts, formats there are not, backups of counts."""

import json
import os
import subprocess

import harness


class Edges(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.key = cls.ok_json("apikey", "create", "--app", "shop", "--ip", "10.0.0.0/8", "--rate", "1000/sec")

    def check(self, *words, key=None, code=0, **more):
        result = self.kmtool("apikey", "check", "--key-stdin", *words, stdin=key or self.key["key"], **more)
        self.assertEqual(result.code, code, result)
        return result

    def test_a_rotation_that_policy_forbids_meanwhile(self):
        """Hints name options that there are: rotating takes no restrictions."""
        home = self.embedded_home("strict")
        key = self.ok_json("apikey", "create", "--app", "open", "--unrestricted", home=home)["id"]
        policy = home / "policy.json"
        policy.write_text(policy.read_text().replace('"allow_unrestricted": true', '"allow_unrestricted": false'))
        self.ok("policy", "accept", home=home)
        refused = self.refused(77, "apikey", "rotate", key, home=home, says=("kmtool apikey create --app open --ip CIDR", f"kmtool apikey revoke {key}"))
        self.assertNotIn("name networks with --ip", refused.err)
        self.ok("apikey", "create", "--app", "open", "--environment", "next", "--ip", "10.0.0.0/8", home=home)
        self.ok("apikey", "revoke", key, "--reason", "replaced", home=home)

    def test_a_key_that_is_given_for_its_id_is_not_shown(self):
        key = self.key["key"]
        for words in (("show", key), ("revoke", key, "--reason", "x"), ("rotate", key), ("usage", key), ("check", "--key-env", key)):
            result = self.refused(64, "apikey", *words)
            self.assertNotIn(key[-30:], result.out + result.err)
        self.assertIn(f"its id is {self.key['id']}", self.refused(64, "apikey", "show", key).err)
        self.check("--ip", "10.0.0.1")

    def test_counts_that_are_damaged_are_moved_away(self):
        """The record of a backup would call keys good that were revoked since."""
        home = self.embedded_home("damaged")
        key = self.ok_json("apikey", "create", "--app", "shop", "--unrestricted", home=home)
        self.ok("apikey", "check", "--key-stdin", stdin=key["key"], home=home)
        for path in home.glob("usage.db-*"):
            path.unlink()
        (home / "usage.db").write_bytes(b"no database " * 1000)
        out = self.dir / "damaged.kmk"
        result = self.refused(65, "apikey", "publish", "--out", out, home=home, says=(f"move {home}/usage.db away", "counts begin anew"))
        self.assertNotIn("home restore", result.err)
        (home / "usage.db").rename(self.dir / "usage.away")
        self.ok("apikey", "publish", "--out", out, home=home)

    def test_the_longest_key_that_is_kept(self):
        self.ok("apikey", "store", "long", "--app", "shop", stdin="x" * 32768)
        self.refused(64, "apikey", "store", "longer", "--app", "shop", stdin="x" * 32769, says="longer than 32")
        self.ok("apikey", "store", "long", "--app", "shop", "--remove")

    def test_killed_before_the_file_has_its_name(self):
        """A key that is in force and that nobody has is worse than one that somebody has and is not."""
        if not harness.KILLFS or harness.SANITIZED:
            self.skipTest("it needs the shim")
        out = self.dir / "killed.key"
        made = self.ok_json("apikey", "create", "--app", "killed", "--ip", "10.0.0.0/8")
        for at in range(1, 20):
            env = {"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(at), "KILLFS_NAMES": "link,linkat,rename,renameat2"}
            result = self.kmtool("apikey", "rotate", made["id"], "--overlap", "0", "--out", out, env=env)
            keys = {k["id"]: k["state"] for k in self.ok_json("apikey", "list", "--app", "killed")["keys"]}
            if len(keys) > 1:
                self.assertEqual(keys[made["id"]], "replaced")
                self.check("--ip", "10.0.0.1", key=out.read_text())
                break
            self.assertEqual((result.code, keys), (-9, {made["id"]: "live"}), result)
            out.unlink(missing_ok=True)
        self.assertGreater(at, 1)
        self.assertEqual(result.code, 0, result)

    def test_killed_while_publishing(self):
        """That it is published is on record only once it is: until then monitor warns, and the next number is higher."""
        if not harness.KILLFS or harness.SANITIZED:
            self.skipTest("it needs the shim")
        home, out = self.embedded_home("published"), self.dir / "published.kmk"
        key = self.ok_json("apikey", "create", "--app", "shop", "--ip", "10.0.0.0/8", home=home)
        self.ok("apikey", "publish", "--out", out, home=home)
        self.ok("apikey", "revoke", key["id"], "--reason", "a test", home=home)
        sequence = lambda: json.loads(out.read_text().splitlines()[0])["sequence"]  # noqa: E731
        last = sequence()
        seen = [last]
        for at in range(1, 9):
            env = {"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(at), "KILLFS_WHEN": "after", "KILLFS_NAMES": "rename,renameat2"}
            result = self.kmtool("apikey", "publish", "--out", out, home=home, env=env)
            if result.code == 0:
                break
            said = self.kmtool("monitor", home=home)
            self.assertEqual((result.code, said.code), (-9, 1), said)
            self.assertIn("1 change of API keys is not published", said.out)
            seen.append(sequence())
        self.assertGreater(len(set(seen)), 1)  # once it lay there
        self.assertGreater(sequence(), seen[-1])
        self.ok("monitor", home=home)

    def test_a_disk_that_fails_at_the_commit(self):
        """The next command may find what was committed: the only copy of the key stays."""
        if not harness.KILLFS or harness.SANITIZED:
            self.skipTest("it needs the shim")
        out, kept = self.dir / "doubt.key", []
        for at in range(1, 40):
            env = {"LD_PRELOAD": harness.KILLFS, "KILLFS_FAIL_AT": str(at), "KILLFS_ERRNO": "5", "KILLFS_NAMES": "fsync,fdatasync"}
            result = self.kmtool("apikey", "create", "--app", "doubt", "--ip", "10.0.0.0/8", "--out", out, env=env)
            keys = self.ok_json("apikey", "list", "--app", "doubt")["keys"]
            if result.code == 0:
                break
            self.assertTrue(out.exists() or not keys, result)
            if out.exists() and "is not known" in result.err:
                kept.append(at)
                self.assertEqual(result.code, 74, result)
            for key in keys:
                self.kmtool("apikey", "revoke", key["id"], "--reason", "a test")
            out.unlink(missing_ok=True)
        self.assertTrue(kept)  # at least one was in doubt

    def test_a_name_that_is_not_utf8(self):
        """A document says it as a terminal would; what goes on record has a name in UTF-8."""
        name = os.fsdecode(b"key-\xff")
        made = self.ok_json("apikey", "create", "--app", "bytes", "--ip", "10.0.0.0/8", "--out", name, cwd=self.dir)
        self.assertTrue((self.dir / name).exists())
        self.assertTrue(made["out"].endswith("key-\\xff"), made)
        self.refused(64, "apikey", "publish", "--out", name + ".snapshot", cwd=self.dir, says="is not UTF-8")
        self.assertFalse((self.dir / (name + ".snapshot")).exists())

    def test_networks_that_are_everything(self):
        for halves in (("0.0.0.0/1", "128.0.0.0/1"), ("::/1", "8000::/1"), ("0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"), ("2000::/3",), ("10.0.0.0/8", "128.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2")):
            words = [word for network in halves if network != "::/1" for word in ("--ip", network)]
            with self.subTest(halves=halves):
                if "::/1" in halves:  # it would cover the IPv4 addresses that IPv6 maps
                    self.refused(64, "apikey", "create", "--app", "wide", "--ip", "::/1", *words)
                    continue
                self.refused(77, "apikey", "create", "--app", "wide", *words, says="can be used from every address")
        wide = self.ok_json("apikey", "create", "--app", "wide", "--ip", "0.0.0.0/1", "--ip", "128.0.0.0/1", "--unrestricted")
        found = [f for f in json.loads(self.kmtool("audit", "keys", "--json").out)["findings"] if f["object"]["id"] == wide["id"]]
        self.assertEqual([f["rule"] for f in found], ["A-RESTRICT"], found)
        self.check("--ip", "2001:db8::1", key=wide["key"], code=1)
        half = self.ok_json("apikey", "create", "--app", "half", "--ip", "0.0.0.0/2", "--ip", "128.0.0.0/2")
        self.assertNotIn("unrestricted", half["restrictions"])

    def test_bursts_of_checks_are_seen(self):
        """Each check is a process of its own: a burst is what several of them counted."""
        command = [harness.BINARY, "apikey", "check", "--key-stdin", "--ip", "10.0.0.1"]
        count = lambda: self.ok_json("apikey", "usage", self.key["id"])["keys"][0]["allowed"]  # noqa: E731
        before = count()
        for _ in range(5):
            running = []
            for _ in range(80):
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=self.env)
                process.stdin.write(self.key["key"].encode())
                process.stdin.close()
                running.append(process)
            self.assertEqual({process.wait() for process in running}, {0})
            used = self.ok_json("apikey", "usage", self.key["id"])
            if used["keys"][0]["peak"] >= 50:
                break
        self.assertGreaterEqual(used["keys"][0]["peak"], 5, "not even a slow machine makes one check a second")
        self.assertEqual((count() - before) % 80, 0)
        if used["keys"][0]["peak"] >= 50:
            self.assertIn("burst", [each["kind"] for each in used["anomalies"]])

    def test_a_snapshot_has_no_counts(self):
        snapshot, signer = self.dir / "keys.kmk", self.home / "signers/document.pem"
        self.ok("apikey", "publish", "--out", snapshot)
        nowhere = {"KMTOOL_HOME": str(self.dir / "none")}
        by = ("--snapshot", snapshot, "--signer", signer)
        said = self.check(*by, "--ip", "10.0.0.1", "--json", env=nowhere)
        self.assertEqual((said.json()["allowed"], said.json()["unchecked"]), (True, ["rate"]))
        self.assertIn("rate limit", said.err)
        denied = self.check(*by, "--ip", "192.0.2.1", "--json", env=nowhere, code=1)
        self.assertEqual((denied.json()["rule"], denied.json()["unchecked"]), ("ip", []))
        told = self.ok_json("apikey", "explain", "--key-stdin", *by, "--ip", "10.0.0.1", stdin=self.key["key"], env=nowhere)
        self.assertEqual({r["rule"]: r["verdict"] for r in told["rules"]}["rate"], "not checked")
        here = self.ok_json("apikey", "explain", "--key-stdin", "--ip", "10.0.0.1", stdin=self.key["key"])
        self.assertEqual({r["rule"]: r["verdict"] for r in here["rules"]}["rate"], "holds")
        for command in ("check", "explain"):
            self.refused(64, "apikey", command, "--key-stdin", "--signer", signer, "--ip", "10.0.0.1", stdin=self.key["key"], says="--snapshot")
            self.refused(64, "apikey", command, "--key-stdin", "--snapshot", snapshot, stdin=self.key["key"], says="--signer")

    def test_formats_there_are_not(self):
        for words in (("list",), ("show", self.key["id"]), ("usage",), ("check", "--key-stdin"), ("create", "--app", "other", "--ip", "10.0.0.1"), ("revoke", self.key["id"], "--reason", "x")):
            with self.subTest(words=words):
                self.refused(64, "apikey", *words, "--format", "xml", says="no format xml")
        self.assertEqual([k["id"] for k in self.ok_json("apikey", "list", "--app", "other")["keys"]], [])
        self.assertIn(self.key["id"], self.ok("apikey", "list", "--format", "table").out)
        self.refused(64, "apikey", "scan", self.dir, "--format", "xml", says="no format xml")

    def test_a_reason_says_something(self):
        for reason in ("", " ", "   "):
            self.refused(64, "apikey", "revoke", self.key["id"], "--reason", reason)
        self.check("--ip", "10.0.0.1")

    def test_counts_are_backed_up(self):
        self.check("--ip", "10.0.0.9")
        self.ok("home", "backup", self.dir / "home.kmh")
        self.check("--ip", "10.0.0.9")
        other = self.dir / "restored"
        self.assertIn("usage.db", self.ok_json("home", "restore", self.dir / "home.kmh", home=other)["files"])
        before, after = (self.ok_json("apikey", "usage", self.key["id"], home=home)["keys"][0] for home in (other, self.home))
        self.assertEqual(before["allowed"] + 1, after["allowed"])
        self.assertIn("10.0.0.9", [source["address"] for source in before["sources"]])

    def test_programs_that_cannot_be_run(self):
        plain = self.dir / "plain.py"
        plain.write_text("print(1)\n")
        self.ok("apikey", "store", "stripe", "--app", "shop", stdin="sk_live_1234567890\n")
        words = ("apikey", "exec", "--app", "shop", "--set", "K=stripe", "--")
        self.refused(66, *words, plain, says=("is not executable", "chmod"))
        self.refused(66, *words, self.dir, says="is a folder")
        self.refused(66, *words, self.dir / "none", says="there is no program")
        self.refused(66, *words, "no-such-program", says="in PATH")
        self.refused(66, *words, "plain.py", env={"PATH": str(self.dir)}, says="is not executable")


if __name__ == "__main__":
    harness.main()
