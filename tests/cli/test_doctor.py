"""doctor says what it could look at, whatever is wrong; and looking never moves the rollback anchor."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import time

import harness


class Doctor(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token(own_module=True)
        cls.ok("gen", "root", "--role", "kek")

    def verdicts(self, text):
        """WHAT → VERDICT of the table."""
        rows = [line.split(None, 1) for line in text.splitlines() if line.split(None, 1)[:1] and line.split(None, 1)[0] in ("ok", "note", "BAD")]
        return {what.split("  ")[0]: verdict for verdict, what in rows}

    def both(self, code, *words):
        """For people and for programs: what was found stands above the error, and in it."""
        for option in ([], ["--repair"]):
            result = self.refused(code, "doctor", *option, *words)
            found = self.kmtool("doctor", *option, *words, "--json").error()
            self.assertEqual(found["exit"], code)
            self.assertEqual(len(found["warnings"]), len(self.verdicts(result.err)), found)
        return self.verdicts(result.err)

    def test_the_token_is_away(self):
        hidden = self.module.with_suffix(".hidden")
        self.module.rename(hidden)
        try:
            self.assertEqual(self.both(69), {"home": "ok", "policy": "ok", "journal": "ok", "unfinished work": "ok", "token": "BAD"})
        finally:
            hidden.rename(self.module)
        self.ok("doctor")

    def test_the_module_has_moved(self):
        """The vendor's library lies elsewhere: config.json may say so, and doctor says that it was edited."""
        moved = self.module.with_name("v2.so")
        config = self.home / "config.json"
        before = config.read_text()
        self.module.rename(moved)
        try:
            self.refused(69, "gen", "x", "--role", "data", says="config.json")
            config.write_text(before.replace(str(self.module), str(moved)))
            said = self.ok_json("doctor")
            self.assertTrue(said["healthy"])
            self.assertIn("config.json", {check["what"] for check in said["checks"] if check["verdict"] == "note"})
            self.ok("gen", "moved", "--role", "data")
            self.assertNotIn("config.json", {check["what"] for check in self.ok_json("doctor")["checks"]})
        finally:
            moved.rename(self.module)
            config.write_text(before)

    def test_a_wrong_pin(self):
        wrong = self.dir / "wrong-pin"
        wrong.write_text("not-the-pin")
        wrong.chmod(0o600)
        found = self.both(77, "--pin-source", f"file:{wrong}")
        self.assertEqual((found["journal"], found["token"]), ("ok", "BAD"))

    def test_a_policy_that_is_broken(self):
        policy = self.home / "policy.json"
        text = policy.read_text()
        policy.write_text("{nonsense")
        try:
            self.assertEqual(self.both(78), {"home": "ok", "policy": "BAD", "journal": "ok", "unfinished work": "ok", "token": "note"})
            policy.write_text(text + "\n")
            result = self.kmtool("doctor")
            self.assertEqual((result.code, self.verdicts(result.out)["policy"]), (1, "BAD"))
        finally:
            policy.write_text(text)
        self.ok("doctor")

    def test_a_home_that_others_can_write(self):
        self.home.chmod(0o777)
        try:
            self.assertEqual(self.both(78)["home"], "BAD")
        finally:
            self.home.chmod(0o700)


class Rollback(harness.Case):
    def setUp(self):
        self.home = self.embedded_home(self.id().rsplit(".", 1)[-1])
        self.env = dict(self.env, KMTOOL_HOME=str(self.home))
        self.run_here("gen", "root", "--role", "kek")
        self.run_here("gen", "cargo", "--role", "data", "--exportable")
        self.bundle = self.dir / f"{self.home.name}.kmb"
        self.run_here("wrap", "cargo", "--kek", "root", "--out", self.bundle)
        self.bundle.write_bytes(self.bundle.read_bytes().replace(b'"cargo"', b'"carga"'))
        kept = self.home.with_suffix(".kept")
        kept.mkdir()
        for tail in ("", "-wal"):
            shutil.copy2(self.home / f"journal.db{tail}", kept)
        self.run_here("gen", "later", "--role", "data", "--count", "2")
        for path in self.home.glob("journal.db*"):
            path.unlink()
        for tail in ("", "-wal"):
            shutil.copy2(kept / f"journal.db{tail}", self.home)

    def run_here(self, *words):
        return self.ok(*words, home=self.home)

    def test_looking_accepts_nothing(self):
        """Every look that ends with a refusal wrote an entry, which moved an anchor: after a few the older home was believed."""
        entries = len(self.entries(self.home))
        for _ in range(8):
            result = self.refused(65, "doctor", home=self.home, says="rollback anchor")
            self.assertIn("BAD", result.err)
            self.refused(65, "verify", self.bundle, home=self.home)
        self.assertEqual(len(self.entries(self.home)), entries)
        self.refused(65, "gen", "forked", "--role", "data", home=self.home)

    def test_accepting_it(self):
        words = ("doctor", "--accept-rollback", "--reason", "a test")
        plan = self.ok(*words, "--dry-run", home=self.home)
        self.assertIn("--accept-rollback moves it to this journal's head", plan.out)
        self.assertIn("nothing was changed", plan.err)
        self.assertTrue(self.ok_json(*words, "--dry-run", home=self.home)["healthy"])
        self.refused(65, "doctor", home=self.home)
        self.run_here(*words)
        self.run_here("doctor")
        self.run_here("gen", "after", "--role", "data")


class Restore(harness.Case):
    def test_a_home_that_came_while_it_waited(self):
        """What it asks before it has the lock it asks again under it."""
        made, place = self.embedded_home("made"), self.dir / "place"
        self.ok("home", "backup", self.dir / "made.kmh", home=made)
        place.mkdir(mode=0o700)
        with open(place / "mutate.lock", "w", encoding="utf-8") as lock:
            os.chmod(lock.fileno(), 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            words = [harness.BINARY, "home", "restore", self.dir / "made.kmh"]
            restore = subprocess.Popen(words, env=dict(self.env, KMTOOL_HOME=str(place)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            opened = pathlib.Path(f"/proc/{restore.pid}/fd")
            self.wait_until(lambda: any(str(path.readlink()).endswith("place/mutate.lock") for path in opened.iterdir() if path.is_symlink()))
            shutil.copy(made / "config.json", place / "config.json")
        err = restore.communicate(timeout=60)[1].decode()
        self.assertEqual(restore.returncode, 73, err)
        self.assertIn("there is already a home", err)
        self.assertFalse((place / "journal.db").exists())

    def wait_until(self, true):
        until = time.monotonic() + 30
        while not true():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)

    def test_killed_midway(self):
        """Restoring over a home: before its decision it is the old one, from then on the new; never half of each, never none."""
        home, kept = self.embedded_home(), self.dir / "kept"
        env = {"KMTOOL_HOME": str(home)}
        self.ok("gen", "old", "--role", "data", env=env)
        backup = self.dir / "home.kmh"
        self.ok("home", "backup", backup, env=env)
        older = {key["label"] for key in self.ok_json("list", env=env)["keys"]}
        self.ok("gen", "newer", "--role", "data", env=env)
        (home / "policy.json").write_text((home / "policy.json").read_text() + "\n")
        self.ok("policy", "accept", env=env)
        newer = {key["label"] for key in self.ok_json("list", env=env)["keys"]}
        shutil.copytree(home, kept)
        seen, number = set(), 1
        while True:
            shutil.rmtree(home)
            shutil.copytree(kept, home)
            result = self.kmtool("home", "restore", backup, "--force", env=env | {"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(number)})
            labels = {key["label"] for key in self.ok_json("list", env=env)["keys"]}
            self.assertIn(labels, (older, newer), number)
            seen.add(len(labels))
            # Config, policy, signers and journal are of one home: nothing but the anchor, which is newer than the older journal.
            if labels == newer:
                self.ok("doctor", env=env)
                self.assertFalse((home / "restore.ready").exists())
            else:
                self.refused(65, "doctor", env=env, says="rollback anchor")
                self.ok("doctor", "--accept-rollback", "--reason", "a test", env=env)
                self.ok("doctor", env=env)
            self.assertFalse((home / "restore.ready").exists())
            if result.code == 0:
                break
            self.assertLess(result.code, 0, result)
            number += 3
        self.assertEqual(seen, {len(older), len(newer)})
        self.assertGreater(number, 20)
        self.ok("gen", "more", "--role", "data", env=env)
        self.assertEqual([p.name for p in home.iterdir() if p.name.startswith("restore.")], [])


if __name__ == "__main__":
    harness.main()
