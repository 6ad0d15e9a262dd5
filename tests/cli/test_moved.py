"""A bundle that its owner moved: the catalog follows where it is told to, and a copy takes no place on record."""

import pathlib
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
        self.assertIn(f"{self.old} is missing (moved: kmtool bundles --moved FILE; on other media: with --offline PLACE; lost: --lost FILE)", self.kmtool("monitor", "-v").out)
        checked = self.kmtool("bundles", "--verify-all")
        self.assertEqual(checked.code, 1)
        self.assertIn("moved (kmtool bundles --moved FILE says where; --offline PLACE, where it is kept on other media) or lost (--lost FILE)", checked.out)
        self.assertIn(f"the catalog has this bundle at {self.old}, where it is not: if it was moved, kmtool bundles --moved {self.new}", self.ok("verify", self.new).err)
        dry = self.planned("bundles", "--moved", self.new)
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

    def test_kept_offline(self):
        """On media that are put away it is not missing, and what is written in its place lies there, too."""
        self.old.rename(self.new)
        self.refused(64, "bundles", "--offline", "safe 3")
        self.refused(64, "bundles", "--moved", self.new, "--offline", "x" * 501, says="--offline")
        self.assertIn("kept offline: two\\x0alines", self.ok("bundles", "--moved", self.new, "--offline", "two\nlines", "--dry-run").out)
        said = self.ok("bundles", "--moved", self.new, "--offline", "safe 3, Bern")
        self.assertEqual(said.out, f"{self.old} -> {self.new}, kept offline: safe 3, Bern\n")
        self.assertEqual((self.row()["path"], self.row()["offline"]), (str(self.new), "safe 3, Bern"))
        self.assertIn("offline: safe 3, Bern", self.ok("bundles").out)
        self.assertEqual(self.ok_json("bundles", "--verify-all")["bundles"][0]["verdict"], "ok")
        away = self.dir / "away.kmb"
        self.new.rename(away)
        look = self.kmtool("monitor", "-v")
        self.assertEqual((look.code, "missing=0" in look.out), (0, True), look)
        checked = self.ok_json("bundles", "--verify-all")["bundles"][0]
        self.assertEqual((checked["verdict"], checked["why"]), ("elsewhere", "kept offline: safe 3, Bern"))
        self.assertEqual(self.ok("verify", away).err, "")
        self.assertIn("it is not there: kept offline: safe 3, Bern", str(self.ok_json("rotate", "root", "--rewrap-all")["left"]))
        gone = self.kmtool("state", "cargo@1", "destroy", "--reason", "over", "--dry-run")
        self.assertNotIn("lost", gone.err)
        away.rename(self.new)
        self.ok("rotate", "root", "--rewrap-all")
        row = [bundle for bundle in self.ok_json("bundles")["bundles"] if bundle["path"] == str(self.new)][0]
        self.assertEqual((row["kek"], row["offline"]), ("root@2", "safe 3, Bern"))
        self.ok("bundles", "--moved", self.new)  # it lies on this host again
        self.assertIsNone([bundle for bundle in self.ok_json("bundles")["bundles"] if bundle["path"] == str(self.new)][0]["offline"])
        self.ok("audit", "verify")

    def test_lost(self):
        words = ("bundles", "--lost", self.old)
        self.refused(64, *words, says="--reason")
        self.refused(64, "bundles", "--reason", "burnt", says="--lost")
        self.refused(64, *words, "--reason", " ")
        self.refused(73, *words, "--reason", "burnt", says=["is where the catalog has it", "remove the file first"])
        self.refused(66, "bundles", "--lost", self.new, "--reason", "burnt", says="the catalog knows no bundle")
        self.old.unlink()
        dry = self.planned(*words, "--reason", "burnt")
        self.assertEqual(len(self.ok_json("bundles")["bundles"]), 1)
        done = self.ok_json(*words, "--lost", self.made["bundle"], "--reason", "burnt")
        self.assertEqual(done, dry)
        self.assertEqual(done["lost"], [{"bundle": self.made["bundle"], "path": str(self.old), "records": 1}])
        self.assertEqual(done["losses"], ["cargo@1 is in no bundle any more: kmtool wrap cargo@1 --kek KEK --out FILE, before its token is lost too"])
        self.assertEqual(self.ok_json("bundles")["bundles"], [])
        self.assertEqual(self.kmtool("monitor").code, 0)
        self.assertEqual(self.entries(self.home)[-1]["details"]["reason"], "burnt")
        self.refused(66, *words, "--reason", "burnt")
        self.ok("audit", "verify")
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_what_a_lost_one_alone_held(self):
        spare = self.folder / "spare.kmb"
        self.ok("gen", "idle", "--role", "data", "--exportable")
        self.ok("wrap", "cargo", "idle", "--kek", "root", "--out", spare)
        self.ok("state", "idle", "destroy", "--reason", "over", "--yes")
        for path in (self.old, spare):
            path.unlink()
        done = self.ok_json("bundles", "--lost", self.old, "--reason", "fire")
        self.assertEqual(done["losses"], [])
        said = self.ok("bundles", "--lost", spare, "--reason", "fire")
        self.assertEqual(said.out, f"recorded as lost: {spare}, 2 records\n")
        self.assertIn("idle@1 is on no token of this home, and in no bundle any more: what it protects is lost for ever", said.err)
        self.assertIn("cargo@1 is in no bundle any more", said.err)

    def test_a_copy_that_nobody_opens_holds_nothing(self):
        spare = self.folder / "spare.kmb"
        self.ok("gen", "other", "--role", "kek")
        self.ok("gen", "born", "--role", "data", "--backup", self.folder / "born.kmb", "--kek", "root")
        self.ok("wrap", "cargo", "--kek", "other", "--out", spare)
        self.ok("state", "other", "destroy", "--reason", "over", "--yes")
        for path in (self.old, self.folder / "born.kmb"):
            path.unlink()
        done = self.ok_json("bundles", "--lost", self.old, "--lost", self.folder / "born.kmb", "--reason", "fire")
        self.assertEqual(sorted(done["losses"]), ["born@1 is in no bundle any more: kmtool rotate born --backup FILE --kek KEK, before its token is lost too",
                                                  "cargo@1 is in no bundle any more: kmtool wrap cargo@1 --kek KEK --out FILE, before its token is lost too"])

    def test_what_was_kept_for_a_lost_one(self):
        self.ok("gen", "branch", "--role", "kek", "--exportable")
        self.ok("export-kek", "branch", "--to-kek", "root", "--out", self.folder / "branch.kmk")  # elsewhere, too: old files stay until a drill
        self.ok("wrap", "cargo", "--kek", "branch", "--out", self.old, "--force")
        self.ok("rotate", "branch", "--backup", self.folder / "branch2.kmk", "--rewrap-all")
        kept = pathlib.Path(f"{self.old}.@1")
        self.assertTrue(kept.exists())
        self.old.unlink()
        done = self.ok_json("bundles", "--lost", self.old, "--reason", "fire")
        self.assertEqual((done["losses"], done["current"]), ([], [str(kept)]))
        self.assertEqual([one["kept_for"] for one in self.ok_json("bundles")["bundles"] if one["path"] == str(kept)], [None])
        self.assertEqual(self.ok_json("unwrap", kept, "--check")["compared"], ["cargo@1"])

    def test_a_lost_backups_quorum_is_remembered(self):
        backup = self.folder / "root.kmk"
        self.ok("gen", "top", "--role", "kek")
        self.ok("gen", "base", "--role", "kek", "--exportable")
        self.ok("export-kek", "base", "--to-kek", "top", "--quorum", "2/3", "--shares", self.folder / "shares", "--out", backup)
        backup.unlink()
        done = self.ok_json("bundles", "--lost", backup, "--reason", "fire")
        self.assertEqual(done["losses"], ["base@1 has no backup any more: kmtool export-kek base@1 --to-kek PARENT --out FILE, before its token is lost too"])
        again = ("rotate", "base", "--backup", self.folder / "root2.kmk", "--kek", "top")
        result = self.kmtool(*again)
        self.assertEqual(result.code, 1, result)
        self.assertIn("a backup of base@1, which is on record as lost, opens with 2 of 3 shares", result.err)
        self.ok(*again, "--quorum", "2/3", "--shares", self.folder / "shares2")

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

    def test_its_name_is_given_to_another(self):
        """It lies on offline media, and holds what nothing else does: its row is not lost with its name."""
        born, safe = self.folder / "born.kmb", self.folder / "safe/born.kmb"
        first = self.ok_json("gen", "born", "--role", "data", "--backup", born, "--kek", "root")["backup"]["bundle"]
        for number, words in enumerate((("gen", "two", "--role", "mac", "--backup", born, "--kek", "root"), ("wrap", "cargo", "--kek", "root", "--out", born),
                                        ("rotate", "born", "--backup", born)), 1):
            with self.subTest(words[0]):
                born.rename(self.folder / f"safe/born{number}.kmb")
                said = self.ok(*words, "--json")
                done = said.json()
                self.assertIsNone({"gen": done.get("backup"), "wrap": done, "rotate": done.get("backups", [None])[0]}[words[0]]["kept"])
                rows = {bundle["id"]: bundle["path"] for bundle in self.ok_json("bundles")["bundles"]}
                self.assertEqual(rows[first], f"{born}.@1")
                self.assertEqual(sum(path == str(born) for path in rows.values()), 1)
                self.assertEqual(f"is not there, and holds a key that no other bundle has: it stays on record as {born}.@" in said.err, number != 3, said)
        self.assertIn(f"{born}.@1 is missing (moved: kmtool bundles --moved FILE; on other media: with --offline PLACE; lost: --lost FILE)", self.kmtool("monitor", "-v").out)
        (self.folder / "safe/born1.kmb").rename(safe)
        self.assertEqual(self.ok_json("bundles", "--moved", safe)["moved"][0]["bundle"], first)
        self.assertEqual(self.ok_json("unwrap", safe, "--check")["compared"], ["born@1"])
        self.ok("bundles", "--moved", self.folder / "safe/born2.kmb")
        self.assertEqual(self.kmtool("bundles", "--verify-all").code, 0)
        self.ok("doctor")

    def test_another_lay_in_its_place(self):
        """Its name was given to another bundle by hand, and --force writes over that one."""
        born, safe = self.folder / "born.kmb", self.folder / "safe/born.kmb"
        self.ok("gen", "born", "--role", "data", "--backup", born, "--kek", "root")
        born.rename(safe)
        shutil.copy(self.old, born)
        self.ok("wrap", "cargo", "--kek", "root", "--out", born, "--force")
        self.assertEqual(self.ok_json("bundles", "--moved", safe)["moved"][0]["from"], f"{born}.@1")

    def test_a_name_on_record_is_taken(self):
        """FILE.@1 was moved away as well: what is kept next does not take its name."""
        born = self.folder / "born.kmb"
        self.ok("gen", "born", "--role", "data", "--backup", born, "--kek", "root")
        for _ in range(2):
            self.ok("rotate", "born", "--backup", born, "--force")
            for path in self.folder.glob("born.kmb.@*"):
                path.rename(self.folder / "safe" / path.name)
        self.assertEqual({path.name for path in (self.folder / "safe").iterdir()}, {"born.kmb.@1", "born.kmb.@2"})

    def test_a_copy_that_is_rewrapped_leaves_the_original_on_record(self):
        shutil.copy(self.old, self.new)
        self.ok("rotate", "root", "--rewrap", self.new)
        paths = [bundle["path"] for bundle in self.ok_json("bundles")["bundles"]]
        self.assertLessEqual({str(self.old), str(self.new)}, set(paths))


if __name__ == "__main__":
    harness.main()
