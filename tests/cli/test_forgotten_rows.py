"""What a restore forgot is put on record again: as the key that it is, whatever has its label by then, and with the quorum that it had."""

import pathlib

import harness


class SameLabel(harness.Case):
    """Another key came to a label that a bundle of before the restore uses: on record the two are not one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")

    def another(self, name):
        """The bundle holds one key, the home has another under its label."""
        out = self.dir / f"{name}.kmb"
        self.ok("home", "backup", self.dir / f"{name}.kmh")
        self.ok("gen", name, "--role", "data", "--exportable")
        self.ok("wrap", name, "--kek", "root", "--out", out)
        self.ok("state", name, "destroy", "--reason", "a test", "--yes")
        self.ok("home", "restore", self.dir / f"{name}.kmh", "--force")
        self.kmtool("doctor", "--accept-rollback", "--reason", "a test")
        return out

    def not_held(self, name):
        self.assertIn(f"no bundle holds {name}@1", self.ok("state", name, "destroy", "--reason", "a test", "--dry-run").err)

    def test_rewrapped_by_name(self):
        out = self.another("pay")
        self.ok("gen", "pay", "--role", "data", "--exportable")
        self.not_held("pay")
        self.ok("rotate", "root", "--rewrap", out)
        self.not_held("pay")
        octets = out.read_bytes()
        self.assertEqual(self.ok_json("wrap", "pay", "--kek", "root", "--out", out, "--force")["kept"], f"{out}.@1")
        self.assertEqual(pathlib.Path(f"{out}.@1").read_bytes(), octets)
        self.ok("rotate", "root", "--rewrap-all")
        pathlib.Path(f"{out}.@1").unlink()
        lost = self.ok_json("bundles", "--lost", f"{out}.@1", "--reason", "fire")
        self.assertRegex(lost["losses"][0], "^pay@1#[0-9a-f]{32} is on no token of this home")
        self.ok("audit", "verify")

    def test_before_the_other_came(self):
        out = self.another("late")
        self.ok("rotate", "root", "--rewrap", out)
        self.ok("gen", "late", "--role", "data", "--exportable")
        self.not_held("late")

    def test_the_key_itself_comes_back(self):
        out = self.another("back")
        self.ok("rotate", "root", "--rewrap", out)
        self.ok("unwrap", out)
        self.assertNotIn("no bundle holds", self.ok("state", "back@1", "destroy", "--reason", "a test", "--dry-run").err)
        # Once more nothing is kept: the new one holds what the old one held.
        self.ok("rotate", "root", "--rewrap-all")
        self.assertFalse(pathlib.Path(f"{out}.@1").exists())
        self.assertEqual([bundle["path"] for bundle in self.ok_json("bundles")["bundles"] if bundle["path"].startswith(str(out))], [str(out)])

    def test_in_the_place_of_one_that_is_on_record(self):
        """What bundles --verify-all puts on record for it."""
        out = self.dir / "row.kmb"
        self.ok("gen", "first", "--role", "data", "--exportable")
        self.ok("wrap", "first", "--kek", "root", "--out", out)
        self.ok("home", "backup", self.dir / "row.kmh")
        self.ok("gen", "row", "--role", "data", "--exportable")
        self.ok("wrap", "first", "row", "--kek", "root", "--out", out, "--force")
        self.ok("state", "row", "destroy", "--reason", "a test", "--yes")
        self.ok("home", "restore", self.dir / "row.kmh", "--force")
        self.kmtool("doctor", "--accept-rollback", "--reason", "a test")
        self.ok("gen", "row", "--role", "data", "--exportable")
        checked = [one for one in self.kmtool("bundles", "--verify-all", "--json").json()["bundles"] if one["path"] == str(out)]
        self.assertEqual([one["verdict"] for one in checked], ["ok"])
        self.not_held("row")


class Quorum(harness.Case):
    """The backup with a quorum is forgotten, an older one without it is not."""

    def test_it_is_asked_for_and_then_known(self):
        self.on_own_token()
        out, again = self.dir / "root.kmk", self.dir / "root2.kmk"
        self.ok("gen", "parent", "--role", "kek")
        self.ok("gen", "root", "--role", "kek", "--exportable")
        self.ok("export-kek", "root", "--to-kek", "parent", "--out", out)
        self.ok("home", "backup", self.dir / "h.kmh")
        self.ok("export-kek", "root", "--to-kek", "parent", "--out", out, "--force", "--quorum", "2/3", "--shares", self.dir / "shares")
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.kmtool("doctor", "--accept-rollback", "--reason", "a test")
        rotate = ("rotate", "root", "--backup", again)
        for more in (("--dry-run",), ()):
            result = self.kmtool(*rotate, *more)
            self.assertEqual(result.code, 1, result)
            self.assertIn("whether the newest backup that root@1 may have opens with a quorum of custodians is not on record", result.err)
        self.ok("bundles", "--verify-all")
        result = self.kmtool(*rotate)
        self.assertEqual(result.code, 1, result)
        self.assertIn("root.kmk of root@1 opens with 2 of 3 shares", result.err)
        self.assertFalse(again.exists())
        self.ok(*rotate, "--quorum", "2/3", "--shares", self.dir / "shares2")
        self.ok("rotate", "root", "--backup", self.dir / "root3.kmk", "--quorum", "2/3", "--shares", self.dir / "shares3", "--dry-run")

    def test_one_made_since_answers_it(self):
        self.on_own_token()
        self.ok("gen", "parent", "--role", "kek")
        self.ok("gen", "root", "--role", "kek", "--exportable")
        self.ok("home", "backup", self.dir / "h.kmh")
        self.ok("gen", "more", "--role", "data")
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.kmtool("doctor", "--accept-rollback", "--reason", "a test")
        self.ok("export-kek", "root", "--to-kek", "parent", "--out", self.dir / "root.kmk")
        self.ok("rotate", "root", "--backup", self.dir / "root2.kmk", "--dry-run")

    def setUp(self):
        self.setUpClass()


if __name__ == "__main__":
    harness.main()
