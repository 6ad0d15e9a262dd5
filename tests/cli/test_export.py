"""The record in the hands of somebody else: exports, proofs, witnesses; checked with another implementation too (golang.org/x/mod/sumdb)."""

import base64
import os
import pathlib
import shutil
import sqlite3
import subprocess
import unittest

import harness

HERE = pathlib.Path(__file__).resolve().parent
GO_PATH = pathlib.Path("/usr/share/gocode")


class Exported(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")
        cls.pem = cls.home / "signers" / "log.pem"
        cls.away = harness.base_env(cls.dir)  # neither home nor token
        cls.away["KMTOOL_HOME"] = str(cls.dir / "nowhere")
        # More than one tile's worth: each rotated key is an intent and an outcome.
        cls.ok("gen", "bulk", "--role", "data", "--count", "130")
        cls.ok("rotate", "--all")

    @classmethod
    def other_home(cls, name):
        """An embedded home, and the environment in which it finds its own PIN."""
        env = dict(cls.env, KMTOOL_HOME=str(cls.dir / name))
        del env["KMTOOL_PIN_SOURCE"]
        made = harness.run_program([harness.BINARY, "init", "--embedded"], env)
        assert made.code == 0, made
        return cls.dir / name, {"KMTOOL_HOME": str(cls.dir / name), "KMTOOL_PIN_SOURCE": ""}

    def verify_away(self, folder, *more):
        return self.kmtool("audit", "verify", folder, "--signer", self.pem, *more, env=self.away)

    def test_layout_and_verify(self):
        folder = self.dir / "export"
        done = self.ok_json("audit", "export", folder)
        size = done["entries"]
        self.assertGreater(size, 256)
        files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        rest = size - 256
        self.assertEqual(files, sorted(["checkpoint", "signer.pem", "signer.vkey", "tile/0/000", f"tile/0/001.p/{rest}", "tile/1/000.p/1", "tile/entries/000",
                                        f"tile/entries/001.p/{rest}"]))
        self.assertEqual((folder / "signer.pem").read_text(), self.pem.read_text())
        self.assertEqual((folder / "signer.vkey").read_text().strip(), done["verifier_key"])
        result = self.verify_away(folder, "--json")
        self.assertEqual(result.code, 0, result)
        found = result.json()
        self.assertEqual((found["entries"], found["root"], found["checkpoint"]), (size, done["root"], "ok"))
        self.assertEqual(found["root"], self.ok_json("audit", "verify")["root"])
        # Every file counts; each change is found.
        for name in files:
            path = folder / name
            original = path.read_bytes()
            if name.startswith("signer"):
                continue
            for at in (0, len(original) // 2, len(original) - 1):
                path.write_bytes(original[:at] + bytes([original[at] ^ 1]) + original[at + 1:])
                self.assertEqual(self.verify_away(folder).code, 65, f"{name} at {at}")
            path.write_bytes(original[:-1])
            self.assertEqual(self.verify_away(folder).code, 65, name)
            path.unlink()
            self.assertEqual(self.verify_away(folder).code, 66, name)
            path.write_bytes(original)
        other = self.home / "signers" / "document.pem"
        self.assertEqual(self.kmtool("audit", "verify", folder, "--signer", other, env=self.away).code, 65)
        self.refused(64, "audit", "verify", folder, says="--signer", env=self.away)

    def test_a_pipe_in_a_files_place_does_not_hang(self):
        folder = self.dir / "piped"
        self.ok("audit", "export", folder)
        for name in ("checkpoint", "tile/entries/000"):
            path = folder / name
            original = path.read_bytes()
            path.unlink()
            os.mkfifo(path)
            self.refused(65, "audit", "verify", folder, "--signer", self.pem, says="not a regular file", env=self.away, timeout=20)
            path.unlink()
            path.write_bytes(original)
        os.mkfifo(self.dir / "pipe")
        (folder / "handovers").mkdir(exist_ok=True)
        (folder / "handovers/2").symlink_to(self.dir / "pipe")
        other = self.home / "signers" / "document.pem"
        self.refused(65, "audit", "verify", folder, "--signer", other, says="not a regular file", env=self.away, timeout=20)

    def test_an_entry_altered_is_named(self):
        folder = self.dir / "altered"
        self.ok("audit", "export", folder)
        bundle = folder / "tile/entries/000"
        bundle.write_bytes(bundle.read_bytes().replace(b'"command":"init"', b'"command":"Init"'))
        result = self.verify_away(folder)
        self.assertEqual(result.code, 65, result)
        self.assertIn("entry 0 is not what tile/0/000 was made from", result.err)

    def test_again_brings_it_up_to_date(self):
        folder = self.dir / "again"
        first = self.ok_json("audit", "export", folder)
        shutil.copy(folder / "checkpoint", self.dir / "first-checkpoint")
        same = self.ok_json("audit", "export", folder)
        self.assertEqual((same["written"], same["entries"]), (0, first["entries"]))
        self.ok("gen", "more", "--role", "mac")
        second = self.ok_json("audit", "export", folder)
        self.assertEqual(second["entries"], first["entries"] + 2)
        self.assertGreaterEqual(second["kept"], 2)
        self.assertEqual(self.verify_away(folder).code, 0)

    def test_other_folders_are_left_alone(self):
        folder = self.dir / "mine"
        folder.mkdir(mode=0o700)
        (folder / "letter").write_text("x")
        self.refused(73, "audit", "export", folder, says="other files")
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["letter"])
        (folder / "letter").unlink()
        (self.dir / "elsewhere").mkdir(mode=0o700)
        (folder / "tile").symlink_to(self.dir / "elsewhere")
        self.refused(73, "audit", "export", folder, says="other files")
        self.assertEqual(list((self.dir / "elsewhere").iterdir()), [])

    def test_links_and_pipes_inside_are_not_followed(self):
        (self.dir / "outside").mkdir(mode=0o700)
        for number, (name, put) in enumerate((("tile/entries/000.p", lambda path: path.symlink_to(self.dir / "outside")),
                                              ("tile/0", lambda path: path.symlink_to(self.dir / "outside")), ("checkpoint", os.mkfifo),
                                              ("tile", lambda path: path.write_text("x")), ("checkpoint", os.mkdir), ("handovers/2", os.mkfifo))):
            folder = self.dir / f"inside-{number}"
            (folder / name).parent.mkdir(parents=True)
            put(folder / name)
            for more in ([], ["--dry-run"]):
                self.refused(73, "audit", "export", folder, *more, says="other files")
        self.assertEqual(list((self.dir / "outside").iterdir()), [])

    def test_a_dry_run_makes_nothing(self):
        self.ok("audit", "export", self.dir / "dry", "--dry-run")
        self.assertFalse((self.dir / "dry").exists())
        (self.dir / "file").write_text("x")
        (self.dir / "nowhere").symlink_to(self.dir / "no")
        for place in (self.dir / "file", self.dir / "file/below", self.dir / "nowhere"):
            with self.subTest(place):
                real, dry = (self.kmtool("audit", "export", place, *more) for more in ((), ("--dry-run",)))
                self.assertEqual((real.code, dry.code), (73, 73), (real, dry))
        self.ok("audit", "export", self.dir / "dry/and/deep", "--dry-run")
        self.assertFalse((self.dir / "dry").exists())

    def test_a_journal_that_does_not_verify_is_not_exported(self):
        home, env = self.other_home("broken")
        database = sqlite3.connect(home / "journal.db", isolation_level=None)
        database.execute("UPDATE hashes SET hash = zeroblob(32) WHERE id = 0")
        database.close()
        self.refused(65, "audit", "export", self.dir / "broken-export", env=env)
        self.assertFalse((self.dir / "broken-export").exists())

    # -- proofs ---------------------------------------------------------------------------------------------------------------

    def test_inclusion(self):
        proof = self.dir / "one.tlog-proof"
        self.ok("audit", "prove", "3", "--out", proof)
        self.refused(73, "audit", "prove", "3", "--out", proof)
        self.assertEqual(self.ok("audit", "prove", "3").out, proof.read_text())
        entry = self.sql_entry(3)
        result = self.kmtool("audit", "verify-proof", proof, "--signer", self.pem, env=self.away)
        self.assertEqual(result.code, 0, result)
        self.assertIn(entry, result.out)
        path = self.dir / "entry"
        path.write_text(entry + "\n")
        self.ok("audit", "verify-proof", proof, "--signer", self.pem, "--entry", path, env=self.away)
        path.write_text(entry.replace("gen", "gem"))
        self.refused(65, "audit", "verify-proof", proof, "--signer", self.pem, "--entry", path, env=self.away)
        text = proof.read_text()
        other = "B" if text[-10] == "A" else "A"  # the signature's digit may be an A already
        for bad in (text.replace("index 3", "index 2"), text.replace("\nextra ", "\nextra AAAA"), text.replace("\n\n", "\nAAAA\n\n", 1), text[:-10] + other + text[-9:]):
            proof.write_text(bad)
            self.assertEqual(self.kmtool("audit", "verify-proof", proof, "--signer", self.pem, env=self.away).code, 65, bad)
        self.refused(66, "audit", "prove", "100000", says="no entry 100000")

    def sql_entry(self, seq):
        database = sqlite3.connect(f"file:{self.home}/journal.db?mode=ro", uri=True)
        row = database.execute("SELECT data FROM entries WHERE seq = ?", (seq,)).fetchone()
        database.close()
        return row[0]

    def test_consistency(self):
        old = self.dir / "old-checkpoint"
        self.ok("audit", "checkpoint", "--out", old)
        self.ok("gen", "grown", "--role", "mac")
        proof = self.dir / "grown.proof"
        found = self.ok_json("audit", "consistency", old, "--out", proof)
        self.assertEqual(found["size"], found["old_size"] + 2)
        self.ok("audit", "verify-proof", proof, "--signer", self.pem, "--old", old, env=self.away)
        self.refused(64, "audit", "verify-proof", proof, "--signer", self.pem, says="--old", env=self.away)
        text = old.read_text()
        old.write_text(text.replace(f"\n{found['old_size']}\n", f"\n{found['old_size'] - 1}\n"))
        self.refused(65, "audit", "consistency", old)
        _, other = self.other_home("other")
        old.write_text(self.ok("audit", "checkpoint", env=other).out)
        self.refused(65, "audit", "consistency", old, says="another log")

    def test_a_rewritten_journal_is_not_consistent(self):
        """Somebody with the PIN makes another history: the checkpoint kept elsewhere shows it."""
        home, env = self.other_home("rewritten")
        fork = self.dir / "fork.db"
        database = sqlite3.connect(home / "journal.db", isolation_level=None)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        shutil.copy(home / "journal.db", fork)
        self.ok("gen", "a", "--role", "data", env=env)
        kept = self.dir / "kept"
        self.ok("audit", "checkpoint", "--out", kept, env=env)
        for suffix in ("-wal", "-shm"):
            (home / f"journal.db{suffix}").unlink(missing_ok=True)
        shutil.copy(fork, home / "journal.db")
        self.ok("doctor", "--accept-rollback", "--reason", "test", env=env)
        self.ok("gen", "b", "--role", "data", env=env)
        self.refused(65, "audit", "consistency", kept, env=env, says="rewritten")

    # -- another implementation ------------------------------------------------------------------------------------------------

    @unittest.skipUnless(shutil.which("go") and (GO_PATH / "src/golang.org/x/mod/sumdb").is_dir(), "golang-go and golang-golang-x-mod-dev are not installed")
    def test_sumdb(self):
        env = dict(os.environ, GO111MODULE="off", GOPATH=str(GO_PATH), GOCACHE=str(self.dir / "gocache"), GOFLAGS="", HOME=str(self.dir))
        program = self.dir / "sumdb_check"
        subprocess.run(["go", "build", "-o", program, HERE / "sumdb_check.go"], env=env, check=True)
        folder, proof, old, grown = (self.dir / name for name in ("go-export", "go.tlog-proof", "go-old", "go-grown"))
        self.ok("audit", "checkpoint", "--out", old)
        self.ok("state", "bulk-0002@2", "suspend", "--reason", "grow")
        self.ok("audit", "export", folder)
        self.ok("audit", "prove", "257", "--out", proof)
        self.ok("audit", "consistency", old, "--out", grown)
        done = harness.run_program([program, folder, proof, grown, old], self.env)
        self.assertEqual(done.code, 0, done)
        self.assertIn("inclusion of 257", done.out)
        self.assertIn("consistency from", done.out)
        print(done.out.strip())
        # It does find what is wrong.
        tile = folder / "tile/0/000"
        data = tile.read_bytes()
        tile.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        self.assertEqual(harness.run_program([program, folder], self.env).code, 1)

    # -- witnesses -----------------------------------------------------------------------------------------------------------

    def test_witness(self):
        _, witness = self.other_home("witness")
        checkpoint, cosigned = self.dir / "w1", self.dir / "w1.cosigned"
        self.ok("audit", "checkpoint", "--out", checkpoint)
        first = self.ok_json("audit", "cosign", checkpoint, "--signer", self.pem, "--out", cosigned, env=witness)
        self.assertIs(first["first"], True)
        folder = self.dir / "witnessed"
        self.ok("audit", "export", folder)
        self.refused(65, "audit", "verify", folder, "--signer", self.pem, "--witness", first["witness"], says="not cosigned by the witness", env=self.away)
        shutil.copy(cosigned, folder / "checkpoint")
        result = self.verify_away(folder, "--witness", first["witness"], "--json")
        self.assertEqual(result.code, 0, result)
        self.assertEqual(len(result.json()["witnesses"]), 1)
        self.assertEqual(self.verify_away(folder).code, 0)
        # It wants the proof that the log only grew, and remembers what it has seen.
        self.ok("gen", "witnessed", "--role", "mac")
        newer = self.dir / "w2"
        self.ok("audit", "checkpoint", "--out", newer)
        self.refused(77, "audit", "cosign", newer, "--signer", self.pem, env=witness, says="proof is missing")
        grown = self.dir / "w2.proof"
        self.ok("audit", "consistency", checkpoint, "--out", grown)
        second = self.ok_json("audit", "cosign", grown, "--signer", self.pem, env=witness)
        self.assertIs(second["first"], False)
        self.refused(65, "audit", "cosign", checkpoint, "--signer", self.pem, env=witness, says="was cosigned here")
        self.refused(64, "audit", "cosign", newer, "--signer", self.pem, says="no witness of its own log")
        self.ok("audit", "verify", env=witness)
        self.assertEqual(base64.b64decode(second["witness"].split("+", 2)[2])[0], 4)


if __name__ == "__main__":
    harness.main()
