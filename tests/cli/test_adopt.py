"""Keys that other tools made come under management, with what is wrong with them said."""

import harness


class Adopt(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token)
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "root", "--role", "kek")
        for words in (("--keygen", "--key-type", "AES:32", "--label", "App Key 1", "--id", "a1", "--usage-decrypt", "--sensitive"),
                      ("--keypairgen", "--key-type", "EC:prime256v1", "--label", "web", "--id", "a2", "--usage-sign"),
                      ("--keygen", "--key-type", "AES:32", "--label", "mixed", "--id", "a3", "--usage-decrypt", "--usage-wrap", "--extractable"),
                      ("--keygen", "--key-type", "AES:32", "--label", "wrapper", "--id", "a4", "--usage-wrap"),
                      ("--keygen", "--key-type", "AES:32", "--label", "twice", "--id", "b1", "--usage-decrypt"),
                      ("--keygen", "--key-type", "AES:32", "--label", "twice", "--id", "b2", "--usage-decrypt"),
                      ("--keypairgen", "--key-type", "EC:prime256v1", "--label", "half", "--id", "c1", "--usage-sign"),
                      ("--delete-object", "--type", "pubkey", "--id", "c1")):
            made = cls.pkcs11_tool(cls.home, *words)
            if made.code != 0:
                raise AssertionError(str(made))
        value = cls.dir / "value"
        value.write_bytes(bytes(range(32)))
        made = cls.pkcs11_tool(cls.home, "--write-object", value, "--type", "secrkey", "--key-type", "AES:32", "--label", "brought", "--id", "d1", "--usage-decrypt", "--extractable")
        if made.code != 0:
            raise AssertionError(str(made))

    def test_one(self):
        adopted = self.ok_json("adopt", "app", "--label", "App Key 1", "--owner", "me")["keys"][0]
        self.assertEqual((adopted["label"], adopted["role"], adopted["type"], adopted["origin"], adopted["id"]), ("app@1", "data", "aes-256", "adopted", "a1"))
        self.assertIn("object=App%20Key%201", adopted["uri"])
        self.assertIs(self.ok_json("doctor")["healthy"], True)
        self.refused(73, "adopt", "again", "--label", "App Key 1")
        self.refused(73, "adopt", "app", "--id", "a2")
        self.ok("rotate", "app")
        self.ok("state", "app@1", "destroy", "--reason", "replaced", "--yes")
        self.assertFalse([o for o in self.objects(self.home) if o["label"] == "App Key 1"])
        self.assertIn("adopt", [entry["command"] for entry in self.entries(self.home)])

    def test_flaws(self):
        brought = self.ok("adopt", "brought", "--label", "brought")
        for flaw in ("imported", "extractable", "modifiable"):
            self.assertIn(flaw, brought.err)
        mixed = self.ok_json("adopt", "mixed", "--id", "a3")["keys"][0]
        self.assertTrue(any("usages beyond its role" in flaw and "wrap" in flaw for flaw in mixed["flaws"]), mixed)
        self.refused(77, "wrap", "brought", "--kek", "mixed", "--out", self.dir / "never.kmb")
        self.assertIn("imported", self.ok("show", "brought").out)
        out = self.dir / "brought.kmb"
        self.ok("wrap", "brought", "--kek", "root", "--out", out)
        self.ok("unwrap", out, "--check")
        self.ok("unwrap", out, "--as", "brought-again")
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_pairs(self):
        web = self.ok_json("adopt", "web", "--label", "web")["keys"][0]
        self.assertEqual((web["role"], web["type"]), ("sign", "ec-p256"))
        self.assertTrue(self.ok("show", "web", "--public").out.startswith("-----BEGIN PUBLIC KEY-----"))
        self.refused(77, "adopt", "half", "--label", "half", says="public")

    def test_refusals(self):
        self.refused(77, "adopt", "wrapper", "--label", "wrapper", "--role", "kek", says="two objects")
        self.refused(65, "adopt", "twice", "--label", "twice", says="does not guess")
        self.refused(66, "adopt", "nothing", "--label", "nothing")
        self.refused(64, "adopt", "nothing")
        self.refused(64, "adopt", "x", "--all")
        self.refused(64, "adopt", "x", "--id", "zz")
        for item in self.objects(self.home):
            if item["label"].startswith("kmtool-"):
                result = self.kmtool("adopt", "mine", "--label", item["label"])
                self.assertIn(result.code, (66, 73), result)

    def test_z_all(self):
        dry = self.ok_json("adopt", "--all", "--dry-run")
        self.assertTrue(dry["keys"])
        done = self.ok_json("adopt", "--all")
        self.assertEqual([key["name"] for key in done["keys"]], [key["name"] for key in dry["keys"]])
        self.assertTrue({"twice", "twice-2"} <= {key["name"] for key in done["keys"]})
        self.assertTrue({"half"} <= {one["object"].split('"')[1] for one in done["skipped"]})
        self.assertEqual(self.ok_json("adopt", "--all")["keys"], [])
        self.assertIs(self.ok_json("doctor")["healthy"], True)


class Untold(harness.EmbeddedCase):
    """SoftHSM does not tell the length of a key that was unwrapped; what is missing is asked for at once."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        both = cls.dir / "both.kmb"
        cls.ok("gen", "x", "--role", "data", "--exportable")
        cls.ok("gen", "m", "--role", "mac", "--exportable")
        cls.ok("wrap", "x", "m", "--kek", "root", "--out", both)
        cls.ok("home", "backup", cls.dir / "h.kmh")
        cls.ok("unwrap", both, "x", "--as", "y")
        cls.ok("unwrap", both, "m", "--as", "n")
        cls.ok("home", "restore", cls.dir / "h.kmh", "--force")
        cls.ok("doctor", "--accept-rollback", "--reason", "a test")

    def test_both_are_asked_for_at_once(self):
        ids = {item["label"]: item["id"] for item in self.objects(self.home)}
        self.refused(77, "adopt", "y", "--label", "y@1", says=["does not tell its length", "hint: say --role ROLE --type TYPE where you know it"])
        self.refused(77, "adopt", "y", "--label", "y@1", "--type", "aes-256", says="hint: say --role ROLE where you know it")
        self.refused(77, "adopt", "y", "--label", "y@1", "--role", "data", says="hint: say --type TYPE where you know it")
        skipped = {one["object"].split('"')[1]: one["why"] for one in self.ok_json("adopt", "--all")["skipped"]}
        for label in ("y@1", "n@1"):
            self.assertIn(f"kmtool adopt NAME --id {ids[label]} --role ROLE --type TYPE", skipped[label])
        self.assertEqual(self.ok_json("adopt", "y", "--label", "y@1", "--role", "data", "--type", "aes-256")["keys"][0]["label"], "y@1")
        self.assertEqual(self.ok_json("adopt", "n", "--id", ids["n@1"], "--role", "mac", "--type", "hmac-sha256")["keys"][0]["label"], "n@1")
        self.assertIs(self.ok_json("doctor")["healthy"], True)


if __name__ == "__main__":
    harness.main()
