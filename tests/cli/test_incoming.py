"""What comes in from elsewhere is held against the policy that is here; versions of one key, from several bundles, under one name."""

import harness


class Incoming(harness.Case):
    """Site A makes, site B has a policy of its own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.embedded_home("a"), cls.embedded_home("b")
        cls.ok("gen", "incoming", "--role", "transport", home=cls.b)
        cls.request = cls.dir / "incoming.request"
        cls.request.write_text(cls.ok("show", "incoming", "--request", home=cls.b).out)
        cls.ok("signer", "trust", cls.b / "signers/document.pem", "--name", "site-b", home=cls.a)
        cls.ok("signer", "trust", cls.a / "signers/document.pem", "--name", "site-a", home=cls.b)
        cls.waived = cls.dir / "waived.kmk"
        cls.ok("gen", "strong", "--role", "kek", "--exportable", home=cls.a)
        cls.ok("export-kek", "strong", "--to-public-key", cls.request, "--out", cls.waived, "--waive", "G-KEK=no other transport", home=cls.a)
        cls.root = cls.dir / "root.kmk"
        cls.ok("gen", "root", "--role", "kek", "--type", "aes-128", "--exportable", home=cls.a)
        cls.ok("export-kek", "root", "--to-public-key", cls.request, "--out", cls.root, home=cls.a)
        cls.ok("import-kek", cls.root, "--activate", home=cls.b)

    def policy(self, text):
        (self.b / "policy.json").write_text(text + "\n")
        self.ok("policy", "accept", home=self.b)
        self.addCleanup(lambda: ((self.b / "policy.json").write_text("{}\n"), self.ok("policy", "accept", home=self.b)))

    def made(self, name, *more, role="data", kek="root"):
        """A key of site A and its bundle."""
        out = self.dir / f"{name}.kmb"
        if not out.exists():
            self.ok("gen", name, "--role", role, "--type", "aes-128", "--exportable", *more, home=self.a)
            self.ok("wrap", name, "--kek", kek, "--out", out, home=self.a)
        return out

    def state(self, label):
        return {k["label"]: k["state"] for k in self.ok_json("list", home=self.b)["keys"]}.get(label)


class Opener(Incoming):
    def test_what_a_compromised_key_brings_is_not_active(self):
        self.ok("gen", "stolen", "--role", "transport", home=self.b)
        request = self.dir / "stolen.request"
        request.write_text(self.ok("show", "stolen", "--request", home=self.b).out)
        self.ok("gen", "tainted", "--role", "kek", "--type", "aes-128", "--exportable", home=self.a)
        self.ok("export-kek", "tainted", "--to-public-key", request, "--out", self.dir / "tainted.kmk", home=self.a)
        self.ok("state", "stolen", "compromise", "--reason", "the token was stolen", home=self.b)
        for dry in ([], ["--dry-run"]):
            self.refused(77, "import-kek", self.dir / "tainted.kmk", "--activate", *dry, home=self.b, says="stolen@1, which the bundle is for, is compromised")
        self.assertIsNone(self.state("tainted@1"))
        self.ok("import-kek", self.dir / "tainted.kmk", home=self.b)
        self.assertEqual(self.state("tainted@1"), "deactivated")


class Policy(Incoming):
    def test_strength(self):
        bundle = self.made("weak")
        self.policy('{"minimum_strength": {"data": 256}}')
        for dry in ([], ["--dry-run"]):
            result = self.refused(77, "unwrap", bundle, "--activate", *dry, home=self.b, says="weak@1 cannot be activated: aes-128 (128 bits) is weaker than policy's minimum of 256 bits")
            self.assertIn("leave --activate out", result.err)
        self.assertIsNone(self.state("weak@1"))
        self.ok("unwrap", bundle, home=self.b)
        self.assertEqual(self.state("weak@1"), "deactivated")
        self.ok("unwrap", bundle, "--as", "weak-1", "--waive", "G-GEN=to read old files", home=self.b)
        self.assertEqual(self.ok_json("show", "weak-1@1", home=self.b)["keys"][0]["waivers"], [{"rule": "G-GEN", "reason": "to read old files"}])
        found = {one["object"]["label"]: one.get("waived") for one in self.ok_json("audit", "keys", home=self.b)["findings"] if "minimum of 256" in one["evidence"]}
        self.assertEqual((found["weak@1"], found["weak-1@1"]), (None, "to read old files"))
        self.ok("unwrap", bundle, "--as", "weak-2", "--activate", "--waive", "G-GEN=until march", home=self.b)
        self.assertEqual(self.ok_json("show", "weak-2@1", home=self.b)["keys"][0]["waivers"], [{"rule": "G-GEN", "reason": "until march"}])

    def test_period(self):
        bundle = self.made("long")
        short = self.made("short", "--cryptoperiod", "20d")
        self.policy('{"cryptoperiods": {"data": {"originator": "30d", "recipient": "1y"}}}')
        self.refused(77, "unwrap", bundle, "--activate", home=self.b, says=["long@1 cannot be activated: its originator period ends on", "no longer than 30d"])
        self.ok("unwrap", short, "--activate", home=self.b)
        self.ok("unwrap", bundle, home=self.b)
        self.assertEqual((self.state("long@1"), self.state("short@1")), ("deactivated", "active"))

    def test_what_was_waived_here_holds_for_the_copy(self):
        self.policy('{"minimum_strength": {"data": 256}}')
        out = self.dir / "own.kmb"
        self.ok("gen", "own", "--role", "data", "--type", "aes-128", "--exportable", "--waive", "G-GEN=an old peer", home=self.b)
        self.ok("wrap", "own", "--kek", "root", "--out", out, home=self.b)
        self.ok("unwrap", out, "--as", "own-2", "--activate", home=self.b)
        self.assertEqual(self.state("own-2@1"), "active")

    def test_period_of_a_kek(self):
        self.policy('{"cryptoperiods": {"kek": {"originator": "30d", "recipient": "1y"}}}')
        out = self.dir / "other.kmk"
        self.ok("gen", "other", "--role", "kek", "--type", "aes-128", "--exportable", home=self.a)
        self.ok("export-kek", "other", "--to-public-key", self.request, "--out", out, home=self.a)
        self.refused(77, "import-kek", out, "--activate", home=self.b, says="no longer than 30d")
        self.ok("import-kek", out, home=self.b)
        self.assertEqual(self.state("other@1"), "deactivated")

    def test_waivers_that_are_forbidden_here(self):
        self.policy('{"forbidden_waivers": ["G-KEK"]}')
        for more in (["--activate"], [], ["--check"], ["--dry-run"]):
            result = self.refused(77, "import-kek", self.waived, *more, home=self.b, says=["made under a waiver of G-KEK (no other transport)", "forbids"])
        self.refused(77, "import-kek", self.waived, "--waive", "G-KEK=please", home=self.b)
        self.assertIsNone(self.state("strong@1"))
        self.assertEqual(result.out, "")
        # A bundle of keys: they come back for what they protected, and protect nothing new.
        out = self.dir / "over.kmb"
        self.ok("gen", "over", "--role", "data", "--exportable", home=self.a)
        self.ok("wrap", "over", "--kek", "root", "--out", out, "--waive", "G-KEK=no other kek", home=self.a)
        self.refused(77, "unwrap", out, "--activate", home=self.b, says=["made under a waiver of G-KEK", "leave --activate out"])
        self.ok("unwrap", out, home=self.b)
        self.assertEqual(self.state("over@1"), "deactivated")

    def test_dry_drills_say_that_they_are(self):
        bundle = self.made("drilled")
        self.assertIn("would open 1 key", self.ok("unwrap", bundle, "--check", "--dry-run", home=self.b).out)
        self.assertIn("would open root@1", self.ok("import-kek", self.root, "--check", "--dry-run", home=self.b).out)
        for command, file in (("unwrap", bundle), ("import-kek", self.root)):
            self.assertIs(self.ok_json(command, file, "--check", "--dry-run", home=self.b)["checked"], False)
            self.assertIs(self.ok_json(command, file, "--check", home=self.b)["checked"], True)


class Gone(harness.EmbeddedCase):
    """What a version was before it was destroyed is remembered by whoever restores it under another name."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok("gen", "above", "--role", "kek", "--exportable")

    def state(self, label, what):
        self.ok("state", label, what, "--reason", "a test", "--yes")

    def kek(self, name):
        out = self.dir / f"{name}.kmk"
        self.ok("gen", name, "--role", "kek", "--exportable")
        self.ok("export-kek", name, "--to-kek", "above", "--out", out)
        return out

    def test_a_copy_of_a_destroyed_kek_was_compromised(self):
        out = self.kek("first")
        self.state("first@1", "destroy")
        self.ok("import-kek", out, "--as", "zcopy", "--activate")
        self.state("zcopy", "compromise")
        self.state("zcopy@1", "destroy")
        self.refused(77, "import-kek", out, "--as", "again", "--activate", says="called compromised")

    def test_keks(self):
        for what in ("deactivate", "suspend"):
            with self.subTest(what):
                out = self.kek(f"k-{what}")
                self.state(f"k-{what}", what)
                self.state(f"k-{what}@1", "destroy")
                self.refused(77, "import-kek", out, "--as", f"k-{what}-b", "--activate", says="protects nothing any more")
                self.ok("import-kek", out, "--as", f"k-{what}-b")
        out = self.kek("lost")  # destroyed while it was active: that is what backups are for
        self.state("lost@1", "destroy")
        self.ok("import-kek", out, "--as", "lost-b", "--activate")
        self.assertEqual([f for f in self.ok_json("audit", "keys", "--fail-on", "critical")["findings"] if "lost-b" in str(f) and f["check"] == "differs"], [])

    def test_keys(self):
        for what in ("deactivate", "suspend"):
            with self.subTest(what):
                out = self.dir / f"d-{what}.kmb"
                self.ok("gen", f"d-{what}", "--role", "data", "--exportable")
                self.ok("wrap", f"d-{what}", "--kek", "above", "--out", out)
                self.state(f"d-{what}", what)
                self.state(f"d-{what}@1", "destroy")
                self.refused(77, "unwrap", out, "--as", f"d-{what}-b", "--activate")
                self.ok("unwrap", out, "--as", f"d-{what}-b")


class Versions(Incoming):
    def bundles(self, name):
        """Version 1 and 2 of a key, each in a bundle that was written while it was active."""
        first, second = self.made(name), self.dir / f"{name}-2.kmb"
        self.ok("rotate", name, home=self.a)
        self.ok("wrap", name, "--kek", "root", "--out", second, home=self.a)
        return first, second

    def test_the_older_first(self):
        first, second = self.bundles("ledger")
        self.ok("unwrap", first, "--activate", home=self.b)
        dry = self.ok_json("unwrap", second, "--activate", "--dry-run", home=self.b)
        self.assertEqual(dry["keys"][0]["label"], "ledger@2")
        self.ok("unwrap", second, "--activate", home=self.b)
        self.assertEqual((self.state("ledger@1"), self.state("ledger@2")), ("deactivated", "active"))
        self.assertEqual(self.ok_json("show", "ledger", home=self.b)["keys"][0]["version"], 2)
        self.refused(73, "unwrap", second, home=self.b, says="already a key ledger@2")
        # What either protected opens, and a rotation goes on from there.
        plain = self.dir / "plain"
        plain.write_text("for both")
        self.ok("encrypt", "ledger", "--in", plain, "--out", self.dir / "new.kme", home=self.b)
        self.ok("decrypt", "--in", self.dir / "new.kme", "--out", self.dir / "again", home=self.b)
        self.ok("gen", "own", "--role", "kek", home=self.b)
        rotated = self.ok_json("rotate", "ledger", "--backup", self.dir / "ledger-3.kmb", "--kek", "own", home=self.b)
        self.assertEqual(rotated["rotated"][0]["to"], 3)
        self.refused(73, "unwrap", first, home=self.b, says="already a key ledger")
        self.assertIs(self.ok_json("doctor", home=self.b)["healthy"], True)

    def test_the_newer_first(self):
        first, second = self.bundles("journal")
        self.ok("unwrap", second, home=self.b)
        self.refused(77, "unwrap", first, "--activate", home=self.b, says="journal@2, which succeeded it, is here")
        self.ok("unwrap", first, home=self.b)
        self.assertEqual((self.state("journal@1"), self.state("journal@2")), ("deactivated", "deactivated"))
        self.refused(66, "show", "journal", home=self.b, says="no active version")

    def test_both_in_one(self):
        """In an overlap both are active at home; the newer one alone is so elsewhere."""
        self.ok("gen", "shared", "--role", "data", "--type", "aes-128", "--exportable", home=self.a)
        self.ok("rotate", "shared", "--overlap", "30d", home=self.a)
        out = self.dir / "shared.kmb"
        self.ok("wrap", "shared@1", "shared@2", "--kek", "root", "--out", out, home=self.a)
        self.ok("unwrap", out, "--activate", home=self.b)
        self.assertEqual((self.state("shared@1"), self.state("shared@2")), ("deactivated", "active"))

    def test_a_key_that_was_made_here_is_left_alone(self):
        first, _ = self.bundles("mine")
        self.ok("gen", "mine", "--role", "data", "--type", "aes-128", home=self.b)
        self.refused(73, "unwrap", first, home=self.b, says=["already a key mine", "--as NEWNAME"])


if __name__ == "__main__":
    harness.main()
