"""The only backup of a key that cannot leave the token again is never written over, and is proven before the key exists."""

import os
import pathlib

import harness


class Kept(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token)
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "cargo", "--role", "data", "--exportable")

    def compared(self, bundle):
        """Labels of the keys that a drill compared with the token's."""
        self.ok("verify", bundle)
        return self.ok_json("unwrap", bundle, "--check")["compared"]

    def paths(self, *words):
        return {bundle["path"] for bundle in self.ok_json("bundles", *words)["bundles"]}

    def test_rotation_over_the_only_backup(self):
        out = self.dir / "born.kmb"
        self.ok("gen", "born", "--role", "data", "--backup", out, "--kek", "root")
        first = out.read_bytes()
        report = self.ok("rotate", "born", "--backup", out, "--force")
        kept = self.dir / "born.kmb.@1"
        self.assertIn(str(kept), report.out)
        self.assertEqual(kept.read_bytes(), first)
        self.assertEqual(self.compared(kept), ["born@1"])
        self.assertEqual(self.compared(out), ["born@2"])
        self.assertLessEqual({str(kept), str(out)}, self.paths())
        # A drill with the new one does not make the old one superfluous: it alone holds version 1.
        self.ok("bundles", "--confirm-restored", out)
        self.assertTrue(kept.exists())
        # Both follow their KEK.
        self.ok("rotate", "root", "--rewrap-all")
        self.assertEqual(self.paths("--depends-on", "root@1"), set())
        self.assertEqual(self.compared(kept), ["born@1"])
        made = self.ok_json("wrap", "cargo", "--kek", "root", "--out", out, "--force")
        self.assertEqual(made["kept"], str(self.dir / "born.kmb.@2"))
        self.assertEqual(self.compared(made["kept"]), ["born@2"])
        # What is in another bundle too, or can be wrapped again, is written over.
        self.assertIsNone(self.ok_json("wrap", "cargo", "--kek", "root", "--out", out, "--force")["kept"])
        self.ok("doctor")

    def test_birth_over_the_only_backup(self):
        out = self.dir / "two.kmb"
        self.ok("gen", "one", "--role", "mac", "--backup", out, "--kek", "root")
        made = self.ok_json("gen", "two", "--role", "mac", "--backup", out, "--kek", "root", "--force")
        self.assertEqual(made["backup"]["kept"], str(out) + ".@1")
        self.assertEqual(self.compared(str(out) + ".@1"), ["one@1"])
        self.assertEqual(self.compared(out), ["two@1"])

    def test_export_over_the_only_backup_of_a_kek(self):
        """A KEK could be wrapped again from the token, but its other site opens bundles by the very copy that lies there."""
        out = self.dir / "branch.kmb"
        self.ok("gen", "parent", "--role", "kek")
        self.ok("gen", "branch", "--role", "kek", "--exportable")
        self.ok("gen", "other", "--role", "kek", "--exportable")
        self.ok("export-kek", "branch", "--to-kek", "parent", "--out", out)
        first = out.read_bytes()
        plan = self.ok_json("rotate", "branch", "--backup", out, "--force", "--dry-run")["backups"]
        self.assertEqual(plan, [{"key": "branch@2", "file": str(out), "kept": str(out) + ".@1"}])
        self.assertEqual(self.ok_json("rotate", "branch", "--backup", out, "--force")["backups"], plan)
        kept = self.dir / "branch.kmb.@1"
        self.assertEqual(kept.read_bytes(), first)
        self.assertLessEqual({str(kept), str(out)}, self.paths())
        self.assertEqual(self.ok_json("import-kek", kept, "--check")["checked"], True)
        made = self.ok_json("export-kek", "other", "--to-kek", "parent", "--out", out, "--force")
        self.assertEqual(made["kept"], str(out) + ".@2")
        # The same KEK again: the new copy holds it.
        self.assertIsNone(self.ok_json("export-kek", "other", "--to-kek", "parent", "--out", out, "--force")["kept"])

    def test_two_rotations_before_one_drill(self):
        """What was kept by the first waits for the same drill as what was kept by the second."""
        under = self.dir / "twice.kmb"
        self.ok("gen", "above", "--role", "kek")
        self.ok("gen", "twice", "--role", "kek", "--exportable")
        self.ok("export-kek", "twice", "--to-kek", "above", "--out", self.dir / "twice1.kmb")
        self.ok("wrap", "cargo", "--kek", "twice", "--out", under)
        for number in (2, 3):
            self.ok("rotate", "twice", "--backup", self.dir / f"twice{number}.kmb", "--rewrap-all")
        kept = {str(under) + ".@1", str(under) + ".@2"}
        self.assertLessEqual(kept, self.paths())
        said = self.ok("bundles", "--confirm-restored", under, "--dry-run").out
        for path in kept:
            self.assertIn(path, said)
        # A drill is believed; that the new copy is here and whole is looked at before the old ones go.
        whole = under.read_bytes()
        under.rename(self.dir / "away.kmb")
        self.refused(66, "bundles", "--confirm-restored", under, says="nothing that it took the place of is removed")
        under.write_bytes(whole.replace(b"twice", b"thrice", 1))
        self.refused(65, "bundles", "--confirm-restored", under, says="nothing that it took the place of is removed")
        under.unlink()
        os.mkfifo(under)
        self.refused(65, "bundles", "--confirm-restored", under, says="not a regular file")
        self.assertTrue(all(pathlib.Path(path).exists() for path in kept))
        under.unlink()
        (self.dir / "away.kmb").rename(under)
        self.ok("bundles", "--confirm-restored", under)
        self.assertFalse(kept & self.paths())
        self.assertEqual([p for p in self.dir.iterdir() if "twice.kmb.@" in p.name], [])
        self.assertEqual(self.paths("--depends-on", "twice@1") | self.paths("--depends-on", "twice@2"), set())

    def kept_bundle(self, name):
        """A bundle, and the one that it took the place of, which waits for a drill."""
        under, kept = self.dir / f"{name}.kmb", self.dir / f"{name}.kmb.@1"
        self.ok("gen", name, "--role", "kek", "--exportable")
        self.ok("export-kek", name, "--to-kek", "root", "--out", self.dir / f"{name}-1.kmb")
        self.ok("wrap", "cargo", "--kek", name, "--out", under)
        self.ok("rotate", name, "--backup", self.dir / f"{name}-2.kmb", "--rewrap", under)
        self.assertTrue(kept.exists())
        return under, kept

    def test_what_lies_in_the_place_of_a_kept_bundle_is_not_removed(self):
        under, kept = self.kept_bundle("swapped")
        # Another bundle put there: the kept one goes on waiting beside it, and the drill removes that one.
        made = self.ok_json("gen", "only", "--role", "mac", "--backup", kept, "--kek", "root", "--force")
        self.assertEqual(made["backup"]["kept"], str(kept) + ".@1")
        self.assertEqual(self.ok_json("bundles", "--confirm-restored", under), {"confirmed": str(under), "left": [], "removed": [str(kept) + ".@1"]})
        self.assertEqual(self.compared(kept), ["only@1"])
        self.assertEqual(sum(bundle["path"] == str(kept) for bundle in self.ok_json("bundles")["bundles"]), 1)
        # Anything else, put there behind kmtool's back.
        for name, put in (("was-noted", lambda path: path.write_text("notes")), ("was-linked", lambda path: path.symlink_to(under)), ("was-folder", lambda path: path.mkdir()),
                          ("was-other", lambda path: path.write_bytes(under.read_bytes())), ("was-gone", lambda path: None)):
            with self.subTest(name):
                under, kept = self.kept_bundle(name)
                kept.unlink()
                put(kept)
                dry = self.planned("bundles", "--confirm-restored", under)
                self.assertEqual(dry["removed"], [])
                self.assertEqual([left["file"] for left in dry["left"]], [str(kept)])
                self.assertEqual(self.ok_json("bundles", "--confirm-restored", under), dry)
                self.assertEqual(os.path.lexists(kept), name != "was-gone")
                self.assertNotIn(str(kept), self.paths())

    def test_a_backup_that_does_not_open(self):
        """No key, and no bundle, where the value cannot be taken out of the file again."""
        out = self.dir / "unproven.kmb"
        before = self.snapshot(self.home)
        fails = {"KMFORWARD_FAIL_NAME": "C_UnwrapKey", "KMFORWARD_FAIL_AT": "1", "KMFORWARD_FAIL_RV": "5"}
        self.refused(65, "gen", "unproven", "--role", "data", "--backup", out, "--kek", "root", env=fails, says="C_UnwrapKey")
        self.assertFalse(out.exists())
        self.assertEqual(self.snapshot(self.home), before)

    def test_a_key_that_the_token_has_no_more(self):
        """What was destroyed there, and warned of nowhere because a bundle holds it, is in that bundle alone."""
        for name, words in (("gone", ("--backup", self.dir / "gone.kmb", "--kek", "root")), ("worn", ("--exportable",))):
            with self.subTest(name):
                out, kept = self.dir / f"{name}.kmb", self.dir / f"{name}.kmb.@1"
                self.ok("gen", name, "--role", "data", *words)
                if name == "worn":
                    self.ok("wrap", name, "--kek", "root", "--out", out)
                    self.ok("rotate", name)
                first = out.read_bytes()
                self.assertNotIn("lost", self.ok("state", f"{name}@1", "destroy", "--reason", "a test", "--yes").err)
                again = ("wrap", "cargo" if name == "gone" else name, "--kek", "root", "--out", out, "--force")
                self.assertEqual(self.ok_json(*again, "--dry-run")["kept"], str(kept))
                self.assertEqual(self.ok_json(*again)["kept"], str(kept))
                self.assertEqual(kept.read_bytes(), first)
                # The second copy may go: the first is there.
                self.assertIsNone(self.ok_json(*again)["kept"])
                self.assertEqual([key["name"] for key in self.ok_json("unwrap", kept, "--as", f"{name}-again")["keys"]], [f"{name}-again"])
        self.ok("doctor")

    def test_a_copy_that_is_not_there_is_no_copy(self):
        """Two bundles hold the key; one was deleted, or is damaged."""
        for name in ("deleted", "damaged", "whole"):
            with self.subTest(name):
                under, copy = self.dir / f"{name}.kmb", self.dir / f"{name}-copy.kmb"
                self.ok("gen", f"{name}-root", "--role", "kek")
                self.ok("gen", name, "--role", "data", "--backup", under, "--kek", f"{name}-root")
                copy.write_bytes(under.read_bytes())
                self.ok("rotate", f"{name}-root", "--rewrap", copy, "--rewrap", under)
                first = under.read_bytes()
                if name == "deleted":
                    copy.unlink()
                if name == "damaged":
                    copy.write_bytes(copy.read_bytes().replace(b'"created":"2', b'"created":"3', 1))
                    self.assertEqual(self.kmtool("bundles", "--verify-all").code, 1)
                kept = self.ok_json("wrap", "cargo", "--kek", "root", "--out", under, "--force")["kept"]
                self.assertEqual(kept, None if name == "whole" else str(under) + ".@1")
                if kept:
                    self.assertEqual(pathlib.Path(kept).read_bytes(), first)
                    self.assertEqual(self.compared(kept), [f"{name}@1"])

    def test_a_copy_that_nobody_opens_is_no_copy(self):
        """x is in two bundles, and the KEK of one is destroyed; then the other may not be written over."""
        one, two = self.dir / "x1.kmb", self.dir / "x2.kmb"
        for kek in ("k1", "k2"):
            self.ok("gen", kek, "--role", "kek")
        self.ok("gen", "x", "--role", "data", "--exportable")
        self.ok("wrap", "x", "--kek", "k1", "--out", one)
        self.ok("wrap", "x", "--kek", "k2", "--out", two)
        for key in ("k1", "x"):
            self.ok("state", key, "destroy", "--reason", "a test", "--yes")
        self.assertEqual(self.ok_json("wrap", "cargo", "--kek", "k2", "--out", two, "--force")["kept"], str(two) + ".@1")
        self.assertEqual([key["name"] for key in self.ok_json("unwrap", str(two) + ".@1", "--as", "x-again")["keys"]], ["x-again"])

    def test_a_copy_that_a_drill_removes_is_no_copy(self):
        """Its successor is out of sight, and the drill with it removes the copy."""
        one, two = self.dir / "drill.kmb", self.dir / "drill2.kmb"
        self.ok("gen", "above-drilled", "--role", "kek", "--exportable")
        self.ok("gen", "parent-drilled", "--role", "kek")
        self.ok("export-kek", "above-drilled", "--to-kek", "parent-drilled", "--out", self.dir / "above-1.kmk")
        self.ok("gen", "drilled", "--role", "data", "--exportable")
        for path in (one, two):
            self.ok("wrap", "drilled", "--kek", "above-drilled", "--out", path)
        self.ok("rotate", "above-drilled", "--backup", self.dir / "above-2.kmk", "--rewrap", one)
        self.assertTrue((self.dir / "drill.kmb.@1").exists())
        self.ok("state", "drilled", "destroy", "--reason", "a test", "--yes")
        one.rename(self.dir / "away")
        self.assertEqual(self.ok_json("wrap", "cargo", "--kek", "root", "--out", two, "--force")["kept"], str(two) + ".@1")
        (self.dir / "away").rename(one)


class Names(harness.EmbeddedCase):
    def test_a_name_that_is_too_long(self):
        """The names that a bundle has while it is written, or is kept, are longer; a file that the catalog does not know lies there."""
        long = self.dir / ("n" * 250 + ".kmb")
        short = self.dir / "stranger.kmb"
        other = self.embedded_home("stranger")
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        self.ok("gen", "root", "--role", "kek", home=other)
        self.ok("gen", "theirs", "--role", "data", "--backup", short, "--kek", "root", home=other)
        short.rename(long)
        before = len(self.entries(self.home))
        for dry in ([], ["--dry-run"]):
            self.refused(73, "wrap", "cargo", "--kek", "root", "--out", long, "--force", *dry, says="20 bytes longer", timeout=60)
        self.assertEqual(len(self.entries(self.home)), before)
        fits = self.dir / ("n" * 231 + ".kmb")
        long.rename(fits)
        self.assertEqual(self.ok_json("wrap", "cargo", "--kek", "root", "--out", fits, "--force")["kept"], str(fits) + ".@1")


if __name__ == "__main__":
    harness.main()
