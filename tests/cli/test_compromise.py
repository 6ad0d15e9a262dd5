"""A bundle is older than what was learnt since: keys that were called compromised do not come back to protect anything."""

import json

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
        """The same value under another name, and the original, which was destroyed before, that is compromised through it."""
        self.ok("gen", "stem", "--role", "kek")
        for role in ("data", "mac"):
            bundle = self.bundle(f"twin-{role}", "stem", role)
            self.ok("unwrap", bundle, "--as", f"copy-{role}", "--activate")
            self.ok("state", f"twin-{role}@1", "destroy", "--reason", "not needed", "--yes")
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
        self.restored(bundle, "from-under", "bare@1, which it was under")

    def test_a_bundle_that_is_wrapped_anew(self):
        """It says of each key what the catalog says now; one that was merely destroyed comes back as what it was."""
        self.ok("gen", "branch", "--role", "kek")
        out = self.dir / "several.kmb"
        names = ("stays", "leaks", "sleeps", "retires", "goes", "goes-leaked")
        for name in names:
            self.ok("gen", name, "--role", "data", "--exportable")
        self.ok("wrap", *names, "--kek", "branch", "--out", out)
        self.compromise("leaks@1")
        self.compromise("goes-leaked@1")
        for name, verb in (("sleeps", "suspend"), ("retires", "deactivate"), ("goes", "destroy"), ("goes-leaked", "destroy")):
            self.ok("state", f"{name}@1", verb, "--reason", "a test", "--yes")
        dry = self.ok("rotate", "branch", "--rewrap-all", "--dry-run")
        done = self.ok("rotate", "branch", "--rewrap-all")
        for result in (dry, done):
            self.assertIn(f"leaks@1, goes-leaked@1 were called compromised since {out} was written", result.err)
        records = [json.loads(line)["key"] for line in out.read_text().splitlines() if line.startswith('{"key"')]
        self.assertEqual({key["name"]: key["state"] for key in records},
                         {"stays": "active", "leaks": "compromised", "sleeps": "suspended", "retires": "deactivated", "goes": "active", "goes-leaked": "compromised"})
        self.assertEqual(self.ok_json("verify", out)["signature"], "ok")
        # Another home knows of it by the bundle alone.
        self.refused(77, "unwrap", out, "leaks", "--as", "leaks-2", "--activate", says="compromised")
        self.assertNotIn("called compromised", self.ok("rotate", "branch", "--rewrap-all").err)  # said once

    def test_copies_go_with_it(self):
        self.ok("gen", "crown", "--role", "kek")
        bundle = self.bundle("value", "crown")
        self.ok("unwrap", bundle, "--as", "value-copy", "--activate")
        self.ok("unwrap", bundle, "--as", "value-old")
        dry = self.ok_json("state", "value-copy", "compromise", "--reason", "seen", "--dry-run")
        self.assertEqual({key["label"] for key in dry["keys"]}, {"value-copy@1", "value@1", "value-old@1"})
        self.assertEqual(self.ok_json("show", "value@1")["keys"][0]["state"], "active")
        changed = self.ok("state", "value-copy", "compromise", "--reason", "seen")
        self.assertIn("value@1 is compromised: it is the same key", changed.out)
        self.assertIn(f"affected: {bundle}", changed.out)
        for name in ("value", "value-copy", "value-old"):
            self.assertEqual(self.ok_json("show", f"{name}@1")["keys"][0]["state"], "compromised")
        self.assertEqual(sorted(self.entries(self.home)[-1]["details"]["same_key"]), ["value-old@1", "value@1"])
        self.refused(77, "encrypt", "value-copy", "--in", "/dev/null", "--out", self.dir / "x.kme")
        # None of them is forgotten with its objects.
        for name in ("value", "value-copy", "value-old"):
            self.ok("state", f"{name}@1", "destroy", "--reason", "over", "--yes")
        self.refused(77, "unwrap", bundle, "--as", "value-new", "--activate", says="called compromised")
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_copies_are_named(self):
        """What is done to one of them and not to the other."""
        self.ok("gen", "bough", "--role", "kek")
        bundle = self.bundle("one", "bough")
        self.ok("unwrap", bundle, "--as", "two", "--activate")
        for verb in ("suspend", "deactivate", "destroy"):
            result = self.ok("state", "one@1", verb, "--reason", "a test", "--yes")
            self.assertIn(f"two@1 is the same key, and stays active: kmtool state two@1 {verb}", result.err)
            self.assertNotIn("lost for ever", result.err)
        result = self.ok_json("state", "two@1", "suspend", "--reason", "a test")
        self.assertEqual(result["same_key"], [])

    def test_a_suspended_key_stays_suspended(self):
        self.ok("gen", "fork", "--role", "kek")
        bundle = self.bundle("held", "fork")
        plain, sealed = self.dir / "plain", self.dir / "plain.kme"
        plain.write_text("for later")
        self.ok("encrypt", "held", "--in", plain, "--out", sealed)
        self.ok("state", "held", "suspend", "--reason", "a review")
        for more in ([], ["--activate"]):
            for dry in ([], ["--dry-run"]):
                result = self.refused(77, "unwrap", bundle, "--as", "held-2", *more, *dry, says="held@1 is not restored: it is suspended")
                self.assertIn("kmtool state held@1 resume", result.err)
        self.refused(77, "decrypt", "--in", sealed, "--out", self.dir / "out.txt")
        self.assertIs(self.ok_json("unwrap", bundle, "--check")["checked"], True)
        self.ok("state", "held@1", "resume", "--reason", "reviewed")
        self.ok("unwrap", bundle, "--as", "held-2", "--activate")
        self.ok("state", "held-2", "suspend", "--reason", "a review")
        self.refused(77, "unwrap", bundle, "--as", "held-3", says="held-2@1, the same key, is suspended")

    def test_a_key_that_was_deactivated(self):
        """It protects nothing any more, under no name; what came back for processing only stands in nobody's way."""
        self.ok("gen", "twig", "--role", "kek")
        bundle = self.bundle("former", "twig")
        self.ok("unwrap", bundle, "--as", "former-reads")
        self.ok("unwrap", bundle, "--as", "former-works", "--activate")
        self.ok("rotate", "former")
        self.refused(77, "unwrap", bundle, "--as", "former-again", "--activate", says="former@1 cannot be activated: it was deactivated")
        self.ok("unwrap", bundle, "--as", "former-again")


if __name__ == "__main__":
    harness.main()
