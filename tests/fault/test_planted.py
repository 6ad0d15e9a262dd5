"""A database that somebody wrote into, a home that was cloned or put back: found (65), and nothing is destroyed (acceptance 8)."""

import json
import pathlib
import shutil
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402
from forging import append_entry, bucket_of, mend_buckets  # noqa: E402


class Planted(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token)
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek")
        cls.victim = cls.ok_json("gen", "victim", "--role", "data", "--exportable")["keys"][0]
        cls.ok("wrap", "victim", "--kek", "root", "--out", cls.dir / "v.kmb")
        cls.clean = cls.dir / "clean"
        cls.put_aside(cls.home, cls.clean)
        cls.rows, cls.entry = cls.genuine_intent()

    @staticmethod
    def put_aside(source, target):
        """A copy of home and token as they are now."""
        shutil.copytree(source, target / "home")
        shutil.copytree(source.parent / "hsm", target / "hsm")

    def setUp(self):
        self.put_back()

    @classmethod
    def put_back(cls):
        for name in ("home", "hsm"):
            shutil.rmtree(cls.dir / name)
            shutil.copytree(cls.clean / name, cls.dir / name)

    @classmethod
    def genuine_intent(cls):
        """The rows and the entry of a real `gen` that was killed after its intent."""
        for number in range(1, 400):
            result = cls.kmtool("gen", "killed", "--role", "data", env={"KMFORWARD_KILL_AT": str(number)})
            if result.code == 0:
                raise AssertionError("a gen was never seen with an open intent")
            database = sqlite3.connect(cls.home / "journal.db")
            rows = database.execute("SELECT id, value FROM items WHERE kind = 'intent'").fetchall()
            entry = database.execute("SELECT data FROM entries ORDER BY seq DESC LIMIT 1").fetchone()[0]
            database.close()
            if rows:
                cls.put_back()
                return rows, json.loads(entry)
        raise AssertionError("no intent was found")

    def forged(self, rename):
        """The genuine intent, with the victim's CKA_ID (and label) for the key that it was going to make."""
        keys = [key for _, value in self.rows for key in json.loads(value).get("keys", [])]
        self.assertEqual(len(keys), 1)
        label, identity = keys[0][0], keys[0][1]
        change = lambda text: text.replace(identity, self.victim["id"]).replace(label, "victim@1" if rename else label)  # noqa: E731
        return [(row, change(value)) for row, value in self.rows], json.loads(change(json.dumps(self.entry)))

    def objects_but_anchors(self):
        anchor = json.loads((self.home / "config.json").read_text())["home_id"].replace("-", "")
        return sorted(json.dumps(o, sort_keys=True) for o in self.objects(self.home) if not o["id"].startswith(anchor))

    def found(self, plant):
        """After `plant(database)`: each way to go on ends with 65 and the token keeps every object."""
        for words in (("doctor", "--repair"), ("gen", "x", "--role", "data"), ("unwrap", self.dir / "v.kmb", "--as", "y"), ("wrap", "victim", "--kek", "root", "--out", self.dir / "w.kmb")):
            self.put_back()
            before = self.objects_but_anchors()
            database = sqlite3.connect(self.home / "journal.db")
            with database:
                plant(database)
            database.close()
            with self.subTest(words=words):
                result = self.refused(65, *words)
                self.assertEqual(self.objects_but_anchors(), before, result)
                self.assertFalse((self.dir / "w.kmb").exists())

    def test_undisturbed(self):
        self.ok("doctor", "--repair")
        self.ok("gen", "x", "--role", "data")

    def test_rows_alone(self):
        for rename in (False, True):
            rows, _ = self.forged(rename)

            def plant(database, rows=rows):
                seq = database.execute("SELECT max(seq) FROM entries").fetchone()[0]
                for row, value in rows:
                    database.execute("INSERT INTO items(kind, id, bucket, value, seq) VALUES('intent', ?, ?, ?, ?)", (row, bucket_of("intent", row), value, seq))

            self.found(plant)

    def test_rows_and_buckets(self):
        rows, _ = self.forged(True)

        def plant(database):
            seq = database.execute("SELECT max(seq) FROM entries").fetchone()[0]
            for row, value in rows:
                database.execute("INSERT INTO items(kind, id, bucket, value, seq) VALUES('intent', ?, ?, ?, ?)", (row, bucket_of("intent", row), value, seq))
            mend_buckets(database)

        self.found(plant)

    def test_entry_with_tree_rows_and_buckets(self):
        """Everything an attacker without the token can make right."""
        rows, entry = self.forged(True)

        def plant(database):
            forged = dict(entry, seq=database.execute("SELECT max(seq) + 1 FROM entries").fetchone()[0])
            seq = append_entry(database, json.dumps(forged, separators=(",", ":")))
            for row, value in rows:
                database.execute("INSERT INTO items(kind, id, bucket, value, seq) VALUES('intent', ?, ?, ?, ?)", (row, bucket_of("intent", row), value, seq))
            mend_buckets(database)

        self.found(plant)

    def test_entry_that_claims_a_login(self):
        _, entry = self.forged(True)

        def plant(database):
            forged = dict(entry, seq=database.execute("SELECT max(seq) + 1 FROM entries").fetchone()[0])
            append_entry(database, json.dumps(forged, separators=(",", ":")))

        self.found(plant)

    def test_entry_without_its_hashes(self):
        def plant(database):
            seq = database.execute("SELECT max(seq) + 1 FROM entries").fetchone()[0]
            database.execute("INSERT INTO entries(seq, data) VALUES(?, ?)", (seq, json.dumps(dict(self.entry, seq=seq))))

        self.found(plant)

    def test_catalog_rewritten(self):
        """A key that may not leave is made exportable in the catalog."""
        for mend in (False, True):
            def plant(database, mend=mend):
                identity, value = database.execute("SELECT id, value FROM items WHERE kind = 'version' AND id LIKE 'victim%'").fetchone()
                changed = value.replace('"active"', '"compromised"')
                self.assertNotEqual(changed, value)
                database.execute("UPDATE items SET value = ? WHERE kind = 'version' AND id = ?", (changed, identity))
                if mend:
                    mend_buckets(database)

            self.found(plant)

    def test_catalog_row_removed(self):
        def plant(database):
            self.assertGreater(database.execute("DELETE FROM items WHERE kind = 'version' AND id LIKE 'victim%'").rowcount, 0)
            mend_buckets(database)

        self.found(plant)

    def test_trigger(self):
        """The database itself adds a row to what kmtool is about to sign."""
        def plant(database):
            bucket = bucket_of("intents", "open")
            name = next(f"evil{n}" for n in range(100000) if bucket_of("trust", f"evil{n}") == bucket)
            database.execute(f"CREATE TRIGGER planted AFTER INSERT ON items BEGIN INSERT OR IGNORE INTO items VALUES('trust', '{name}', {bucket}, '{{}}', 1); END")

        self.found(plant)

    def test_table_dropped(self):
        self.found(lambda database: database.execute("DROP TABLE hashes"))

    def test_rows_where_the_next_will_be(self):
        def plant(database):
            database.execute("INSERT INTO hashes(id, hash) SELECT max(id) + 1, hash FROM hashes")

        self.found(plant)

    def test_history_rewritten(self):
        def plant(database):
            database.execute("UPDATE entries SET data = replace(data, 'victim', 'vIctim') WHERE seq = (SELECT max(seq) FROM entries)")

        self.found(plant)

    def test_history_cut(self):
        """The newest entries, hashes and checkpoints are gone: the anchor on the token knows better."""
        def plant(database):
            size = database.execute("SELECT max(size) FROM checkpoints").fetchone()[0]
            keep = database.execute("SELECT max(size) FROM checkpoints WHERE size < ?", (size - 2,)).fetchone()[0]
            database.execute("DELETE FROM checkpoints WHERE size > ?", (keep,))
            database.execute("DELETE FROM entries WHERE seq >= ?", (keep,))

        self.found(plant)


class Clones(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token)
        cls.ok("gen", "root", "--role", "kek", home=cls.home)

    def test_clone_is_found_at_its_next_mutation(self):
        clone = self.dir / "clone"
        shutil.copytree(self.home, clone)
        self.ok("gen", "first", "--role", "data", home=self.home)
        before = self.snapshot(clone)
        result = self.refused(65, "gen", "second", "--role", "data", home=clone)
        self.assertIn("hint: ", result.err)
        self.refused(65, "doctor", "--repair", home=clone)
        self.refused(65, "wrap", "root", "--kek", "root", "--out", self.dir / "x.kmb", home=clone)
        self.assertEqual(self.snapshot(clone), before)
        self.ok("gen", "third", "--role", "data", home=self.home)
        self.assertIs(self.ok_json("doctor", home=self.home)["healthy"], True)

    def test_old_copy_put_back(self):
        old = self.dir / "old"
        shutil.copytree(self.home, old)
        self.ok("gen", "later", "--role", "data", home=self.home)
        kept = self.dir / "kept"
        self.home.rename(kept)
        shutil.copytree(old, self.home)
        try:
            self.refused(65, "gen", "again", "--role", "data", home=self.home)
            self.ok("list", home=self.home)
        finally:
            shutil.rmtree(self.home)
            kept.rename(self.home)
        self.ok("gen", "again", "--role", "data", home=self.home)


if __name__ == "__main__":
    harness.main()
