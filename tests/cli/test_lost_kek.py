"""A KEK's objects are gone from the token: what another KEK opens is used, and is no bad bundle; the hints lead to what works."""

import harness


class LostKek(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.both, cls.alone, cls.backup = cls.dir / "both.kmb", cls.dir / "alone.kmb", cls.dir / "a.kmk"
        cls.ok("gen", "a", "--role", "kek", "--exportable")
        cls.ok("gen", "b", "--role", "kek")
        for name in ("z", "y"):
            cls.ok("gen", name, "--role", "data", "--exportable")
        cls.ok("wrap", "z", "--kek", "a", "--kek", "b", "--out", cls.both)
        cls.ok("wrap", "y", "--kek", "a", "--out", cls.alone)
        cls.ok("export-kek", "a", "--to-kek", "b", "--out", cls.backup)
        key = [one for one in cls.ok_json("list")["keys"] if one["label"] == "a@1"][0]
        for _ in range(2):
            cls.pkcs11_tool(cls.home, "--delete-object", "--type", "secrkey", "--id", key["id"])

    def test_1_another_recipient_opens_it(self):
        said = self.ok("verify", self.both)
        self.assertIn("a@1: not checked", said.out)
        self.assertIn("b@1: ok", said.out)
        self.assertEqual(self.ok_json("unwrap", self.both, "--check")["compared"], ["z@1"])
        self.ok("unwrap", self.both, "--as", "zz")
        self.refused(66, "unwrap", self.alone, "--check", says=["a@1 was removed from it behind kmtool's back", "kmtool state a@1 destroy --reason TEXT", "import-kek BUNDLE --as NEWNAME"])
        found = {one["path"]: one["verdict"] for one in self.ok_json("bundles", "--verify-all")["bundles"]}
        self.assertEqual(set(found.values()), {"ok"}, found)

    def test_2_a_rotation_goes_on_with_the_others(self):
        out = self.dir / "c.kmb"
        self.ok("wrap", "z", "--kek", "b", "--out", out)
        done = self.kmtool("rotate", "b", "--rewrap-all", "--json").json()
        self.assertEqual([one["file"] for one in done["rewrapped"]], [str(out)])
        self.assertIn("a@1 was removed from the token", {one["file"]: one["why"] for one in done["left"]}[str(self.both)])

    def test_3_it_comes_back(self):
        self.refused(73, "import-kek", self.backup, says=["a@1 is this kek", "kmtool state a@1 destroy --reason TEXT, then import it with --as NEWNAME"])
        self.assertIs(self.ok_json("import-kek", self.backup, "--check")["compared"], False)
        self.assertIn("kmtool state a@1 destroy --reason TEXT", self.refused(66, "wrap", "y", "--kek", "a", "--out", self.dir / "no.kmb").err)
        self.ok("state", "a@1", "destroy", "--reason", "lost", "--yes")
        self.ok("import-kek", self.backup, "--as", "again")
        self.assertEqual(self.ok_json("unwrap", self.alone, "--check")["compared"], ["y@1"])
        self.assertIn("a@1: ok", self.ok("verify", self.both).out)

    def test_4_a_missing_key(self):
        key = [one for one in self.ok_json("list")["keys"] if one["label"] == "y@1"][0]
        self.pkcs11_tool(self.home, "--delete-object", "--type", "secrkey", "--id", key["id"])
        said = self.kmtool("audit", "keys", "--json")
        self.assertIn("kmtool state y@1 destroy --reason TEXT, then kmtool unwrap BUNDLE y --as NEWNAME", said.out)
        self.ok("state", "y@1", "destroy", "--reason", "lost", "--yes")
        self.ok("unwrap", self.alone, "y", "--as", "why", "--activate")


class Activate(harness.Case):
    def test_the_hint_names_those_that_can_be(self):
        self.on_own_token()
        out = self.dir / "all.kmb"
        self.ok("gen", "root", "--role", "kek")
        self.ok("home", "backup", self.dir / "h.kmh")
        for name in ("one", "two"):
            self.ok("gen", name, "--role", "data", "--exportable")
        self.ok("state", "two", "deactivate", "--reason", "over")
        self.ok("wrap", "one", "two@1", "--kek", "root", "--out", out)
        for name in ("one@1", "two@1"):
            self.ok("state", name, "destroy", "--reason", "a test", "--yes")
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.kmtool("doctor", "--accept-rollback", "--reason", "a test")
        self.refused(77, "unwrap", out, "--activate", says=["two@1 cannot be activated", f"kmtool unwrap {out} one@1 --activate; and by their names without it the others"])
        self.refused(77, "unwrap", out, "two", "--activate", says="restore it without --activate")
        self.ok("unwrap", out, "one@1", "--activate")
        self.ok("unwrap", out, "two@1")


if __name__ == "__main__":
    harness.main()
