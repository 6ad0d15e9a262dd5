"""A bundle is older than what was learnt since: keys that were called compromised do not come back to protect anything."""

import harness


class Compromise(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))

    def bundle(self, name, kek, role="data"):
        path = self.dir / f"{name}.kmb"
        self.ok("gen", name, "--role", role, "--exportable")
        self.ok("wrap", name, "--kek", kek, "--out", path)
        return path

    def compromise(self, label):
        self.ok("state", label, "compromise", "--reason", "seen in a log", "--yes")

    def restored(self, bundle, name, says):
        """Not for use; and where it is restored all the same, it says what it is."""
        error = self.kmtool("unwrap", bundle, "--as", name, "--activate", "--json").error()
        self.assertEqual((error["exit"], error["code"]), (77, "G-WORK"))
        self.assertIn(says, error["message"])
        self.assertNotIn(f"{name}@1", {key["label"] for key in self.ok_json("list")["keys"]})
        self.assertEqual(self.ok_json("unwrap", bundle, "--as", name)["keys"][0]["state"], "compromised")

    def test_the_key_itself(self):
        self.ok("gen", "root", "--role", "kek")
        for role in ("data", "mac"):
            bundle = self.bundle(f"leaked-{role}", "root", role)
            self.ok("unwrap", bundle, "--as", f"before-{role}", "--activate")
            self.compromise(f"leaked-{role}@1")
            self.restored(bundle, f"after-{role}", "it was called compromised")

    def test_a_copy_of_it(self):
        """The same value under another name, and the original that is compromised through it."""
        self.ok("gen", "stem", "--role", "kek")
        for role in ("data", "mac"):
            bundle = self.bundle(f"twin-{role}", "stem", role)
            self.ok("unwrap", bundle, "--as", f"copy-{role}", "--activate")
            self.compromise(f"copy-{role}@1")
            self.restored(bundle, f"third-{role}", f"copy-{role}@1, the same key,")

    def test_one_that_was_destroyed_since(self):
        self.ok("gen", "trunk", "--role", "kek")
        bundle = self.bundle("gone", "trunk")
        self.compromise("gone@1")
        self.ok("state", "gone@1", "destroy", "--reason", "over", "--yes")
        self.restored(bundle, "back", "called compromised")
        # One that was destroyed without being compromised may come back.
        other = self.bundle("mistake", "trunk")
        self.ok("state", "mistake@1", "destroy", "--reason", "by mistake", "--yes")
        self.assertEqual(self.ok_json("unwrap", other, "--as", "again", "--activate")["keys"][0]["state"], "active")

    def test_a_kek_that_comes_back(self):
        out = self.dir / "kek.kmk"
        self.ok("gen", "over", "--role", "kek")
        self.ok("gen", "child", "--role", "kek", "--exportable")
        self.ok("export-kek", "child", "--to-kek", "over", "--out", out)
        self.compromise("child@1")
        self.ok("state", "child@1", "destroy", "--reason", "over", "--yes")
        self.refused(77, "import-kek", out, "--as", "anew", "--activate", says="called compromised")
        self.ok("import-kek", out, "--as", "anew")
        self.assertEqual(self.ok_json("show", "anew@1")["keys"][0]["state"], "compromised")

    def test_its_kek(self):
        self.ok("gen", "bare", "--role", "kek")
        bundle = self.bundle("under", "bare")
        self.compromise("bare@1")
        self.restored(bundle, "from-under", "the kek bare@1")


if __name__ == "__main__":
    harness.main()
