"""The record proven: what was done to database, checkpoints and token behind kmtool's back is found, named, and exit 65."""

import base64
import hashlib
import pathlib
import shutil
import sqlite3
import sys

import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
import forging  # noqa: E402


class Record(harness.Case):
    """A home with a few keys, a bundle, a refusal, and a wrong PIN."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "payments", "--role", "data", "--exportable", "--owner", "Zoë \x1b[31m")
        cls.ok("gen", "local", "--role", "mac")
        cls.kmtool("wrap", "local", "--kek", "root", "--out", cls.dir / "refused.kmb")
        cls.ok("wrap", "payments", "--kek", "root", "--out", cls.dir / "p.kmb")
        cls.ok("state", "local", "suspend", "--reason", "review")
        bad = cls.dir / "bad-pin"
        bad.write_text("0000\n")
        bad.chmod(0o600)
        cls.kmtool("gen", "never", "--role", "data", env={"KMTOOL_PIN_SOURCE": f"file:{bad}"})
        cls.ok("gen", "last", "--role", "sign")
        cls.log_pem = cls.home / "signers" / "log.pem"
        cls.away = harness.base_env(cls.dir)
        cls.away["KMTOOL_HOME"] = str(cls.dir / "nowhere")

    def setUp(self):
        """A copy of the journal as it is now, put back afterwards."""
        self.kept = self.dir / "journal.kept"
        self.database = self.home / "journal.db"
        connection = self.sql()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        shutil.copy(self.database, self.kept)

    def tearDown(self):
        self.put_back(self.kept)

    def put_back(self, copy):
        for suffix in ("-wal", "-shm"):
            pathlib.Path(str(self.database) + suffix).unlink(missing_ok=True)
        shutil.copy(copy, self.database)

    def sql(self):
        return sqlite3.connect(self.database, isolation_level=None)

    def row(self, query):
        connection = self.sql()
        found = connection.execute(query).fetchone()
        connection.close()
        return found

    def change(self, *statements):
        connection = self.sql()
        for statement in statements:
            connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)
        connection.close()

    def found(self, *says, more=()):
        """audit verify ends with 65 and names this; with --json too."""
        result = self.refused(65, "audit", "verify", *more, says=says)
        document = self.kmtool("audit", "verify", "--json", *more)
        self.assertEqual((document.code, document.out), (65, ""), document)
        for text in says:
            self.assertIn(text, document.error()["message"])
        return result

    # -- good -----------------------------------------------------------------------------------------------------------

    def test_good(self):
        entries = self.entries(self.home)
        for more in ((), ("--all-signatures",), ("--no-token",)):
            found = self.ok_json("audit", "verify", *more)
            self.assertEqual(found["entries"], len(entries))
            self.assertEqual(found["root"], base64.b64encode(forging.tree_root(self.leaves())).decode())
            self.assertEqual((found["checkpoint"], found["catalog"]), ("ok", "ok"))
            self.assertEqual(found["anchor"], "not checked" if "--no-token" in more else "ok")
            self.assertEqual(found["unauthenticated"], 1)
            self.assertEqual(found["signatures"], found["checkpoints"] + 1 if "--all-signatures" in more else 1)
        self.assertIn("catalog     ok", self.ok("audit", "verify").out)

    def leaves(self):
        connection = self.sql()
        rows = connection.execute("SELECT data FROM entries ORDER BY seq").fetchall()
        connection.close()
        return [row[0] for row in rows]

    # -- the database ------------------------------------------------------------------------------------------------------

    def test_entry_altered(self):
        self.change("UPDATE entries SET data = replace(data, 'payments', 'paymemts') WHERE seq = 3")
        self.found("entry 3 is not what was recorded")

    def test_entry_removed(self):
        self.change("DELETE FROM entries WHERE seq = 4")
        self.found("entry 4 is missing")

    def test_last_entries_removed(self):
        last = len(self.leaves()) - 1
        self.change(("DELETE FROM entries WHERE seq >= ?", (last,)))
        self.found("entries were removed from")

    def test_entries_reordered(self):
        self.change("CREATE TEMP TABLE swapped AS SELECT 7 - seq AS seq, data FROM entries WHERE seq IN (3, 4)",
                    "UPDATE entries SET data = (SELECT data FROM swapped WHERE swapped.seq = entries.seq) WHERE seq IN (3, 4)")
        self.found("entry 3 is not what was recorded", "entry at place 4 does not say that it is number 4")

    def test_entry_appended(self):
        n = len(self.leaves())
        line = self.leaves()[-1].replace(f'"seq":{n - 1},', f'"seq":{n},')
        self.change(("INSERT INTO entries(seq, data) VALUES(?, ?)", (n, line)))
        self.found(f"the tree has no hash of entry {n}")
        self.put_back(self.kept)
        connection = self.sql()
        forging.append_entry(connection, line)
        connection.close()
        self.found(f"entry {n} claims a login but no signed checkpoint covers it")

    def test_checkpoint_altered(self):
        size, note = self.row("SELECT size, note FROM checkpoints ORDER BY size LIMIT 1 OFFSET 3")
        lines = note.split("\n")
        root = lines[2]
        lines[2] = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
        self.change(("UPDATE checkpoints SET note = ? WHERE size = ?", ("\n".join(lines), size)))
        self.found(f"the checkpoint over the first {size} entries was altered")
        lines[2] = root
        lines[4] = lines[4][:-6] + ("AAAA" if lines[4][-6:-2] != "AAAA" else "BBBB") + lines[4][-2:]
        self.change(("UPDATE checkpoints SET note = ? WHERE size = ?", ("\n".join(lines), size)))
        self.ok("audit", "verify")
        self.found(f"the checkpoint over the first {size} entries is not signed", more=["--all-signatures"])

    def test_newest_checkpoint_altered(self):
        size, note = self.row("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1")
        start, last = note.rstrip("\n").rsplit(" ", 1)
        data = bytearray(base64.b64decode(last))
        data[-1] ^= 1
        self.change(("UPDATE checkpoints SET note = ? WHERE size = ?", (start + " " + base64.b64encode(data).decode() + "\n", size)))
        self.found("newest checkpoint is not signed by this home's log signer")

    def test_checkpoint_removed(self):
        size = self.row("SELECT size FROM checkpoints ORDER BY size LIMIT 1 OFFSET 3")[0]
        self.change(("DELETE FROM checkpoints WHERE size = ?", (size,)))
        self.found(f"the checkpoint over the first {size} entries is missing")

    def test_catalog_altered(self):
        connection = self.sql()
        connection.execute("UPDATE items SET value = replace(value, 'suspended', 'active') WHERE kind = 'version' AND id = 'local@1'")
        forging.mend_buckets(connection)
        connection.close()
        self.found("row version local@1 is not what entry")

    def test_yesterdays_copy(self):
        yesterday = self.dir / "yesterday.db"
        shutil.copy(self.kept, yesterday)
        self.ok("gen", "today", "--role", "data")
        connection = self.sql()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        today = self.dir / "today.db"
        shutil.copy(self.database, today)
        self.put_back(yesterday)
        self.found("rollback anchor stands at entry")
        self.kept = today

    # -- the token ---------------------------------------------------------------------------------------------------------

    def test_key_made_behind_its_back(self):
        made = self.pkcs11_tool(self.home, "--keygen", "--key-type", "AES:32", "--label", "smuggled", "--id", "beef")
        self.assertEqual(made.code, 0, made)
        self.found('secret key "smuggled" (id beef)', "behind kmtool's back")
        self.assertEqual(self.ok_json("audit", "verify", "--allow-foreign")["foreign_objects"], 1)
        gone = self.pkcs11_tool(self.home, "--delete-object", "--type", "secrkey", "--id", "beef")
        self.assertEqual(gone.code, 0, gone)
        self.ok("audit", "verify")

    def test_key_destroyed_behind_its_back(self):
        key = self.ok_json("gen", "victim", "--role", "data")["keys"][0]
        gone = self.pkcs11_tool(self.home, "--delete-object", "--type", "secrkey", "--id", key["id"])
        self.assertEqual(gone.code, 0, gone)
        self.found("key victim@1: 0 objects on the token instead of 1", "destroyed behind kmtool's back")
        self.kmtool("state", "victim@1", "compromise", "--reason", "vanished")
        self.ok("state", "victim@1", "destroy", "--reason", "it was destroyed behind our back", "--yes")
        self.ok("audit", "verify")
        connection = self.sql()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        shutil.copy(self.database, self.kept)  # the anchor has moved on


if __name__ == "__main__":
    harness.main()
