"""Homes that are lost, moved, restored, or put back to an older state: nothing of them is destroyed."""

import fcntl
import itertools
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import threading
import time
import unittest

import harness


class Homes(harness.Case):
    def setUp(self):
        self.home = self.dir / self.id().rsplit(".", 1)[-1]
        self.env = dict(self.env, KMTOOL_HOME=str(self.home))
        self.run_in(self.home, "init", "--embedded")
        self.run_in(self.home, "gen", "root", "--role", "kek")

    def run_in(self, home, *words):
        return self.ok(*words, home=home)

    def test_init_over_a_home_without_config(self):
        config = self.home / "config.json"
        kept = config.read_bytes()
        config.unlink()
        before = {path: path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        self.refused(73, "init", "--embedded", home=self.home, says="config.json")
        self.assertEqual({path: path.read_bytes() for path in self.home.rglob("*") if path.is_file()}, before)
        # Nor where the mark of an unfinished init was left behind.
        (self.home / "init.unfinished").touch()
        self.refused(73, "init", "--embedded", home=self.home)
        config.write_bytes(kept)
        config.chmod(0o600)
        self.run_in(self.home, "gen", "more", "--role", "data")
        self.assertFalse((self.home / "init.unfinished").exists())
        self.assertIs(self.ok_json("doctor", home=self.home)["healthy"], True)

    def test_restore_over_a_journal_without_config(self):
        """The journal that is there may be newer than the backup."""
        backup = self.dir / "older.kmh"
        self.run_in(self.home, "home", "backup", backup)
        self.run_in(self.home, "gen", "newer", "--role", "data")
        (self.home / "config.json").unlink()
        before = (self.home / "journal.db").read_bytes()
        self.refused(73, "home", "restore", backup, home=self.home)
        self.assertEqual((self.home / "journal.db").read_bytes(), before)
        # What the refusal of init says to do.
        subprocess.run(["sqlite3", "-A", "-x", "-f", backup, "config.json"], cwd=self.home, check=True)
        self.run_in(self.home, "gen", "newest", "--role", "data")
        self.run_in(self.home, "home", "restore", backup, "--force")
        self.run_in(self.home, "list")

    def test_parts_that_others_can_write(self):
        for name in ("journal.db", "journal.db-wal", "signers", "token"):
            part = self.home / name
            mode = part.stat().st_mode & 0o777
            part.chmod(mode | 0o002)
            with self.subTest(part=name):
                self.refused(78, "list", home=self.home, says=["chmod", name])
            part.chmod(mode)
        self.run_in(self.home, "list")

    def test_a_lost_token_object(self):
        """Empty and missing are told apart; either comes back from the copy."""
        [file] = self.home.glob("token/*/token.object")
        whole = file.read_bytes()
        for lose, says in ((file.unlink, "token.object is missing from its folder"), (lambda: file.write_bytes(b""), "token.object is empty")):
            lose()
            self.refused(69, "gen", "x", "--role", "data", home=self.home, says=(says, "doctor --repair"))
            self.run_in(self.home, "doctor", "--repair")
            self.assertEqual(len(file.read_bytes()), len(whole))
            self.assertIs(self.ok_json("doctor", home=self.home)["healthy"], True)

    def test_moved(self):
        moved = self.dir / "moved-home"
        self.home.rename(moved)
        self.run_in(moved, "gen", "here", "--role", "data")
        self.assertIs(self.ok_json("doctor", home=moved)["healthy"], True)

    def test_restore_of_what_is_no_backup(self):
        backup = self.dir / "good.kmh"
        self.run_in(self.home, "home", "backup", backup)
        database = sqlite3.connect(backup)
        journal = self.dir / "journal-in-backup.db"
        journal.write_bytes(database.execute("SELECT data FROM sqlar WHERE name = 'journal.db'").fetchone()[0])
        inside = sqlite3.connect(journal)
        with inside:
            inside.execute("UPDATE items SET value = replace(value, 'active', 'compromised') WHERE kind = 'version'")
        inside.close()
        with database:
            data = journal.read_bytes()
            database.execute("UPDATE sqlar SET data = ?, sz = ? WHERE name = 'journal.db'", (data, len(data)))
        database.close()
        before = (self.home / "config.json").read_bytes()
        self.refused(65, "home", "restore", backup, "--force", home=self.home)
        self.assertEqual((self.home / "config.json").read_bytes(), before)
        self.assertIs(self.ok_json("doctor", home=self.home)["healthy"], True)

    def test_rollback_to_open_work(self):
        """A copy of the home from the middle of `gen`, put back after that came to its end: its keys stay."""
        for number in range(1, 400):
            older = self.dir / "older"
            shutil.rmtree(older, ignore_errors=True)
            result = self.kmtool("gen", "many", "--role", "data", "--count", "5", home=self.home, env={"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(number)})
            database = sqlite3.connect(self.home / "journal.db")
            rows = database.execute("SELECT count(*) FROM items WHERE kind = 'intent'").fetchone()[0]
            database.close()
            if rows:
                break
            if result.code == 0:
                self.fail("no kill point with open work was found")
        database = sqlite3.connect(self.home / "journal.db")
        database.execute("VACUUM INTO ?", (str(self.dir / "open.db"),))
        database.close()
        self.run_in(self.home, "doctor", "--repair")
        self.run_in(self.home, "gen", "later", "--role", "data", "--count", "5")
        objects = len(self.objects(self.home))
        for tail in ("", "-wal", "-shm"):
            (self.home / f"journal.db{tail}").unlink(missing_ok=True)
        shutil.copy(self.dir / "open.db", self.home / "journal.db")
        (self.home / "journal.db").chmod(0o600)
        self.refused(65, "gen", "x", "--role", "data", home=self.home)
        self.run_in(self.home, "doctor", "--accept-rollback", "--reason", "a test")
        self.run_in(self.home, "gen", "after", "--role", "data")
        self.assertEqual(len(self.objects(self.home)), objects + 1)

    def test_looking_beside_work(self):
        """verify and doctor while another process makes keys: nothing is called tampered with."""
        bundle = self.dir / "beside.kmb"
        self.run_in(self.home, "gen", "cargo", "--role", "data", "--exportable")
        self.run_in(self.home, "wrap", "cargo", "--kek", "root", "--out", bundle)
        for number in range(15):
            with subprocess.Popen([harness.BINARY, "gen", f"beside-{number}", "--role", "data"], env=self.env, stdout=subprocess.DEVNULL) as making:
                while making.poll() is None:
                    self.run_in(self.home, "verify", bundle)
                    self.assertIs(self.ok_json("doctor", home=self.home)["healthy"], True)
            self.assertEqual(making.returncode, 0)

    def test_what_the_token_does_is_believed_from_a_signed_entry_only(self):
        """A profile decides which mechanism number is RFC 5649: nobody without the PIN may write one."""
        database = sqlite3.connect(self.home / "journal.db")
        self.addCleanup(database.close)
        key, value = database.execute("SELECT id, value FROM items WHERE kind = 'profile'").fetchone()
        profile = json.loads(value)
        self.assertEqual((profile["kwp_mechanism"], profile["relabels"]), (0x210A, True))
        changed = json.dumps(dict(profile, kwp_mechanism=0, modifiable_enforced=False), separators=(",", ":"))
        database.execute("UPDATE items SET value = ? WHERE kind = 'profile'", (changed,))
        database.commit()
        self.refused(65, "gen", "misled", "--role", "data", home=self.home, says="catalog")
        database.execute("UPDATE items SET value = ? WHERE kind = 'profile'", (value,))
        database.execute("INSERT INTO items(kind, id, bucket, value, seq) SELECT kind, ?, bucket, ?, seq FROM items WHERE kind = 'profile'", ("0" * 64, changed))
        database.commit()
        self.refused(65, "gen", "misled", "--role", "data", home=self.home, says="catalog")
        database.execute("DELETE FROM items WHERE kind = 'profile' AND id <> ?", (key,))
        database.commit()
        self.ok("doctor", home=self.home)

    def test_another_module_is_asked_and_noted(self):
        config = self.home / "config.json"
        original = config.read_text()
        copy = self.dir / "another-softhsm.so"
        shutil.copy(harness.SOFTHSM, copy)
        with open(copy, "ab") as module:
            module.write(b"\0")  # the same library with another digest
        before = len(self.entries(self.home))
        config.write_text(original.replace(harness.SOFTHSM, str(copy)))
        try:
            self.ok("list", home=self.home)
            self.assertEqual(len(self.entries(self.home)), before)
            self.ok("gen", "asked", "--role", "data", "--dry-run", home=self.home)
            self.assertEqual(len(self.entries(self.home)), before)
            self.ok("gen", "asked", "--role", "data", home=self.home)
            notes = [entry for entry in self.entries(self.home)[before:] if entry["command"] == "token profile"]
            self.assertEqual([entry["details"]["module"] for entry in notes], [str(copy)])
            self.ok("gen", "asked-again", "--role", "data", home=self.home)
            self.assertEqual([e["command"] for e in self.entries(self.home)].count("token profile"), 1)
        finally:
            config.write_text(original)


class Backup(harness.Case):
    """A backup is of one moment, and waits for nobody."""

    def setUp(self):
        self.home = self.embedded_home(self.id().rsplit(".", 1)[-1])
        self.file = self.dir / f"{self.home.name}.kmh"

    def inside(self, name):
        database = sqlite3.connect(self.file)
        data = database.execute("SELECT data FROM sqlar WHERE name = ? AND sz = length(data)", (name,)).fetchone()[0]
        database.close()
        return data

    def test_beside_a_change(self):
        with open(self.home / "mutate.lock", "ab") as lock:
            os.chmod(lock.fileno(), 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.ok("home", "backup", self.file, home=self.home)

    def test_by_a_checkpoint_sink(self):
        """It runs while the command that tells it holds the home."""
        program = self.dir / "push"
        program.write_text(f"#!/bin/sh\n{harness.BINARY} --home {self.home} home backup {self.file} --force\n")
        program.chmod(0o700)
        policy = self.home / "policy.json"
        policy.write_text(policy.read_text().replace('"checkpoint_sink": null', f'"checkpoint_sink": "exec:{program}"'))
        self.ok("policy", "accept", home=self.home)
        self.ok("gen", "k", "--role", "data", home=self.home)
        self.assertEqual(self.inside("policy.json"), policy.read_bytes())

    def test_files_that_change_all_the_time(self):
        key = self.home / "signers" / "log.pem"
        text, stop = key.read_bytes(), threading.Event()

        def change():
            for number in itertools.count():
                (self.home / "signers" / "next").write_bytes(text + b"\n" * (number % 50))
                os.replace(self.home / "signers" / "next", key)
                if stop.is_set():
                    return

        changing = threading.Thread(target=change)
        changing.start()
        try:
            result = self.kmtool("home", "backup", self.file, home=self.home)
        finally:
            stop.set()
            changing.join()
        self.assertEqual(result.code, 75, result)
        self.assertIn("changed each time", result.err)
        self.assertEqual([path for path in self.dir.glob(".kmtool-backup-*")], [])
        self.assertFalse(self.file.exists())
        self.ok("home", "backup", self.file, home=self.home)
        self.assertEqual(self.inside("signers/log.pem"), key.read_bytes())


if __name__ == "__main__":
    harness.main()
