"""Signers that were compromised: what the journal recorded before stays good, and nothing else does."""

import json
import os
import shutil
import sqlite3

import harness
import people


class CutOff(harness.Case):
    """A rotation that ends anywhere leaves a home that the next command mends."""

    def setUp(self):
        self.token = harness.SoftToken(self.dir / "hsm")
        self.home = self.module_home(self.token)
        type(self).env = dict(self.env, KMTOOL_HOME=str(self.home))
        self.clean = self.dir / "clean"
        for name in ("home", "hsm"):
            shutil.copytree(self.dir / name, self.clean / name)

    def put_back(self):
        for name in ("home", "hsm"):
            shutil.rmtree(self.dir / name)
            shutil.copytree(self.clean / name, self.dir / name)

    def test_between_the_outcome_and_the_new_signers_first_checkpoint(self):
        trace = self.dir / "trace"
        self.ok("signer", "rotate", env={"KMFORWARD_TRACE_FILE": str(trace)})
        calls = trace.read_text().split()
        signing = [number for number, call in enumerate(calls, 1) if call == "C_Sign"]
        cut_off = 0
        for number in range(signing[-2] + 1, signing[-1] + 1):  # the old log signer's last signature, and the new one's first
            for kind, words in (("KILL", ("doctor", "--repair")), ("FAIL", ("gen", "next", "--role", "data"))):
                self.put_back()
                result = self.kmtool("signer", "rotate", env={f"KMFORWARD_{kind}_AT": str(number), "KMFORWARD_FAIL_RV": "30"})
                with self.subTest(call=(number, calls[number - 1]), kind=kind, words=words):
                    self.assertTrue(result.code in (-9, 69) or calls[number - 1] == "C_FindObjectsFinal", result)
                    states = [s["state"] for s in self.ok_json("signer", "list")["signers"]]
                    cut_off += result.code != 0 and states.count("retired") == 2
                    self.ok(*words)
                    self.ok("doctor")
                    self.ok("audit", "verify", "--all-signatures")
        self.assertGreater(cut_off, 0, "no run was cut off there")


class Compromised(harness.Case):
    def setUp(self):
        self.home = self.dir / self.id().rsplit(".", 1)[-1]
        type(self).env = dict(self.env, KMTOOL_HOME=str(self.home))
        self.ok("init", "--embedded")
        self.ok("gen", "root", "--role", "kek")
        self.ok("gen", "payments", "--role", "data", "--exportable")
        self.before, self.after = self.home / "before.kmb", self.home / "after.kmb"
        self.ok("wrap", "payments", "--kek", "root", "--out", self.before)
        self.checkpoint = self.home / "checkpoint"
        self.checkpoint.write_text(self.newest_checkpoint())
        self.ok("wrap", "payments", "--kek", "root", "--out", self.after)

    def database(self):
        database = sqlite3.connect(self.home / "journal.db")
        self.addCleanup(database.close)
        return database

    def newest_checkpoint(self):
        return self.database().execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()[0]

    def test_bundles_from_before_stay_good(self):
        self.ok("signer", "compromise", "--after", self.checkpoint)
        self.ok("verify", self.before)
        self.ok("verify", self.before, "--no-token")
        self.assertEqual(len(self.ok_json("unwrap", self.before, "--check")["keys"]), 1)
        moved = self.dir / "moved.kmb"
        moved.write_bytes(self.before.read_bytes())
        self.ok("verify", moved)
        self.assertEqual(self.kmtool("verify", self.after).code, 1)
        self.refused(77, "unwrap", self.after, "--check", says="compromised")
        self.ok("wrap", "payments", "--kek", "root", "--out", self.dir / "again.kmb")
        self.ok("verify", self.dir / "again.kmb")

    def test_an_entry_that_was_altered_vouches_for_nothing(self):
        """The digest of the later bundle, put into an old entry: the entry is not what the checkpoint was signed over."""
        self.ok("signer", "compromise", "--after", self.checkpoint)
        database = self.database()
        size = int(self.checkpoint.read_text().splitlines()[1])
        digests = {}
        for seq, data in database.execute("SELECT seq, data FROM entries").fetchall():
            for change in json.loads(data).get("changes", []):
                if change["kind"] == "bundle" and change.get("value"):
                    digests[change["value"]["path"]] = (seq, change["id"], change["value"]["digest"])
        seq, old_id, old_digest = digests[str(self.before)]
        later, new_id, new_digest = digests[str(self.after)]
        self.assertLess(seq, size)
        self.assertGreaterEqual(later, size)
        data = database.execute("SELECT data FROM entries WHERE seq = ?", (seq,)).fetchone()[0]
        text = data if isinstance(data, str) else data.decode()
        database.execute("UPDATE entries SET data = ? WHERE seq = ?", (text.replace(old_id, new_id).replace(old_digest, new_digest), seq))
        database.commit()
        self.refused(65, "verify", self.after, "--no-token", says=f"entry {seq}")

    def test_what_is_no_checkpoint_of_ours(self):
        other = self.dir / "other"
        self.ok("init", "--embedded", home=other)
        database = sqlite3.connect(other / "journal.db")
        self.addCleanup(database.close)
        foreign = self.home / "foreign"
        foreign.write_text(database.execute("SELECT note FROM checkpoints").fetchone()[0])
        self.refused(65, "signer", "compromise", "--after", foreign, says="not a checkpoint of this home")
        self.refused(66, "signer", "compromise", "--after", self.home / "none")
        lines = self.checkpoint.read_text().splitlines(keepends=True)
        self.checkpoint.write_text("".join([lines[0], str(int(lines[1]) - 1) + "\n", *lines[2:]]))
        self.refused(65, "signer", "compromise", "--after", self.checkpoint)
        self.ok("verify", self.after)


class Pinned(harness.Case):
    """Another site's signer: pinned after it was compared, and the pin taken back."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.embedded_home("a"), cls.embedded_home("b")
        cls.pem = cls.a / "signers/document.pem"
        cls.ok("gen", "incoming", "--role", "transport", home=cls.b)
        (cls.dir / "incoming.request").write_text(cls.ok("show", "incoming", "--request", home=cls.b).out)
        cls.ok("signer", "trust", cls.b / "signers/document.pem", "--name", "site-b", home=cls.a)
        cls.ok("gen", "root", "--role", "kek", "--type", "aes-128", "--exportable", home=cls.a)
        cls.ok("gen", "cargo", "--role", "data", "--type", "aes-128", "--exportable", home=cls.a)
        cls.kek, cls.bundle = cls.dir / "root.kmk", cls.dir / "cargo.kmb"
        cls.ok("export-kek", "root", "--to-public-key", cls.dir / "incoming.request", "--out", cls.kek, home=cls.a)
        cls.ok("wrap", "cargo", "--kek", "root", "--out", cls.bundle, home=cls.a)

    def trusted(self, home):
        return [signer["name"] for signer in self.ok_json("signer", "list", home=home)["trusted"]]

    def test_it_is_taken_back(self):
        self.ok("signer", "trust", self.pem, "--name", "site-a", home=self.b)
        self.refused(66, "import-kek", self.kek, "--signer", self.dir / "none.pem", home=self.b)
        self.ok("import-kek", self.kek, "--activate", home=self.b)
        self.ok("unwrap", self.bundle, "--activate", home=self.b)
        self.refused(77, "signer", "distrust", "site-a", "--reason", "stolen", "--no-input", home=self.b, says="--yes")
        self.refused(64, "signer", "distrust", "site-a", "--reason", "", "--yes", home=self.b)
        self.refused(64, "signer", "distrust", "site-a", "--yes", home=self.b)
        self.refused(66, "signer", "distrust", "site-x", "--reason", "stolen", "--yes", home=self.b, says="kmtool signer list")
        other = self.embedded_home("c") / "signers/document.pem"
        self.refused(73, "signer", "trust", other, "--name", "site-a", home=self.b, says="kmtool signer distrust site-a --reason TEXT")
        words = ("signer", "distrust", "site-a", "--reason", "its token was stolen")
        dry = self.planned(*words, home=self.b)
        self.assertEqual(self.trusted(self.b), ["site-a"])
        said = self.ok(*words, "--yes", "--json", home=self.b)
        self.assertEqual(said.json(), dry)
        done = dry["distrusted"]
        self.assertEqual((done["name"], done["taken"], done["public_keys"]), ("site-a", ["import-kek root@1", f"unwrap {self.bundle}"], []))
        self.assertIn("on its word, and it stays: import-kek root@1", said.err)
        entry = [entry for entry in self.entries(self.b) if entry["command"] == "signer distrust"][-1]
        self.assertEqual(entry["details"], {"fingerprint": done["fingerprint"], "reason": "its token was stolen"})
        # What it signed, also before, is by someone unknown.
        self.assertEqual(self.trusted(self.b), [])
        self.assertEqual(self.kmtool("verify", self.bundle, home=self.b).code, 1)
        self.refused(77, "unwrap", self.bundle, "--as", "again", home=self.b, says="unknown")
        self.refused(77, "import-kek", self.kek, "--check", home=self.b)
        # Its name is free, and it can be pinned again.
        self.ok("signer", "trust", other, "--name", "site-a", home=self.b)
        self.ok("signer", "trust", self.pem, "--name", "site-a-again", home=self.b)
        self.ok("unwrap", self.bundle, "--check", home=self.b)
        for home in (self.a, self.b):
            self.ok("audit", "verify", home=home)
            self.assertIs(self.ok_json("doctor", home=home)["healthy"], True)

    def test_a_key_of_two_names_is_taken_back_under_both(self):
        """Else it would go on being trusted under the other."""
        home = self.embedded_home("e")
        self.ok("signer", "trust", self.pem, "--name", "one", home=home)
        self.ok("signer", "trust", self.pem, "--name", "two", home=home)
        self.assertEqual(self.trusted(home), ["one", "two"])
        done = self.ok_json("signer", "distrust", "one", "--reason", "a test", "--yes", home=home)["distrusted"]
        self.assertEqual(done["names"], ["one", "two"])
        self.assertEqual(self.trusted(home), [])
        self.ok("audit", "verify", home=home)

    def test_recipients_that_it_vouched_for(self):
        said = self.ok("signer", "distrust", "site-b", "--reason", "given up", "--yes", "--json", home=self.a)
        key = said.json()["distrusted"]["public_keys"]
        self.assertEqual(len(key), 1)
        self.assertIn(f"backups of a kek go on to the public key {key[0]}", said.err)
        self.refused(77, "export-kek", "root", "--to-public-key", self.dir / "incoming.request", "--out", self.dir / "never.kmk", home=self.a, says="someone unknown")
        self.ok("signer", "trust", self.b / "signers/document.pem", "--name", "site-b", home=self.a)

    def at_a_terminal(self, answer, *words, home):
        room = people.Room([harness.BINARY, "--home", home, *words], dict(os.environ, **self.env), self.dir)
        question = room.until("[y/N] ") if answer else ""
        if answer:
            room.say(answer)
        return room.end(), room.seen, question

    def test_at_a_terminal_it_is_compared_first(self):
        words = self.ok_json("signer", "show", home=self.a)["words"]
        home = self.embedded_home("d")
        pin = ("signer", "trust", self.pem, "--name", "site-a")
        code, seen, _ = self.at_a_terminal("n", *pin, home=home)
        self.assertEqual((code, self.trusted(home)), (1, []), seen)
        self.assertIn(words, seen.split("[y/N]")[0])
        self.assertIn("nothing was pinned", seen)
        self.assertEqual(self.at_a_terminal("y", *pin, home=home)[0], 0)
        self.assertEqual(self.at_a_terminal("", *pin, home=home)[0], 0)  # it is pinned: nothing is asked
        lift = ("signer", "distrust", "site-a", "--reason", "a test")
        self.assertEqual(self.at_a_terminal("n", *lift, home=home)[0], 1)
        self.assertEqual(self.trusted(home), ["site-a"])
        self.assertEqual(self.at_a_terminal("y", *lift, home=home)[0], 0)
        self.assertEqual(self.at_a_terminal("", *pin, "--yes", home=home)[0], 0)
        self.assertEqual(self.trusted(home), ["site-a"])


if __name__ == "__main__":
    harness.main()
