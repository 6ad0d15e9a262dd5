"""rotate --dry-run prints what rotate then does, line by line."""

import time

import harness


class Plan(harness.Rotation):
    def same(self, *words):
        """The plan, then the deed: the same lines and the same document, hooks' exit codes aside. Returns the document."""
        before = self.snapshot(self.home)
        lines = self.ok("rotate", *words, "--dry-run").out.splitlines()
        plan = self.planned("rotate", *words)
        self.assertEqual(self.snapshot(self.home), before)
        done = self.kmtool("rotate", *words, "--json").json()
        for document in (plan, done):
            document["hooks"] = [hook["key"] for hook in document["hooks"]]
        self.assertEqual(plan, done)
        self.assertIn(f"{len(done['rotated'])} rotated, {len(done['rewrapped'])} re-wrapped, 0 failed, {done['not_due']} not due", lines)
        for left in done["left"]:
            self.assertIn(f"still under an old kek: {left['file']}: {left['why']}", lines)
        for backup in done["backups"]:
            self.assertIn(f"backed up {backup['key']} into {backup['file']}", lines)
        return done

    def bundle(self, name, *keys, kek="root"):
        path = self.dir / f"{name}.kmb"
        self.ok("wrap", *keys, "--kek", kek, "--out", path)
        return path

    def test_kek(self):
        self.ok("gen", "near", "--role", "kek")
        self.ok("gen", "cargo", "--role", "data", "--exportable", "--count", "3")
        named, unnamed, moved = (self.bundle(n, f"cargo-000{i}", kek="near") for i, n in enumerate(("named", "unnamed", "moved"), 1))
        moved.rename(self.dir / "elsewhere.kmb")
        done = self.same("near", "--rewrap", named)
        self.assertEqual([r["file"] for r in done["rewrapped"]], [str(named), str(self.home / "bundles" / "near@2.kmb")])
        self.assertEqual({left["file"]: left["why"] for left in done["left"]}, {str(unnamed): "it was not named", str(moved): "it was not named"})
        done = self.same("near", "--rewrap-all")
        self.assertIn(str(unnamed), [r["file"] for r in done["rewrapped"]])
        self.assertIn("it is not there", done["left"][0]["why"])

    def test_kek_that_is_elsewhere(self):
        """The backup, and the old files that stay beside."""
        self.ok("gen", "far", "--role", "kek", "--exportable")
        self.ok("gen", "freight", "--role", "data", "--exportable")
        self.ok("export-kek", "far", "--to-kek", "root", "--out", self.dir / "far1.kmk")
        under = self.bundle("under-far", "freight", kek="far")
        done = self.same("far", "--backup", self.dir / "far2.kmk", "--rewrap-all")
        self.assertEqual(done["rewrapped"], [{"file": str(under), "records": 1, "kept": f"{under}.@1"}])
        self.assertEqual(done["left"], [{"file": f"{under}.@1", "why": "it is kept until a drill with its successor is confirmed"}])
        self.assertEqual(done["backups"], [{"key": "far@2", "file": str(self.dir / "far2.kmk"), "kept": None}])

    def test_data_key_with_backup_and_hook(self):
        born, hook = self.dir / "born.kmb", self.dir / "hook.sh"
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o700)
        self.ok("gen", "born", "--role", "data", "--backup", born, "--kek", "root")
        done = self.same("born", "--backup", born, "--force", "--hook", hook)
        self.assertEqual(done["backups"], [{"key": "born@2", "file": str(born), "kept": f"{born}.@1"}])
        self.assertEqual(done["hooks"], ["born@2"])

    def test_due(self):
        """What has come due changes what else is due: an activation puts the old version out of the question."""
        self.ok("gen", "soon", "--role", "data", "--cryptoperiod", "1s")
        self.ok("gen", "ends", "--role", "data")
        self.ok("rotate", "ends", "--overlap", "1s")
        time.sleep(2.1)
        done = self.same("--due")
        self.assertEqual([r["name"] for r in done["rotated"]], ["soon"])
        self.assertEqual(done["deactivated"], ["ends@1"])
        self.ok("state", "soon", "deactivate", "--reason", "over")

    def test_bundles_of_a_key_that_has_none(self):
        self.ok("gen", "plain", "--role", "mac")
        self.refused(64, "rotate", "plain", "--rewrap-all", says="no kek")
        self.refused(64, "rotate", "plain", "--rewrap", self.dir / "x.kmb", says="no kek")
        self.assertEqual(self.states("plain"), {1: "active"})


if __name__ == "__main__":
    harness.main()
