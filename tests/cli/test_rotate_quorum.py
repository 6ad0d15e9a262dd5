"""A KEK whose backup opens with a quorum: its successor's does too, wherever the file of the old one lies."""

import itertools
import unittest.mock

import harness


class RotateQuorum(harness.Case):
    """Site A makes KEKs with 3-of-5 backups for site B's transport key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.b = cls.embedded_home("b")
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.a = cls.module_home(cls.token, "a")
        cls.token_env = dict(cls.env)
        del cls.env["KMTOOL_PIN_SOURCE"]  # each home has its own
        cls.room = cls.dir / "room"
        cls.room.mkdir()
        cls.ok("gen", "intake", "--role", "transport", home=cls.b)
        (cls.room / "b.request").write_text(cls.ok("show", "intake", "--request", home=cls.b).out)
        cls.ok("signer", "trust", cls.b / "signers/document.pem", "--name", "b", home=cls.a)
        cls.ok("signer", "trust", cls.a / "signers/document.pem", "--name", "a", home=cls.b)

    def at_a(self, *words, **more):
        return self.ok_json(*words, home=self.a, cwd=self.room, **more)

    def kek(self, name):
        """The KEK, backed up behind 3 of 5, and a key in a bundle under it."""
        self.at_a("gen", name, "--role", "kek", "--type", "aes-128", "--backup", f"{name}.kmk", "--to-public-key", "b.request", "--quorum", "3/5", "--shares", f"{name}-shares")
        self.at_a("gen", f"key-{name}", "--role", "data", "--type", "aes-128", "--backup", f"key-{name}.kmb", "--kek", name)

    def shares(self, folder, stem, chosen):
        return [word for i in chosen for word in ("--share", f"{folder}/custodian-{i}/{stem}-{i}.share")]

    def fails(self, name, *words, says=()):
        """Nothing is rotated; says why and how."""
        result = self.kmtool("rotate", name, *words, "--json", home=self.a, cwd=self.room)
        self.assertEqual(result.code, 1, result)
        self.assertEqual(result.json()["rotated"], [])
        failed = result.json()["failed"][0]
        for text in says:
            self.assertIn(text, failed["message"] + " / " + failed["hint"])

    def test_the_file_is_not_asked(self):
        self.kek("moved")
        says = ("moved.kmk of moved@1 opens with 3 of 5 shares", "kmtool rotate moved --backup FILE --quorum 3/5 --shares DIR")
        self.fails("moved", "--rewrap-all", "--backup", "moved2.kmk", says=says)
        (self.room / "moved.kmk").rename(self.dir / "moved.kmk")
        self.fails("moved", "--rewrap-all", "--backup", "moved2.kmk", says=says)
        # Nor a file without a quorum that was put there.
        (self.room / "moved.kmk").write_bytes((self.room / "key-moved.kmb").read_bytes())
        self.fails("moved", "--backup", "moved2.kmk", says=says)
        self.assertFalse((self.room / "moved2.kmk").exists())
        self.fails("moved", says=("for the public key", "behind a quorum", "--backup FILE --quorum 3/5 --shares DIR"))

    def test_rotates_behind_a_quorum(self):
        self.kek("root")
        words = ["rotate", "root", "--rewrap-all", "--backup", "root2.kmk", "--quorum", "3/5", "--shares", "root2", "--custodian", "ada"]
        planned = self.ok(*words, "--dry-run", home=self.a, cwd=self.room)
        self.assertFalse((self.room / "root2").exists())
        done = self.ok(*words, home=self.a, cwd=self.room)
        self.assertEqual(done.out, planned.out)
        self.assertIn(f"share 1    ada  {self.room}/root2/ada/root2-1.share", done.out)
        self.assertIn("5 of 5 shares are not encrypted", done.err)
        for folder in ("ada", "custodian-2"):
            self.assertEqual(len(list((self.room / "root2" / folder).iterdir())), 1)
        (self.room / "root2/ada").rename(self.room / "root2/custodian-1")
        for chosen in itertools.combinations(range(1, 6), 2):
            self.refused(77, "import-kek", "root2.kmk", "--activate", *self.shares("root2", "root2", chosen), home=self.b, cwd=self.room, says="1 more")
        self.refused(65, "import-kek", "root2.kmk", "--activate", *self.shares("root-shares", "root", (1, 2, 3)), home=self.b, cwd=self.room, says="another bundle")
        self.ok("import-kek", "root2.kmk", "--activate", *self.shares("root2", "root2", (1, 3, 4)), home=self.b, cwd=self.room)
        self.ok("unwrap", "key-root.kmb", "--activate", home=self.b, cwd=self.room)
        self.assertIs(self.at_a("doctor")["healthy"], True)
        # And the next one: what is on record is the new backup's.
        self.fails("root", "--backup", "root3.kmk", says=("root2.kmk of root@2 opens with 3 of 5 shares",))
        shares = self.at_a("rotate", "root", "--rewrap-all", "--backup", "root3.kmk", "--quorum", "2/2", "--shares", "root3")["backups"][0]["shares"]
        self.assertEqual([share["file"] for share in shares], [f"{self.room}/root3/custodian-{i}/root3-{i}.share" for i in (1, 2)])

    def test_a_compromised_one_moves_its_bundles(self):
        self.kek("leaked")
        self.ok("state", "leaked", "compromise", "--reason", "three shares stolen", home=self.a)
        result = self.ok("rotate", "leaked", "--rewrap-all", "--backup", "leaked2.kmk", "--quorum", "2/3", "--shares", "leaked2", "--json", home=self.a, cwd=self.room)
        self.assertEqual([done["file"] for done in result.json()["rewrapped"]], [str(self.room / "key-leaked.kmb")])
        self.assertIn("opens with 2 of 3 shares", result.err)  # fewer than before: asked for, and said
        self.ok("import-kek", "leaked2.kmk", "--activate", *self.shares("leaked2", "leaked2", (1, 2)), home=self.b, cwd=self.room)
        self.ok("unwrap", "key-leaked.kmb", "--check", home=self.b, cwd=self.room)

    def test_what_does_not_go_together(self):
        self.kek("odd")
        quorum = ["--quorum", "2/3", "--shares", "odd2"]
        self.refused(64, "rotate", "odd", *quorum, home=self.a, cwd=self.room, says="--quorum goes with --backup FILE")
        self.refused(64, "rotate", "odd", "--backup", "odd2.kmk", "--quorum", "2/3", home=self.a, cwd=self.room, says="--shares DIR")
        self.refused(64, "rotate", "odd", "--kek", "odd", home=self.a, cwd=self.room, says="--kek goes with --backup FILE")
        self.fails("key-odd", "--backup", "key2.kmb", *quorum, says=("--quorum goes with the --backup of a kek",))
        self.fails("odd", "--backup", "odd2.kmk", *quorum, "--kek", "odd", says=("odd would be backed up under itself",))
        (self.room / "new").mkdir()
        # The shares of a bundle that is still needed are replaced by nothing.
        before = {path: path.read_bytes() for path in (self.room / "odd-shares").rglob("*.share")}
        self.fails("odd", "--backup", "odd.kmk", "--force", "--quorum", "3/5", "--shares", "odd-shares", says=("odd-1.share is a share of", "another folder"))
        self.fails("odd", "--backup", "new/odd.kmk", "--quorum", "3/5", "--shares", "odd-shares", says=("odd-1.share is a share of",))
        self.assertEqual({path: path.read_bytes() for path in (self.room / "odd-shares").rglob("*.share")}, before)
        self.assertFalse((self.room / "odd2").exists())

    def test_where_it_was_imported_it_stays_behind_a_quorum(self):
        """Whatever it is called there, and though the site has no backup of it."""
        self.kek("abroad")
        self.ok("gen", "parent", "--role", "kek", home=self.b)
        self.ok("import-kek", "abroad.kmk", "--as", "renamed", "--activate", *self.shares("abroad-shares", "abroad", (1, 2, 5)), home=self.b, cwd=self.room)
        for words in (["--backup", "renamed2.kmk", "--kek", "parent"], []):
            result = self.kmtool("rotate", "renamed", *words, "--json", home=self.b, cwd=self.room)
            self.assertEqual((result.code, result.json()["rotated"]), (1, []), result)
            self.assertIn("--quorum 3/5 --shares DIR", result.json()["failed"][0]["hint"])
        more = ["--backup", "renamed2.kmk", "--kek", "parent", "--shares", "renamed2", "--quorum"]
        result = self.ok("rotate", "renamed", *more, "2/5", "--dry-run", home=self.b, cwd=self.room)
        self.assertIn("opens with 2 of 5 shares; what renamed@1 was imported from needs 3 of 5 shares", result.err)
        self.ok("rotate", "renamed", *more, "3/5", home=self.b, cwd=self.room)
        self.refused(77, "import-kek", "renamed2.kmk", "--check", *self.shares("renamed2", "renamed2", (1, 2)), home=self.b, cwd=self.room, says="1 more")

    def test_none_is_not_said_of_what_is_known(self):
        self.kek("known")
        self.fails("known", "--backup", "known2.kmk", "--quorum", "none", says=("known.kmk of known@1 opens with 3 of 5 shares",))

    def test_after_a_restore(self):
        """The record knows neither the KEK nor its backup: a quorum, or none, has to be said."""
        self.at_a("home", "backup", "before.kmh")
        self.kek("lost")
        self.at_a("home", "restore", "before.kmh", "--force")
        self.kmtool("doctor", "--accept-rollback", "--reason", "a test", home=self.a)
        self.at_a("adopt", "lost", "--label", "lost@1")
        words = ("--backup", "lost2.kmk", "--to-public-key", "b.request")
        self.fails("lost", *words, says=("whether the backup that lost@1 may have opens with a quorum", "--quorum none"))
        self.assertFalse((self.room / "lost2.kmk").exists())
        self.at_a("rotate", "lost", *words, "--quorum", "3/5", "--shares", "lost2")
        self.fails("lost", "--backup", "lost3.kmk", says=("lost2.kmk of lost@2 opens with 3 of 5 shares",))

    def test_shares_that_are_issued_anew_for_fewer(self):
        self.kek("fewer")
        words = ("share", "reissue", "--bundle", "fewer.kmk", *self.shares("fewer-shares", "fewer", (1, 2, 3)), "--out")
        said = "the new bundle opens with 2 of 4 shares; the old one needs 3 of 5 shares"
        self.assertIn(said, self.ok(*words, "fewer2", "--quorum", "2/4", home=self.a, cwd=self.room).err)
        for folder, quorum in (("same", ()), ("more", ("--quorum", "4/5"))):
            self.assertNotIn("the old one needs", self.ok(*words, folder, *quorum, home=self.a, cwd=self.room).err)

    def test_interrupted(self):
        """Killed again and again, each time later: either nothing is there, or version, backup and shares; then it goes on."""
        self.kek("torn")
        kills, at = 0, 40
        while True:
            with unittest.mock.patch.object(type(self), "env", dict(self.token_env, KMFORWARD_KILL_AT=str(at))):
                result = self.kmtool("rotate", "torn", "--rewrap-all", "--backup", "torn2.kmk", "--quorum", "2/3", "--shares", "torn2", home=self.a, cwd=self.room)
            if result.code == 0:
                break
            self.assertEqual(result.code, -9, result)
            kills, at = kills + 1, at + 13
            self.ok("doctor", "--repair", home=self.a)
            made = [k for k in self.at_a("list")["keys"] if k["label"] == "torn@2"]
            self.assertEqual((self.room / "torn2.kmk").exists(), bool(made))
            if made:
                self.ok("import-kek", "torn2.kmk", "--check", *self.shares("torn2", "torn2", (1, 3)), home=self.b, cwd=self.room)
        self.assertGreater(kills, 3)
        self.ok("import-kek", "torn2.kmk", "--activate", *self.shares("torn2", "torn2", (1, 3)), home=self.b, cwd=self.room)
        self.ok("unwrap", "key-torn.kmb", "--check", home=self.b, cwd=self.room)
        self.assertIs(self.at_a("doctor")["healthy"], True)


if __name__ == "__main__":
    harness.main()
