"""What somebody without the PIN changed in a home: doctor says it, and what the token can vouch for is put right again."""

import os
import sqlite3
import unittest

import harness


class Mended(harness.Case):
    def setUp(self):
        self.home = self.dir / self.id().rsplit(".", 1)[-1]
        type(self).env = dict(self.env, KMTOOL_HOME=str(self.home))
        self.ok("init", "--embedded")
        self.ok("gen", "root", "--role", "kek", "--exportable")
        self.ok("gen", "payments", "--role", "data", "--exportable")

    def doctor(self, *words, code=0):
        result = self.kmtool("doctor", *words, "--json")
        self.assertEqual(result.code, code, result)
        return result.json()

    def signers_check(self, document):
        return next(check for check in document["checks"] if check["what"] == "signers")

    def test_an_old_entry_edited_or_deleted(self):
        database = sqlite3.connect(self.home / "journal.db")
        self.addCleanup(database.close)
        genuine = database.execute("SELECT data FROM entries WHERE seq = 1").fetchone()[0]
        text = genuine if isinstance(genuine, str) else genuine.decode()
        self.assertIn('"gen"', text)
        database.execute("UPDATE entries SET data = ? WHERE seq = 1", (text.replace('"gen"', '"neg"', 1),))
        database.commit()
        self.refused(65, "doctor", says="entry 1")
        database.execute("DELETE FROM entries WHERE seq = 1")
        database.commit()
        self.refused(65, "doctor", says="entry 1")
        database.execute("INSERT INTO entries(seq, data) VALUES(1, ?)", (genuine,))
        database.commit()
        self.doctor()

    def test_signer_files_swapped_or_lost(self):
        genuine = {name: (self.home / "signers" / name).read_bytes() for name in ("document.pem", "log.pem")}
        document = self.home / "signers/document.pem"
        document.write_bytes(genuine["log.pem"])
        self.assertEqual(self.signers_check(self.doctor(code=1))["verdict"], "bad")
        self.assertIn("wrote signers/document.pem anew", self.doctor("--repair")["repaired"])
        self.assertEqual(document.read_bytes(), genuine["document.pem"])
        document.unlink()
        self.doctor(code=1)
        (self.home / "signers/log.pem").unlink()
        self.refused(66, "doctor", says="doctor --repair")
        self.refused(66, "gen", "more", "--role", "data")
        self.doctor("--repair")
        for name, data in genuine.items():
            self.assertEqual((self.home / "signers" / name).read_bytes(), data)
        self.doctor()

    def test_lost_log_pem_and_a_journal_of_another(self):
        """The database may name any key: only one that the token holds is believed."""
        other = self.dir / "other"
        self.ok("init", "--embedded", home=other)
        for name in ("journal.db", "journal.db-wal"):
            (self.home / name).write_bytes((other / name).read_bytes())
        (self.home / "journal.db-shm").unlink(missing_ok=True)
        (self.home / "signers/log.pem").unlink()
        self.refused(65, "doctor", "--repair")
        self.assertFalse((self.home / "signers/log.pem").exists())

    def test_document_signer_lost_on_the_token(self):
        label = next(s["name"] for s in self.ok_json("signer", "list")["signers"] if s["name"].startswith("document"))
        config = self.ok_json("doctor")
        self.assertTrue(config["healthy"])
        self.remove_from_token("kmtool-document-signer-")
        self.assertIn("signer rotate", self.signers_check(self.doctor(code=1))["detail"])
        self.refused(65, "wrap", "payments", "--kek", "root", "--out", self.dir / "no.kmb", says="signer rotate")
        self.assertFalse((self.dir / "no.kmb").exists())
        self.ok("signer", "rotate")
        self.doctor()
        self.ok("wrap", "payments", "--kek", "root", "--out", self.dir / "yes.kmb")
        self.ok("verify", self.dir / "yes.kmb")
        self.assertNotEqual(label, "")

    def remove_from_token(self, prefix):
        """As another tool with the PIN would."""
        import json
        import subprocess
        pin = (self.home / "token.pin").read_text().strip() if (self.home / "token.pin").exists() else ""
        conf = self.home / "softhsm2.conf"
        env = dict(os.environ, SOFTHSM2_CONF=str(conf))
        if not conf.exists():
            scratch = self.dir / "remove.conf"
            scratch.write_text(f"directories.tokendir = {self.home}/token\nobjectstore.backend = file\n")
            env["SOFTHSM2_CONF"] = str(scratch)
        listed = subprocess.run(["pkcs11-tool", "--module", harness.SOFTHSM, "--login", "--pin", pin, "--list-objects", "--type", "privkey"],
                                env=env, capture_output=True, text=True, check=True).stdout
        label = next(line.split(":", 1)[1].strip() for line in listed.splitlines() if prefix in line)
        subprocess.run(["pkcs11-tool", "--module", harness.SOFTHSM, "--login", "--pin", pin, "--delete-object", "--type", "privkey", "--label", label],
                       env=env, capture_output=True, text=True, check=True)

    def test_journal_replaced_by_something_else(self):
        journal = self.home / "journal.db"
        kept = journal.with_name("kept")
        journal.rename(kept)
        self.refused(66, "list", says="home restore")
        os.mkfifo(journal, 0o600)
        self.refused(78, "list", says="journal.db")
        journal.unlink()
        journal.symlink_to(kept)
        self.refused(78, "list", says="journal.db")

    def test_restoring_what_is_no_backup(self):
        empty = self.dir / "empty"
        empty.write_bytes(b"")
        self.refused(65, "home", "restore", empty, home=self.dir / "new", says="not a kmtool home backup")
        (self.dir / "text").write_bytes(b"no database, but a text that is longer than the header of one " * 20)
        self.refused(65, "home", "restore", self.dir / "text", home=self.dir / "new", says=["not a kmtool home backup", "kmtool home backup wrote"])
        with sqlite3.connect(self.dir / "foreign.db") as database:
            database.execute("CREATE TABLE t(a)")
        self.refused(65, "home", "restore", self.dir / "foreign.db", home=self.dir / "new", says="not a kmtool home backup")

    def test_times_that_cannot_be_written(self):
        for time in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:00"):
            self.refused(64, "gen", "late", "--role", "data", "--activate-at", time)


if __name__ == "__main__":
    harness.main()
