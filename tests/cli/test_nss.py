"""The main job on NSS softoken, where 0x210A is not RFC 5649 and EXTRACTABLE is not enforced (acceptance 12)."""

import json
import shutil
import subprocess
import unittest

import harness


@unittest.skipUnless(harness.NSS and shutil.which("certutil"), "needs libnss3 and libnss3-tools")
class Nss(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.dir / "nss"
        folder.mkdir()
        pin = cls.dir / "pin"
        pin.write_text(harness.PIN + "\n")
        pin.chmod(0o600)
        subprocess.run(["certutil", "-N", "-d", f"sql:{folder}", "-f", pin], check=True)
        cls.home = cls.dir / "home"
        cls.args = f"configdir='sql:{folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        cls.env.update(KMTOOL_HOME=str(cls.home), KMTOOL_PIN_SOURCE=f"file:{pin}")
        cls.ok("init", "--module", harness.NSS, "--module-args", cls.args, "--token-label", "NSS Certificate DB")
        cls.ok("gen", "root", "--role", "kek", "--exportable")
        cls.ok("gen", "payments", "--role", "data", "--exportable")
        cls.bundle = cls.dir / "p.kmb"
        cls.ok("wrap", "payments", "--kek", "root", "--out", cls.bundle)

    def test_main_job(self):
        verified = self.ok_json("verify", self.bundle)
        self.assertEqual((verified["signature"], verified["seals"]), ("ok", ["ok"]))
        self.ok("unwrap", self.bundle, "--as", "payments-restored", "--activate")
        text = b"the quick brown fox".hex()
        sealed = self.look(self.home, "encrypt", "payments@1", text)[0]
        self.assertEqual(self.look(self.home, "decrypt", "payments-restored@1", sealed)[0], text)
        self.ok("unwrap", self.bundle, "--check")

    def test_many(self):
        """More labels than are looked for one by one: everything that this module shows is read, its own objects too."""
        self.ok("gen", "lot", "--role", "data", "--exportable", "--count", "20")
        out = self.dir / "lot.kmb"
        self.ok("wrap", *(f"lot-{n:04}" for n in range(1, 21)), "--kek", "root", "--out", out)
        self.assertIn("20 compared", self.ok("unwrap", out, "--check").out)

    def test_the_record_is_rfc5649_or_rfc3394(self):
        lines = [json.loads(line) for line in self.bundle.read_text().splitlines()]
        self.assertIn(lines[0]["recipients"][0]["algorithm"], ("AES-KWP", "AES-KW"))
        self.assertNotEqual(lines[0]["recipients"][0]["mechanism"], "CKM_AES_KEY_WRAP_PAD")
        kek = [json.loads(line) for line in self.look(self.home, "reveal", "root@1")]
        aes = [k["value"] for k in kek if k["key_type"] == 0x1F][0]
        value = json.loads(self.look(self.home, "reveal", "payments@1")[0])["value"]
        opened = harness.run_program([harness.LISTER, "unwrap", aes, lines[1]["wrapped"][0]], self.env)
        self.assertEqual(opened.out.strip(), value, opened)

    def test_token_says_both(self):
        profile = self.ok_json("token")["profile"]
        self.assertIs(profile["extractable_enforced"], False)
        self.assertNotEqual(profile["kwp_mechanism"], 0x210A)
        said = self.ok("token").out
        self.assertRegex(said, r"0x210[Aa]")
        self.assertIn("EXTRACTABLE", said)

    def test_non_exportable_is_not_wrapped(self):
        """The token would do it; kmtool's catalog says no."""
        self.ok("gen", "fixed", "--role", "data")
        self.assertEqual(json.loads(self.look(self.home, "try", "fixed@1")[0])["be wrapped"], "CKR_OK")
        out = self.dir / "no.kmb"
        self.refused(77, "wrap", "fixed", "--kek", "root", "--out", out)
        self.assertFalse(out.exists())

    def test_backup_at_birth(self):
        out = self.dir / "birth.kmb"
        self.ok("gen", "born", "--role", "data", "--backup", out, "--kek", "root")
        self.ok("verify", out)
        self.ok("unwrap", out, "--as", "born-again", "--activate")
        text = b"y" * 33
        self.assertEqual(self.look(self.home, "encrypt", "born@1", text.hex()), self.look(self.home, "encrypt", "born-again@1", text.hex()))
        self.refused(77, "wrap", "born", "--kek", "root", "--out", self.dir / "never.kmb")

    def test_pairs(self):
        self.ok("gen", "carrier", "--role", "transport", "--type", "rsa-3072", "--exportable", "--waive", "G-KEK=not needed here")
        out = self.dir / "pair.kmb"
        self.ok("wrap", "carrier", "--kek", "root", "--out", out)
        self.ok("unwrap", out, "--check")

    def test_elliptic_pairs(self):
        self.ok("gen", "signing", "--role", "sign", "--exportable", "--waive", "G-SEALED=a test")
        out = self.dir / "ec.kmb"
        self.ok("wrap", "signing", "--kek", "root", "--out", out)
        self.ok("unwrap", out, "--check")
        self.ok("unwrap", out, "--as", "signing-again", "--activate")

    def test_rotation(self):
        self.ok("gen", "parent", "--role", "kek")
        self.ok("gen", "child", "--role", "data", "--exportable")
        out = self.dir / "child.kmb"
        self.ok("wrap", "child", "--kek", "parent", "--out", out)
        report = self.ok_json("rotate", "parent", "--rewrap-all")
        self.assertEqual([(r["file"], r["records"]) for r in report["rewrapped"]], [(str(out), 1)])
        self.ok("unwrap", out, "--check")
        self.assertEqual(self.ok_json("bundles", "--depends-on", "parent@1")["bundles"], [])

    def test_doctor(self):
        self.assertIs(self.ok_json("doctor")["healthy"], True)


if __name__ == "__main__":
    harness.main()
