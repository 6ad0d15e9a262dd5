"""What careless scripts do: variables that are not set, outputs that cannot be written, options that cannot do what they say."""

import json
import sqlite3

import harness


class Careless(harness.EmbeddedCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok("gen", "payments", "--role", "data")

    def labels(self):
        return {key["label"] for key in self.ok_json("list")["keys"]}

    def test_unset_variables(self):
        """`--quorum "$UNSET"` must not drop the quorum, nor `--out "$UNSET"` print a key."""
        before = self.labels()
        self.refused(64, "export-kek", "root", "--to-kek", "root", "--out", self.dir / "q.kmk", "--quorum", "", says="--quorum was given an empty value")
        self.refused(64, "apikey", "create", "--app", "unset", "--unrestricted", "--out", "", says="--out was given an empty value")
        self.refused(64, "gen", "soon", "--role", "data", "--activate-at", "", says="--activate-at")
        self.refused(64, "encrypt", "payments", "--in", "", "--out", self.dir / "e.kme", says="--in")
        self.assertEqual(self.labels(), before)
        self.assertNotIn("unset", {key["app"] for key in self.ok_json("apikey", "list")["keys"]})

    def test_a_key_that_nobody_was_shown(self):
        result = harness.run_program(["sh", "-c", f"exec {harness.BINARY} apikey create --app unseen --unrestricted >/dev/full"], self.env)
        self.assertEqual(result.code, 74, result)
        key = next(k for k in self.ok_json("apikey", "list")["keys"] if k["app"] == "unseen")
        self.assertIn(key["id"], result.err)
        self.assertIn(f"apikey revoke {key['id']}", result.err)
        self.ok("apikey", "revoke", key["id"], "--reason", "never shown", "--yes")

    def test_a_backup_that_would_not_be_written(self):
        """--backup of a key without one: the rotation is not reported as done with it."""
        out = self.dir / "b.kmb"
        result = self.kmtool("rotate", "payments", "--backup", out, "--json")
        self.assertEqual(result.code, 1, result)
        document = result.json()
        self.assertEqual((document["rotated"], document["failed"][0]["name"]), ([], "payments"))
        self.assertFalse(out.exists())
        self.assertNotIn("payments@2", self.labels())

    def test_dry_runs_count_nothing(self):
        key = self.ok_json("apikey", "create", "--app", "dry", "--unrestricted", "--rate", "1/hour")["key"]
        for _ in range(3):
            self.ok("apikey", "check", "--key-stdin", "--dry-run", stdin=key)
        self.ok("apikey", "check", "--key-stdin", stdin=key)
        self.assertIn("would go", self.ok("apikey", "usage", "--record", "--dry-run").err)

    def test_one_document(self):
        for words in (["prove", "1"], ["checkpoint"]):
            json.loads(self.ok("audit", *words, "--json", "--out", "-").out)

    def test_the_version_that_is_meant(self):
        self.ok("gen", "alone", "--role", "data")
        self.ok("state", "alone", "suspend", "--reason", "test")
        self.ok("state", "alone", "resume", "--reason", "test")
        self.assertEqual(self.ok_json("show", "alone")["keys"][0]["state"], "active")

    def test_a_key_that_was_lost_has_a_successor(self):
        """A compromised key gets a new version, and stays compromised; a KEK's bundles follow."""
        for name, role in (("leaked", "mac"), ("exposed", "kek")):
            self.ok("gen", name, "--role", role, "--exportable")
        self.ok("gen", "under", "--role", "data", "--exportable")
        bundle = self.dir / "under.kmb"
        self.ok("wrap", "under", "--kek", "exposed", "--out", bundle)
        for name in ("leaked", "exposed"):
            self.ok("state", name, "compromise", "--reason", "seen in a log", "--yes")
            self.ok("rotate", name, "--rewrap-all") if name == "exposed" else self.ok("rotate", name)
            states = {k["version"]: k["state"] for k in self.ok_json("list")["keys"] if k["name"] == name}
            self.assertEqual(states, {1: "compromised", 2: "active"})
        self.assertEqual(self.ok_json("bundles", "--depends-on", "exposed@1")["bundles"], [])
        self.ok("unwrap", bundle, "--check")
        self.assertTrue(self.ok_json("doctor")["healthy"])

    def test_a_bundle_found_bad_alarms_until_it_is_good_again(self):
        home, bundle = self.embedded_home("alarm"), self.dir / "alarm.kmb"
        self.ok("gen", "root", "--role", "kek", home=home)
        self.ok("gen", "cargo", "--role", "data", "--exportable", home=home)
        self.ok("wrap", "cargo", "--kek", "root", "--out", bundle, home=home)
        genuine = bundle.read_bytes()
        bundle.write_bytes(genuine.replace(b'"cargo"', b'"carga"'))
        self.assertEqual(self.kmtool("bundles", "--verify-all", home=home).code, 1)
        alarm = self.kmtool("monitor", home=home)
        self.assertEqual(alarm.code, 2, alarm)
        self.assertIn("not what was written", alarm.out)
        self.assertIn("BAD", self.ok("bundles", home=home).out)
        bundle.write_bytes(genuine)
        self.ok("bundles", "--verify-all", home=home)
        self.ok("monitor", home=home)
        self.ok("audit", "verify", home=home)

    def test_verify_from_a_pipe_knows_the_home(self):
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        self.ok("wrap", "cargo", "--kek", "root", "--out", self.dir / "c.kmb")
        self.assertEqual(self.ok_json("verify", "-", stdin=(self.dir / "c.kmb").read_bytes())["signature"], "ok")

    def test_a_rehearsal_writes_nothing_real(self):
        victim, book = self.dir / "victim", self.dir / "book.md"
        victim.write_text("precious")
        book.write_text(f"# Book\n\n## Step\n\n```kmtool\nrandom 4 --force --out {victim}\n```\n\n```check\nexit 0\n```\n")
        self.refused(64, "ceremony", "rehearse", book, says="rehearsal must not touch")
        self.assertEqual(victim.read_text(), "precious")

    def test_guidance_does_not_vouch_for_a_changed_record(self):
        home = self.embedded_home("changed")
        self.ok("gen", "k", "--role", "data", home=home)
        with sqlite3.connect(home / "journal.db") as database:
            database.execute("DELETE FROM entries WHERE seq = 1")
        lines = self.ok_json("audit", "guidance", home=home)
        self.assertIn("entry 1", json.dumps(lines))


if __name__ == "__main__":
    harness.main()
