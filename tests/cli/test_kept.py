"""The only backup of a key that cannot leave the token again is never written over, and is proven before the key exists."""

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
        self.assertIn(str(kept), report.err)
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

    def test_a_backup_that_does_not_open(self):
        """No key, and no bundle, where the value cannot be taken out of the file again."""
        out = self.dir / "unproven.kmb"
        before = self.snapshot(self.home)
        fails = {"KMFORWARD_FAIL_NAME": "C_UnwrapKey", "KMFORWARD_FAIL_AT": "1", "KMFORWARD_FAIL_RV": "5"}
        self.refused(65, "gen", "unproven", "--role", "data", "--backup", out, "--kek", "root", env=fails, says="C_UnwrapKey")
        self.assertFalse(out.exists())
        self.assertEqual(self.snapshot(self.home), before)

    def test_destroyed_keys_need_no_backup(self):
        out = self.dir / "gone.kmb"
        self.ok("gen", "gone", "--role", "data", "--backup", out, "--kek", "root")
        self.ok("state", "gone", "destroy", "--reason", "a test", "--yes")
        self.assertIsNone(self.ok_json("wrap", "cargo", "--kek", "root", "--out", out, "--force")["kept"])


if __name__ == "__main__":
    harness.main()
