"""init that fails has changed nothing: no folder, no file, no mark."""

import shutil

import harness


class Init(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.env = dict(cls.env, **cls.token.env())

    def setUp(self):
        self.home = self.dir / self.id().rsplit(".", 1)[-1] / "deep" / "home"

    def words(self, **other):
        chosen = {"module": harness.SOFTHSM, "label": self.token.label, "pin": f"file:{self.token.pin_file}"} | other
        return ["init", "--module", chosen["module"], "--token-label", chosen["label"], "--pin-source", chosen["pin"], "--home", self.home]

    def failures(self):
        wrong = self.dir / "wrong-pin"
        wrong.write_text("not-the-pin")
        wrong.chmod(0o600)
        loose = self.dir / "loose.so"
        shutil.copy(harness.SOFTHSM, loose)
        loose.chmod(0o777)
        return [(69, {"module": self.dir / "none.so"}), (69, {"module": "/etc/hostname"}), (69, {"module": harness.KILLFS}), (78, {"module": loose}),
                (69, {"label": "another"}), (66, {"pin": f"file:{self.dir}/no-pin"}), (77, {"pin": f"file:{wrong}"}), (64, {"pin": "carrier-pigeon"})]

    def test_nothing_is_left(self):
        for code, other in self.failures():
            with self.subTest(**{key: str(value) for key, value in other.items()}):
                self.refused(code, *self.words(**other))
                self.assertFalse(self.home.parent.parent.exists())
        self.ok(*self.words(), "--join")
        self.ok("doctor", home=self.home, env={"KMTOOL_PIN_SOURCE": f"file:{self.token.pin_file}"})
        self.assertFalse((self.home / "init.unfinished").exists())

    def test_what_was_there_stays(self):
        self.home.mkdir(parents=True, mode=0o700)
        (self.home / "notes.txt").write_text("mine")
        (self.home / "policy.json").write_text("{}")
        (self.home / "policy.json").chmod(0o600)
        for code, other in self.failures():
            self.refused(code, *self.words(**other))
            self.assertEqual(sorted(p.name for p in self.home.iterdir()), ["notes.txt", "policy.json"])
        self.assertEqual((self.home / "policy.json").read_text(), "{}")

    def test_a_folder_that_others_can_write(self):
        """Refused before anything is written: the home would be refused by every later command."""
        self.home.mkdir(parents=True)
        self.home.chmod(0o777)
        for words in (["init", "--embedded", "--home", self.home], self.words()):
            self.refused(78, *words, says="chmod")
            self.assertEqual(list(self.home.iterdir()), [])
        self.home.chmod(0o700)
        link = self.home.with_name("link")
        link.symlink_to(self.home)
        self.refused(78, "init", "--embedded", "--home", link, says="symbolic link")
        self.assertEqual(list(self.home.iterdir()), [])

    def test_a_policy_that_is_broken(self):
        self.home.mkdir(parents=True, mode=0o700)
        (self.home / "policy.json").write_text("{nonsense")
        self.refused(78, "init", "--embedded", "--home", self.home)
        self.assertEqual([p.name for p in self.home.iterdir()], ["policy.json"])

    def test_what_does_not_go_together(self):
        self.refused(64, "init", "--embedded", "--join", "--home", self.home, says="--join")
        self.refused(64, "init", "--embedded", "--module", harness.SOFTHSM, "--home", self.home)
        self.assertFalse(self.home.exists())

    def test_dry_run(self):
        """Says what it would do, as JSON too, and finds what would stop it."""
        plan = self.ok_json("init", "--embedded", "--home", self.home, "--dry-run")
        self.assertEqual((plan["home"], plan["embedded"], plan["home_id"]), (str(self.home), True, None))
        self.assertFalse(self.home.parent.parent.exists())
        self.refused(69, *self.words(module=self.dir / "none.so"), "--dry-run")
        for code, other in self.failures():
            with self.subTest(**{key: str(value) for key, value in other.items()}):
                self.refused(code, *self.words(**other), "--dry-run")
        plan = self.ok_json(*self.words(), "--dry-run", "--join")  # another test's home may be on it
        self.assertEqual((plan["token"]["label"], plan["home_id"]), (self.token.label, None))
        self.assertFalse(self.home.parent.parent.exists())
        (self.dir / "file").write_text("")
        self.refused(73, *self.words()[:-1], self.dir / "file/home", "--dry-run", "--join", says="is not a folder")
        self.ok("init", "--embedded", "--home", self.home)
        self.refused(73, "init", "--embedded", "--home", self.home, "--dry-run")

    def test_a_rehearsal_sees_the_other_home(self):
        self.ok(*self.words(), "--join")
        elsewhere = ["--home", self.dir / "elsewhere", "--dry-run"]
        words = [word for word in self.words() if word not in ("--home", self.home)]
        self.refused(77, *words, *elsewhere, says="already serves another kmtool home")
        self.ok(*words, *elsewhere, "--join")

    def test_a_killed_one_is_taken_up(self):
        """The mark is for those: whatever lies there afterwards, init can be run again."""
        for number in range(1, 2000, 41):
            home = self.dir / f"killed-{number}"
            result = self.kmtool("init", "--embedded", "--home", home, env={"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(number)})
            if result.code == 0:
                break
            self.assertLess(result.code, 0, result)
            if not (home / "config.json").exists():
                self.ok("init", "--embedded", "--home", home)
            self.ok("doctor", home=home)
        else:
            self.fail("init never came to its end")


if __name__ == "__main__":
    harness.main()
