"""A KEK that is at another site too is rotated with a new backup to the same recipients; what lies under the old one is kept until a drill."""

import json
import unittest.mock

import harness


class RotateBackup(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.b = cls.embedded_home("b")
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.a = cls.module_home(cls.token, "a")
        cls.token_env = dict(cls.env)
        del cls.env["KMTOOL_PIN_SOURCE"]  # each home has its own
        cls.a_signer = cls.a / "signers/document.pem"
        cls.ok("gen", "incoming", "--role", "transport", home=cls.b)
        cls.request = cls.dir / "incoming.request"
        cls.request.write_text(cls.ok("show", "incoming", "--request", home=cls.b).out)
        cls.ok("signer", "trust", cls.b / "signers/document.pem", "--name", "site-b", home=cls.a)
        cls.ok("signer", "trust", cls.a_signer, "--name", "site-a", home=cls.b)
        cls.ok("gen", "cargo", "--role", "data", "--type", "aes-128", "--exportable", home=cls.a)
        cls.public_key = cls.ok_json("export-kek", cls.kek("probe"), "--to-public-key", cls.request, "--out", cls.dir / "probe.kmb", home=cls.a)["recipients"][0]["public_key"]

    @classmethod
    def kek(cls, name, *more):
        cls.ok("gen", name, "--role", "kek", "--type", "aes-128", *(more or ["--exportable"]), home=cls.a)
        return name

    def bundle(self, kek):
        path = self.dir / f"under-{kek}.kmb"
        self.ok("wrap", "cargo", "--kek", kek, "--out", path, home=self.a)
        return path

    def refused_alone(self, name, *says):
        """Without --backup nothing is rotated, and what is needed is named."""
        result = self.kmtool("rotate", name, "--rewrap-all", "--json", home=self.a)
        self.assertEqual(result.code, 1, result)
        failed = json.loads(result.out)["failed"][0]
        for text in says:
            self.assertIn(text, failed["message"] + failed["hint"])
        self.assertEqual([e["target"] for e in self.entries(self.a) if e["phase"] == "refusal"][-1], name)

    def moves(self, name, under, backup, *more):
        """Rotates with a backup; the other site imports it and restores what was re-wrapped."""
        old = under.read_bytes()
        report = self.ok_json("rotate", name, "--backup", backup, *more, "--rewrap", under, home=self.a)
        self.assertEqual((report["rotated"][0]["to"], [r["file"] for r in report["rewrapped"]]), (2, [str(under)]))
        kept = under.with_name(under.name + ".@1")
        self.assertEqual(kept.read_bytes(), old)
        self.assertIn({"file": str(kept), "why": "it is kept until a drill with its successor is confirmed"}, report["left"])
        self.ok("import-kek", backup, "--activate", home=self.b)
        self.ok("unwrap", under, "--as", f"cargo-{name}", "--activate", home=self.b)
        text = b"sixteen or more octets of text".hex()
        with unittest.mock.patch.object(type(self), "env", self.token_env):
            sealed = self.look(self.a, "encrypt", "cargo@1", text)[0]
        self.assertEqual(self.look(self.b, "decrypt", f"cargo-{name}@1", sealed)[0], text)
        self.ok("bundles", "--confirm-restored", under, home=self.a)
        self.assertFalse(kept.exists())
        self.assertEqual(self.ok_json("bundles", "--depends-on", f"{name}@1", home=self.a)["bundles"], [])
        self.assertIs(self.ok_json("doctor", home=self.a)["healthy"], True)

    def test_born_for_a_public_key(self):
        self.kek("vault", "--backup", self.dir / "vault1.kmb", "--to-public-key", self.request)
        under = self.bundle("vault")
        self.refused_alone("vault", "backed up at birth", f"the public key {self.public_key}", "rotate vault --backup FILE")
        backup = self.dir / "vault2.kmb"
        self.moves("vault", under, backup)
        line = json.loads(backup.read_text().splitlines()[0])["recipients"][0]
        self.assertEqual(line["public_key"], self.public_key)
        key = [k for k in self.ok_json("list", home=self.a)["keys"] if k["label"] == "vault@2"][0]
        self.assertEqual((key["extractable"], key["backed_up"]), (False, True))

    def test_exported_under_a_parent_and_to_a_public_key(self):
        parent = self.kek("parent")
        self.ok("export-kek", parent, "--to-public-key", self.request, "--out", self.dir / "parent.kmb", home=self.a)
        self.ok("import-kek", self.dir / "parent.kmb", "--activate", home=self.b)
        self.kek("child")
        self.ok("export-kek", "child", "--to-kek", parent, "--out", self.dir / "child1.kmb", home=self.a)
        self.ok("export-kek", "child", "--to-public-key", self.request, "--out", self.dir / "child1b.kmb", home=self.a)
        under = self.bundle("child")
        self.refused_alone("child", "was exported", "for parent, the public key " + self.public_key)
        backup = self.dir / "child2.kmb"
        self.moves("child", under, backup)
        lines = json.loads(backup.read_text().splitlines()[0])["recipients"]
        self.assertEqual([(line.get("kek"), line.get("public_key")) for line in lines], [("parent@1", None), (None, self.public_key)])
        self.ok("import-kek", backup, "--using", parent, "--check", home=self.b)

    def test_interrupted(self):
        """Killed again and again, each time later: either nothing is there, or the new version and its backup; then it goes on."""
        self.kek("torn", "--backup", self.dir / "torn1.kmb", "--to-public-key", self.request)
        under, backup = self.bundle("torn"), self.dir / "torn2.kmb"
        kills, at = 0, 40
        while True:
            result = self.kmtool("rotate", "torn", "--backup", backup, "--rewrap", under, home=self.a, env={"KMFORWARD_KILL_AT": str(at)})
            if result.code == 0:
                break
            self.assertEqual(result.code, -9, result)
            kills, at = kills + 1, at + 17
            versions = [k["version"] for k in self.ok_json("list", home=self.a)["keys"] if k["name"] == "torn" and k["state"] == "active"]
            self.assertEqual(len(versions), 1)
            if versions == [2]:
                self.assertTrue(backup.exists())
        self.assertGreater(kills, 4)
        kept = under.with_name(under.name + ".@1")
        self.assertTrue(kept.exists())
        self.assertFalse(under.with_name(under.name + ".@2").exists())
        self.assertEqual(self.ok_json("verify", backup, home=self.a)["records"], 2)
        self.ok("import-kek", backup, "--activate", home=self.b)
        self.ok("unwrap", under, "--check", home=self.b)
        self.assertIs(self.ok_json("doctor", home=self.a)["healthy"], True)


if __name__ == "__main__":
    harness.main()
