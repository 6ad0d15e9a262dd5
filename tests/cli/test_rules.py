"""The rulebook at the door: strengths, waivers, usages that cannot be added (acceptance 6)."""

import json

import harness


class Rules(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "small", "--role", "kek", "--type", "aes-128")
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "big", "--role", "data", "--exportable")

    def attempt(self, label):
        return [json.loads(line) for line in self.look(self.home, "try", label)]

    def test_weak_kek(self):
        out = self.dir / "weak.kmb"
        before = self.snapshot(self.home)
        result = self.refused(77, "wrap", "big", "--kek", "small", "--out", out)
        for word in ("128", "256"):
            self.assertIn(word, result.err)
        error = self.kmtool("wrap", "big", "--kek", "small", "--out", out, "--json").error()
        self.assertEqual((error["code"], error["exit"]), ("G-KEK", 77))
        self.assertFalse(out.exists())
        self.assertEqual(self.snapshot(self.home), before)

    def test_weak_kek_among_two(self):
        self.refused(77, "wrap", "big", "--kek", "root", "--kek", "small", "--out", self.dir / "mixed.kmb")
        self.assertFalse((self.dir / "mixed.kmb").exists())

    def test_weak_kek_at_birth(self):
        out = self.dir / "weak-birth.kmb"
        before = self.snapshot(self.home)
        self.refused(77, "gen", "born", "--role", "data", "--backup", out, "--kek", "small")
        self.assertFalse(out.exists())
        self.assertEqual(self.snapshot(self.home), before)

    def test_waiver_passes_and_is_on_record(self):
        out = self.dir / "waived.kmb"
        reason = "the only KEK of the old site 7f3a"
        self.ok("wrap", "big", "--kek", "small", "--out", out, "--waive", f"G-KEK={reason}")
        header = json.loads(out.read_text().splitlines()[0])
        self.assertEqual(header["waivers"], [{"rule": "G-KEK", "reason": reason}])
        self.assertIn(reason, self.ok("inspect", out).out)
        self.assertTrue(any(reason in json.dumps(e) and e["command"] == "wrap" for e in self.entries(self.home)))

    def test_waiver_that_policy_forbids(self):
        home = self.embedded_home("strict")
        env = {"KMTOOL_HOME": str(home)}
        self.ok("gen", "small", "--role", "kek", "--type", "aes-128", env=env)
        self.ok("gen", "big", "--role", "data", "--exportable", env=env)
        (home / "policy.json").write_text('{"forbidden_waivers": ["G-KEK"]}\n')
        self.refused(78, "wrap", "big", "--kek", "small", "--out", self.dir / "x.kmb", "--waive", "G-KEK=please", env=env)
        self.ok("policy", "accept", env=env)
        self.refused(77, "wrap", "big", "--kek", "small", "--out", self.dir / "x.kmb", "--waive", "G-KEK=please", env=env)

    def test_waiver_spelling(self):
        for text in ("G-KEK", "G-KEK=", "G-NOSUCH=reason", "=reason"):
            with self.subTest(text=text):
                self.refused(64, "wrap", "big", "--kek", "small", "--out", self.dir / "y.kmb", "--waive", text)

    def test_sign_key_exportable(self):
        before = self.snapshot(self.home)
        self.refused(77, "gen", "signing", "--role", "sign", "--exportable")
        rule = self.kmtool("gen", "signing", "--role", "sign", "--exportable", "--json").error()["code"]
        self.assertEqual(self.snapshot(self.home), before)
        self.ok("gen", "signing", "--role", "sign", "--exportable", "--waive", f"{rule}=escrow by law 12")
        self.assertTrue(any("escrow by law 12" in json.dumps(e) for e in self.entries(self.home)))
        shown = self.ok_json("show", "signing")["keys"][0]
        self.assertEqual(shown["waivers"], [{"rule": rule, "reason": "escrow by law 12"}])

    def test_what_cannot_be_waived(self):
        """A key that was not made exportable, a KEK as cargo, a data key as KEK."""
        self.ok("gen", "fixed", "--role", "data")
        for words in (("fixed", "--kek", "root"), ("root", "--kek", "root"), ("small", "--kek", "root"), ("fixed", "--kek", "big")):
            for waiver in ((), ("--waive", "G-KEK=please"), ("--waive", "G-SEALED=please")):
                with self.subTest(words=words, waiver=waiver):
                    self.refused(77, "wrap", *words, "--out", self.dir / "z.kmb", *waiver)
                    self.assertFalse((self.dir / "z.kmb").exists())

    def test_kek_neither_encrypts_nor_decrypts(self):
        self.ok("gen", "victim-kek", "--role", "kek")
        parts = self.attempt("victim-kek@1")
        self.assertEqual(len(parts), 2)
        for part in parts:
            self.assertNotEqual(part["use encrypt"], "CKR_OK", part)
            self.assertNotEqual(part["use decrypt"], "CKR_OK", part)
            self.assert_unchanged(part)

    def test_data_key_does_not_wrap(self):
        self.ok("gen", "victim-data", "--role", "data")
        (key,) = self.attempt("victim-data@1")
        self.assertEqual((key["use encrypt"], key["use decrypt"]), ("CKR_OK", "CKR_OK"))
        self.assertNotEqual(key["use wrap"], "CKR_OK")
        self.assertNotEqual(key["be wrapped"], "CKR_OK")
        self.assert_unchanged(key)

    def test_exportable_and_restored_keys_cannot_be_changed_either(self):
        out = self.dir / "restored.kmb"
        self.ok("wrap", "big", "--kek", "root", "--out", out)
        self.ok("unwrap", out, "--as", "big-restored", "--activate")
        (key,) = self.attempt("big-restored@1")
        self.assert_unchanged(key)

    def test_mac_and_pairs_cannot_be_changed(self):
        self.ok("gen", "victim-mac", "--role", "mac")
        self.ok("gen", "victim-sign", "--role", "sign")
        for label in ("victim-mac@1", "victim-sign@1"):
            for part in self.attempt(label):
                self.assert_unchanged(part)

    def assert_unchanged(self, part):
        self.assertNotEqual(part["read value"], "CKR_OK", part) if part["class"] != "public" else None
        self.assertIs(part["modifiable"], False, part)
        before = {name: value for name, value in part.items() if isinstance(value, bool)}
        after = {name: value for name, value in part["after"].items() if isinstance(value, bool)}
        self.assertEqual(after, before)


class PolicyFile(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.original = (cls.home / "policy.json").read_text()

    def setUp(self):
        (self.home / "policy.json").write_text(self.original)

    def test_unaccepted_change_stops_mutations_only(self):
        (self.home / "policy.json").write_text('{"require_hardware": true} // tightened\n')
        self.refused(78, "gen", "a", "--role", "data", says="policy")
        self.ok("list")
        self.ok("policy", "show")
        self.ok("policy", "accept")
        self.refused(77, "gen", "a", "--role", "data", says="hardware")
        self.assertTrue(any(e["command"].startswith("policy") for e in self.entries(self.home)))
        (self.home / "policy.json").write_text(self.original)
        self.ok("policy", "accept")

    def test_malformed(self):
        for text in ('{"unknown_field": 1}', '{"sessions": 0}', '{"sessions": 1, "sessions": 2}', "{", '{"cryptoperiods": {"data": {"originator": "9y"}}}'):
            with self.subTest(text=text):
                (self.home / "policy.json").write_text(text)
                self.refused(78, "gen", "a", "--role", "data", says="policy.json")

    def test_cryptoperiod(self):
        self.refused(77, "gen", "long", "--role", "data", "--cryptoperiod", "5y")
        made = self.ok_json("gen", "short", "--role", "data", "--cryptoperiod", "90d")["keys"][0]
        self.assertIsNotNone(made["expires"])
        self.refused(64, "gen", "odd", "--role", "data", "--cryptoperiod", "3m")


if __name__ == "__main__":
    harness.main()
