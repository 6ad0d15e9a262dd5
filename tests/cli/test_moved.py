"""A bundle that its owner moved: the catalog follows where it is told to, and a copy takes no place on record."""

import shutil

import harness


class Moved(harness.Case):
    def setUp(self):
        """A home of its own for each: what one leaves missing is not the next one's business."""
        self.setUpClass()
        self.on_own_token()
        self.ok("gen", "root", "--role", "kek")
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        self.folder = self.dir / "bundles"
        (self.folder / "safe").mkdir(parents=True)
        self.old, self.new = self.folder / "cargo.kmb", self.folder / "safe/cargo.kmb"
        self.made = self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.old)

    def row(self):
        return [bundle for bundle in self.ok_json("bundles")["bundles"] if bundle["id"] == self.made["bundle"]][0]

    def test_it_is_followed(self):
        self.old.rename(self.new)
        self.assertIn(f"{self.old} is missing (moved: kmtool bundles --moved FILE)", self.kmtool("monitor", "-v").out)
        checked = self.kmtool("bundles", "--verify-all")
        self.assertEqual(checked.code, 1)
        self.assertIn("moved (kmtool bundles --moved FILE says where)", checked.out)
        self.assertIn(f"the catalog has this bundle at {self.old}, where it is not: if it was moved, kmtool bundles --moved {self.new}", self.ok("verify", self.new).err)
        dry = self.ok_json("bundles", "--moved", self.new, "--dry-run")
        self.assertEqual(self.row()["path"], str(self.old))
        self.assertEqual(self.ok_json("bundles", "--moved", "safe/cargo.kmb", cwd=self.folder), dry)
        self.assertEqual(dry, {"moved": [{"bundle": self.made["bundle"], "from": str(self.old), "to": str(self.new)}]})
        row = self.row()
        self.assertEqual((row["path"], row["kek"], row["verified"] is None), (str(self.new), "root@1", False))
        self.assertEqual(self.kmtool("monitor").code, 0)
        self.assertEqual(self.ok("verify", self.new).err, "")
        self.ok("bundles", "--verify-all")
        self.ok("bundles", "--moved", self.new)  # once more changes nothing
        self.assertEqual(self.row()["path"], str(self.new))
        self.assertEqual([entry["details"]["moved"][0]["from"] for entry in self.entries(self.home) if entry["command"] == "bundles --moved"][-2:], [str(self.old), str(self.new)])
        self.ok("audit", "verify")
        # Back again, by way of a symbolic link.
        self.new.rename(self.old)
        (self.folder / "link").symlink_to(self.old)
        self.ok("bundles", "--moved", self.folder / "link")
        self.assertEqual(self.row()["path"], str(self.old))

    def test_what_takes_no_place(self):
        shutil.copy(self.old, self.new)
        self.refused(73, "bundles", "--moved", self.new, says=["is a copy", str(self.old)])
        self.old.unlink()
        second = self.folder / "second.kmb"
        shutil.copy(self.new, second)
        self.refused(73, "bundles", "--moved", self.new, "--moved", second, says="is a copy")
        self.refused(66, "bundles", "--moved", self.folder / "nowhere.kmb", says="there is no bundle")
        self.refused(66, "bundles", "--moved", self.folder, says="there is no bundle")
        # One that was altered, one that takes its name, and one of another home.
        second.write_bytes(self.new.read_bytes().replace(b"cargo", b"crago", 1))
        self.refused(65, "bundles", "--moved", second)
        other = self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.old)
        self.assertNotEqual(other["bundle"], self.made["bundle"])
        self.ok("bundles", "--moved", self.old)
        theirs = {"KMTOOL_PIN_SOURCE": f"file:{self.dir}/other/token.pin"}
        home = self.dir / "other"
        self.ok("init", "--embedded", "--home", home, env=theirs)
        self.refused(66, "bundles", "--moved", self.new, home=home, env=theirs, says="is no bundle of the catalog")
        for words in (("--verify-all",), ("--depends-on", "root"), ("--confirm-restored", self.new)):
            self.refused(64, "bundles", "--moved", self.new, *words)

    def test_rotation_follows(self):
        self.old.rename(self.new)
        words = ("rotate", "root", "--rewrap", self.new)
        for more in (("--dry-run",), ()):
            done = self.ok_json(*words, *more)
            self.assertEqual([one["file"] for one in done["rewrapped"]], [str(self.new)])
            self.assertNotIn(str(self.old), [one["file"] for one in done["left"]])
        paths = [bundle["path"] for bundle in self.ok_json("bundles")["bundles"]]
        self.assertIn(str(self.new), paths)
        self.assertNotIn(str(self.old), paths)

    def test_a_copy_that_is_rewrapped_leaves_the_original_on_record(self):
        shutil.copy(self.old, self.new)
        self.ok("rotate", "root", "--rewrap", self.new)
        paths = [bundle["path"] for bundle in self.ok_json("bundles")["bundles"]]
        self.assertLessEqual({str(self.old), str(self.new)}, set(paths))


if __name__ == "__main__":
    harness.main()
