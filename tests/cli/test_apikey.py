"""API keys as their users meet them: issued, restricted, rotated, revoked, checked, published, counted."""

import base64
import json
import pathlib
import re
import sqlite3
import subprocess
import unittest

import harness

FAKETIME = harness.first_file("/usr/lib/*/faketime/libfaketime.so.1")
LATER = {"LD_PRELOAD": FAKETIME, "FAKETIME": "+1d"} if FAKETIME else {}

KEY = re.compile(r"^kmt_[0-9a-hjkmnp-tv-z]{10}_[0-9A-Za-z]{49}$")


class Keys(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))

    def create(self, app, *words, network=("--ip", "192.0.2.0/24")):
        made = self.ok_json("apikey", "create", "--app", app, *network, *words)
        self.assertRegex(made["key"], KEY)
        return made

    def check(self, key, *words, verb="check", env=None):
        result = self.kmtool("apikey", verb, "--key-stdin", *words, "--json", stdin=key + "\n", env=env)
        self.assertIn(result.code, (0, 1), result)
        verdict = result.json()
        self.assertEqual(result.code, 0 if verdict["allowed"] else 1, result)
        return verdict

    def test_issued_once(self):
        made = self.create("once", "--scope", "read", "--expires", "90d", "--rate", "60/min")
        self.assertEqual(set(made), {"id", "key", "app", "environment", "restrictions", "expires"})
        self.assertEqual(made["restrictions"], {"ip": ["192.0.2.0/24"], "scopes": ["read"], "rate": "60/min"})
        listed = [k for k in self.ok_json("apikey", "list")["keys"] if k["id"] == made["id"]][0]
        self.assertEqual((listed["app"], listed["state"], listed["last_used"]), ("once", "live", None))
        for words in (("apikey", "list"), ("apikey", "show", made["id"]), ("apikey", "usage"), ("audit", "guidance")):
            self.assertNotIn(made["key"][15:], self.ok(*words).out)
        self.assertNotIn(made["key"][15:], "\n".join(json.dumps(e) for e in self.entries(self.home)))
        shown = self.ok("apikey", "create", "--app", "once-more", "--ip", "10.0.0.1")
        self.assertRegex(shown.out.strip(), KEY)

    def test_out_and_dry_run(self):
        out = self.dir / "key.txt"
        self.refused(77, "apikey", "create", "--app", "filed", "--out", out, says="from every address")
        before = len(self.entries(self.home))
        self.ok("apikey", "create", "--app", "filed", "--ip", "10.0.0.1", "--out", out, "--dry-run")
        self.assertFalse(out.exists())
        self.assertEqual(before, len(self.entries(self.home)))
        result = self.ok("apikey", "create", "--app", "filed", "--ip", "10.0.0.1", "--out", out)
        self.assertEqual(result.out, "")
        self.assertRegex(out.read_text().strip(), KEY)
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        self.refused(73, "apikey", "create", "--app", "filed2", "--ip", "10.0.0.1", "--out", out)
        self.assertNotIn("filed2", self.ok("apikey", "list").out)

    def test_rules_at_the_door(self):
        self.refused(77, "apikey", "create", "--app", "open", says=("every address", "--unrestricted"))
        self.refused(77, "apikey", "create", "--app", "open", "--referrer", "example.com", says="every address")
        self.ok("apikey", "create", "--app", "open", "--unrestricted")
        found = {f["object"]["label"]: f for f in self.ok_json("audit", "keys")["findings"] if f["rule"].startswith("A-RESTRICT")}
        self.assertEqual([f["severity"] for f in found.values() if "open" in f["evidence"]], ["low"], found)
        first = self.create("unique")
        second = self.kmtool("apikey", "create", "--app", "unique", "--ip", "10.0.0.1", "--json")
        self.assertEqual(second.code, 77)
        self.assertEqual(second.error()["code"], "A-UNIQUE")
        self.assertIn(first["id"], second.error()["message"])
        self.create("unique", "--environment", "staging")
        self.ok("apikey", "revoke", first["id"], "--reason", "a test")
        self.create("unique")
        refusals = [e for e in self.entries(self.home) if e["phase"] == "refusal" and e["command"] == "apikey create"]
        self.assertIn("A-UNIQUE", {e["details"]["code"] for e in refusals})
        self.refused(64, "apikey", "create", "--app", "x", "--ip", "10.0.0.1/8", says="bits set behind its prefix")
        self.refused(64, "apikey", "create", "--app", "x", "--ip", "10.0.0.1", "--unrestricted", says="contradict")
        self.refused(64, "apikey", "create", "--app", "x", "--ip", "10.0.0.1", "--android", "com.a.b=" + "a" * 64, "--ios", "com.a.B", says="no client is both")
        self.refused(64, "apikey", "create", "--app", "../x", "--ip", "10.0.0.1")

    def test_every_reason(self):
        """From an allowed address 0, else 1 and the rule's name."""
        made = self.create("reasons", "--scope", "read", "--referrer", "*.example.com")
        key = made["key"]
        good = ("--ip", "192.0.2.7", "--scope", "read", "--referrer", "https://www.example.com/")
        allowed = self.check(key, *good)
        self.assertEqual((allowed["id"], allowed["app"], allowed["rule"]), (made["id"], "reasons", "none"))
        bad = {"ip": ("--ip", "192.0.3.7", *good[2:]), "scope": (*good[:2], "--scope", "write", *good[4:]), "referrer": (*good[:4], "--referrer", "https://example.com/")}
        for rule, words in bad.items():
            self.assertEqual(self.check(key, *words)["rule"], rule)
        self.assertEqual(self.check(key)["rule"], "ip")
        self.assertEqual(self.check(key, *good[:2], *good[4:])["rule"], "scope")
        self.assertEqual(self.check(key, *good[:4])["rule"], "referrer")
        swapped = key[:20] + ("A" if key[20] != "A" else "B") + key[21:]
        self.assertEqual(self.check(swapped, *good)["rule"], "checksum")
        self.assertEqual(self.check("sk_live_x", *good)["rule"], "format")
        self.assertEqual(self.check("", *good)["rule"], "missing")
        other = self.create("reasons", "--environment", "other")
        self.ok("apikey", "revoke", other["id"], "--reason", "a test")
        self.assertEqual(self.check(other["key"], *good)["rule"], "revoked")
        later = self.create("reasons", "--environment", "later", "--not-before", "1d")
        self.assertEqual(self.check(later["key"], *good)["rule"], "not-before")
        short = self.create("reasons", "--environment", "short", "--expires", "1h")
        self.assertEqual(self.check(short["key"], *good, env=LATER)["rule"], "expired" if LATER else "none")
        with_env = self.kmtool("apikey", "check", "--key-env", "THE_KEY", *good, env={"THE_KEY": key})
        self.assertEqual(with_env.code, 0, with_env)
        self.refused(64, "apikey", "check", *good, says="where is the key")
        reasons = {self.check(k, *w)["reason"] for k, w in ((key, good), (key, bad["ip"]), (swapped, good), (other["key"], good), (later["key"], good), ("", good))}
        self.assertEqual(len(reasons), 6)

    def test_unknown_and_wrong_secret(self):
        other = self.dir / "elsewhere"
        self.ok("init", "--embedded", "--home", other)
        foreign = self.ok_json("apikey", "create", "--app", "a", "--unrestricted", "--home", other)["key"]
        unknown = self.check(foreign, "--ip", "192.0.2.7")
        self.assertEqual((unknown["rule"], unknown["id"], unknown["app"]), ("unknown", None, None))

    def test_explain(self):
        made = self.create("explained", "--android", "com.example.app=" + "AB" * 32)
        verdict = self.check(made["key"], "--ip", "192.0.2.1", "--android-package", "com.example.app", verb="explain")
        rules = {r["rule"]: r for r in verdict["rules"]}
        self.assertEqual((rules["ip"]["verdict"], rules["ip"]["advisory"]), ("holds", False))
        self.assertEqual((rules["android"]["verdict"], rules["android"]["advisory"]), ("fails", True))
        self.assertEqual(rules["ios"]["verdict"], "not restricted")
        shown = self.kmtool("apikey", "explain", "--key-stdin", "--ip", "192.0.2.1", stdin=made["key"])
        self.assertIn("advisory", shown.out)
        self.assertIn("denied by android", shown.out)

    def test_rotation(self):
        first = self.create("turning", "--expires", "30d")
        second = self.ok_json("apikey", "rotate", first["id"])
        self.assertEqual(second["restrictions"], first["restrictions"])
        self.assertEqual(second["replaces"]["id"], first["id"])
        for key in (first["key"], second["key"]):
            self.assertTrue(self.check(key, "--ip", "192.0.2.1")["allowed"])
        self.refused(77, "apikey", "rotate", second["id"], says="three live keys")
        self.refused(77, "apikey", "rotate", first["id"], says="nothing to rotate")
        self.ok("apikey", "revoke", first["id"], "--reason", "a test")
        third = self.ok_json("apikey", "rotate", second["id"], "--overlap", "0")
        self.assertEqual(self.check(second["key"], "--ip", "192.0.2.1")["rule"], "replaced")
        self.assertTrue(self.check(third["key"], "--ip", "192.0.2.1")["allowed"])
        self.refused(77, "apikey", "revoke", first["id"], "--reason", "again", says="was revoked")
        self.refused(66, "apikey", "revoke", "0000000000", "--reason", "x", says="no api key")

    def test_rate(self):
        made = self.create("limited", "--rate", "2/hour")
        verdicts = [self.check(made["key"], "--ip", "192.0.2.1") for _ in range(3)]
        self.assertEqual([v["rule"] for v in verdicts], ["none", "none", "rate"])
        self.assertGreater(verdicts[2]["retry_after"], 1000)
        self.assertEqual(self.check(made["key"], "--ip", "192.0.2.1", verb="explain")["rule"], "rate")

    def test_checks_do_not_fill_the_journal(self):
        made = self.create("counted")
        before = (self.home / "journal.db").stat().st_size, len(self.entries(self.home))
        for _ in range(5):
            self.check(made["key"], "--ip", "192.0.2.1")
            self.check(made["key"], "--ip", "198.51.100.1")
        self.check(made["key"][:-1] + "_", "--ip", "192.0.2.1")
        self.assertEqual(before, ((self.home / "journal.db").stat().st_size, len(self.entries(self.home))))
        usage = self.ok_json("apikey", "usage", made["id"])["keys"][0]
        self.assertEqual((usage["allowed"], usage["denied"], usage["denied_by"]), (5, 5, {"ip": 5}))
        self.assertEqual([(s["address"], s["count"]) for s in usage["sources"]], [("192.0.2.1", 5)])
        self.assertEqual(sum(usage["series"]), 10)
        self.assertRegex(self.ok("apikey", "usage").out, "[▁▂▃▄▅▆▇█]")
        self.assertTrue(self.ok_json("apikey", "usage", "--record")["recorded"])
        self.assertFalse(self.ok_json("apikey", "usage", "--record")["recorded"])
        last = [e for e in self.entries(self.home) if e["command"] == "apikey usage --record"][-1]
        self.assertEqual(last["details"]["applications"]["counted"], {"allowed": 5, "denied": 5})

    def test_anomalies(self):
        made = self.create("odd", "--expires", "3d")
        for _ in range(25):
            self.check(made["key"], "--ip", "198.51.100.1")
        self.check(made["key"], "--ip", "192.0.2.1")
        database = sqlite3.connect(self.home / "usage.db")
        with database:  # it was first used ten days ago
            database.execute("UPDATE seen SET first = first - 864000 WHERE key = ?", (made["id"],))
        database.close()
        kinds = {a["kind"] for a in self.ok_json("apikey", "usage", made["id"])["anomalies"]}
        self.assertEqual(kinds, {"denials rising", "expiring", "new source"})
        monitor = self.kmtool("monitor", "-v")
        self.assertEqual(monitor.code, 1, monitor)
        self.assertIn("denials rising", monitor.out.splitlines()[0])
        self.assertIn(made["id"], monitor.out)
        self.assertIn("apikey_anomalies=", monitor.out)

    def test_thief(self):
        """What lies in the home, without the token, is of no use to whoever copied it."""
        made = self.create("stolen", "--keep")
        secret = "sk_live_" + "Zq9" * 12
        self.ok("apikey", "store", "stripe", "--app", "stolen", stdin=secret)
        files = [p for p in pathlib.Path(self.home).rglob("*") if p.is_file()]
        self.assertGreater(len(files), 5)
        for file in files:
            data = file.read_bytes()
            for value in (made["key"].encode(), made["key"][15:58].encode(), secret.encode(), base64.b64encode(secret.encode())):
                self.assertNotIn(value, data, file)
        import hashlib
        digests = hashlib.sha256(secret.encode())
        for file in files:  # not even what a guess could be held against
            self.assertNotIn(digests.digest(), file.read_bytes(), file)
            self.assertNotIn(digests.hexdigest().encode(), file.read_bytes(), file)


class Published(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.key = cls.ok_json("apikey", "create", "--app", "shop", "--ip", "192.0.2.0/24")
        cls.pem = cls.home / "signers" / "document.pem"

    def test_snapshot(self):
        out = self.dir / "keys.jsonl"
        first = self.ok_json("apikey", "publish", "--out", out)
        second = self.ok_json("apikey", "publish", "--out", out)
        self.assertEqual((first["sequence"] + 1, second["keys"]), (second["sequence"], 1))
        lines = out.read_bytes().splitlines(keepends=True)
        self.assertTrue(lines[0].startswith(b'{"kmapikeys":1,'))
        body, signature = self.dir / "body", self.dir / "signature"
        body.write_bytes(b"".join(lines[:-1]))
        signature.write_bytes(base64.b64decode(json.loads(lines[-1])["signature"]["value"]))
        subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.pem, "-signature", signature, body], check=True, stdout=subprocess.DEVNULL)
        self.assertNotIn(self.key["key"][15:], out.read_text())
        elsewhere = ("--snapshot", out, "--signer", self.pem, "--key-stdin", "--home", self.dir / "none")
        self.assertEqual(self.kmtool("apikey", "check", *elsewhere, "--ip", "192.0.2.1", stdin=self.key["key"]).code, 0)
        self.assertEqual(self.kmtool("apikey", "check", *elsewhere, "--ip", "10.0.0.1", stdin=self.key["key"]).code, 1)
        changed = self.dir / "changed"
        changed.write_bytes(out.read_bytes().replace(b"192.0.2.0", b"192.0.3.0"))
        self.refused(65, "apikey", "check", "--snapshot", changed, "--signer", self.pem, "--key-stdin", stdin=self.key["key"], says="signature is wrong")

    def test_what_is_there_is_kept(self):
        other = self.dir / "notes.txt"
        other.write_text("mine\n")
        self.refused(73, "apikey", "publish", "--out", other)
        self.assertEqual(other.read_text(), "mine\n")
        self.refused(64, "apikey", "publish", "--out", self.dir / "x", "--not-after", "2001-01-01T00:00:00Z", says="past")

    @unittest.skipUnless(LATER, "needs faketime")
    def test_expired(self):
        out = self.dir / "short.jsonl"
        self.ok("apikey", "publish", "--out", out, "--not-after", "1h")
        words = ("apikey", "check", "--snapshot", out, "--signer", self.pem, "--key-stdin", "--ip", "192.0.2.1")
        self.assertEqual(self.kmtool(*words, stdin=self.key["key"]).code, 0)
        self.refused(77, *words, stdin=self.key["key"], env=LATER, says="may not be used since")

    def test_one_that_lives_long(self):
        out = self.dir / "long.jsonl"
        for life, warned in (("30d", False), ("31d", True), ("100y", True)):
            for more in (("--dry-run",), ()):
                with self.subTest(life=life, more=more):
                    result = self.ok("apikey", "publish", "--out", out, "--not-after", life, *more)
                    self.assertEqual("allows a key that is revoked meanwhile until then" in result.err, warned, result)
        self.assertEqual(self.ok("apikey", "publish", "--out", out).err, "")


@unittest.skipUnless(LATER, "needs faketime")
class Clock(harness.Case):
    def test_set_back(self):
        """Whether a key has ended is judged by the journal's newest entry where the clock is behind it."""
        self.home = self.embedded_home()
        self.env["KMTOOL_HOME"] = str(self.home)
        key = self.ok_json("apikey", "create", "--app", "shop", "--unrestricted", "--expires", "12h")["key"]
        begins = self.ok_json("apikey", "create", "--app", "later", "--unrestricted", "--not-before", "12h")["key"]
        words = ("apikey", "check", "--key-stdin", "--json")
        self.assertEqual(self.kmtool(*words, stdin=key).code, 0)
        self.assertEqual(self.kmtool(*words, stdin=key, env=LATER).json()["rule"], "expired")  # a look leaves no time behind
        self.assertEqual(self.kmtool(*words, stdin=key).code, 0)
        self.ok("gen", "tomorrow", "--role", "data", env=LATER)
        result = self.kmtool(*words, stdin=key)
        self.assertEqual((result.code, result.json()["rule"]), (1, "expired"), result)
        self.assertIn("but the journal's newest entry was made at", result.err)
        self.assertEqual(self.kmtool(*words, stdin=begins).json()["rule"], "not-before")
        self.assertIn("but it has been", self.kmtool("apikey", "explain", "--key-stdin", stdin=key).out)
        self.ok("gen", "today", "--role", "data")  # as the warning says: that clock was the wrong one
        self.assertEqual(self.kmtool(*words, stdin=key).code, 0)


if __name__ == "__main__":
    harness.main()
