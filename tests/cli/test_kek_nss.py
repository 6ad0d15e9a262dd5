"""KEKs between SoftHSM and NSS softoken, whose mechanisms, hashes and storage differ, and between two NSS tokens by agreement."""

import shutil
import subprocess
import unittest

import harness


@unittest.skipUnless(harness.NSS and shutil.which("certutil"), "needs libnss3 and libnss3-tools")
class Nss(harness.Case):
    @classmethod
    def nss_home(cls, name):
        folder = cls.dir / f"nss-{name}"
        folder.mkdir()
        pin = cls.dir / "pin"
        pin.write_text(harness.PIN + "\n")
        pin.chmod(0o600)
        subprocess.run(["certutil", "-N", "-d", f"sql:{folder}", "-f", pin], check=True)
        home = cls.dir / name
        args = f"configdir='sql:{folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        cls.pins[home] = {"KMTOOL_PIN_SOURCE": f"file:{pin}"}
        cls.at(home, "init", "--module", harness.NSS, "--module-args", args, "--token-label", "NSS Certificate DB")
        return home

    @classmethod
    def at(cls, home, *words):
        return cls.ok(*words, home=home, env=cls.pins.get(home, {}))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pins = {}
        cls.soft = cls.embedded_home("soft")
        cls.nss, cls.other = cls.nss_home("nss"), cls.nss_home("other")

    def move(self, source, target, kek, transport, *waive):
        """The KEK by the target's request; the algorithm that was chosen."""
        signer = self.dir / f"{source.name}.pem"
        shutil.copy(source / "signers/document.pem", signer)
        request = self.dir / f"{kek}.request"
        request.write_text(self.at(target, "show", transport, "--request").out)
        self.at(source, "signer", "trust", target / "signers/document.pem", "--name", target.name)
        self.at(target, "signer", "trust", signer, "--name", source.name)
        out = self.dir / f"{kek}.kmb"
        made = self.at(source, "export-kek", kek, "--to-public-key", request, "--out", out, *waive, "--json").json()
        self.at(target, "import-kek", out, "--check")
        self.at(target, "import-kek", out, "--activate")
        return made["recipients"][0]["algorithm"]

    def restores(self, source, target, kek, key):
        self.at(source, "gen", key, "--role", "data", "--type", "aes-128", "--exportable")
        out = self.dir / f"{key}.kmb"
        self.at(source, "wrap", key, "--kek", kek, "--out", out)
        self.assertEqual(self.at(target, "verify", out, "--json").json()["seals"], ["ok"])
        self.at(target, "unwrap", out, "--activate")
        text = b"the quick brown fox and more".hex()
        self.assertEqual(self.nss_look(target, "decrypt", f"{key}@1", self.nss_look(source, "encrypt", f"{key}@1", text)), text)

    def nss_look(self, home, *verb):
        cls = type(self)
        kept, cls.env = cls.env, dict(cls.env, **cls.pins.get(home, {}))
        try:
            return cls.look(home, *verb)[0]
        finally:
            cls.env = kept

    def test_softhsm_to_nss_and_back(self):
        self.at(self.nss, "gen", "incoming", "--role", "transport", "--type", "rsa-3072")
        self.at(self.soft, "gen", "incoming", "--role", "transport", "--type", "rsa-3072")
        self.at(self.soft, "gen", "there", "--role", "kek", "--type", "aes-128", "--exportable")
        self.assertEqual(self.move(self.soft, self.nss, "there", "incoming"), "RSA-OAEP-SHA1")  # all that SoftHSM does
        self.restores(self.soft, self.nss, "there", "cargo-there")
        self.at(self.nss, "gen", "back", "--role", "kek", "--type", "aes-128", "--exportable")
        self.assertEqual(self.move(self.nss, self.soft, "back", "incoming"), "RSA-OAEP-SHA1")  # the request says so
        self.restores(self.nss, self.soft, "back", "cargo-back")

    def test_between_nss_tokens(self):
        self.at(self.other, "gen", "incoming", "--role", "transport", "--type", "rsa-3072")
        self.at(self.nss, "gen", "modern", "--role", "kek", "--type", "aes-128", "--exportable")
        self.assertEqual(self.move(self.nss, self.other, "modern", "incoming"), "RSA-OAEP-SHA256")
        # P-521 carries AES-256 without a waiver.
        self.at(self.other, "gen", "agreeing", "--role", "transport", "--type", "ec-p521")
        self.at(self.nss, "gen", "strong", "--role", "kek", "--exportable")
        self.assertEqual(self.move(self.nss, self.other, "strong", "agreeing"), "ECDH-X963-SHA256+AES-KWP")
        self.restores(self.nss, self.other, "strong", "cargo-strong")
        self.at(self.other, "gen", "curve", "--role", "transport", "--type", "ec-p384")
        self.at(self.nss, "gen", "middle", "--role", "kek", "--type", "aes-192", "--exportable")
        self.move(self.nss, self.other, "middle", "curve")

    def test_what_softhsm_cannot(self):
        self.at(self.soft, "gen", "small", "--role", "kek", "--type", "aes-128", "--exportable")
        self.at(self.other, "gen", "curve-2", "--role", "transport", "--type", "ec-p521")
        request = self.dir / "curve-2.request"
        request.write_text(self.at(self.other, "show", "curve-2", "--request").out)
        self.at(self.soft, "signer", "trust", self.other / "signers/document.pem", "--name", "far")
        self.refused(69, "export-kek", "small", "--to-public-key", request, "--out", self.dir / "no.kmb", home=self.soft, says="this token wraps by nothing")
        self.at(self.soft, "gen", "curve", "--role", "transport", "--type", "ec-p384")
        self.refused(69, "show", "curve", "--request", home=self.soft, says="opens nothing")

    def test_at_birth_on_nss(self):
        self.at(self.other, "gen", "cradle", "--role", "transport", "--type", "rsa-3072")
        request = self.dir / "cradle.request"
        request.write_text(self.at(self.other, "show", "cradle", "--request").out)
        self.at(self.nss, "signer", "trust", self.other / "signers/document.pem", "--name", "cradle-site")
        out = self.dir / "born.kmb"
        self.at(self.nss, "gen", "born", "--role", "kek", "--type", "aes-128", "--backup", out, "--to-public-key", request)
        self.at(self.other, "signer", "trust", self.nss / "signers/document.pem", "--name", "nss")
        self.at(self.other, "import-kek", out, "--activate")
        self.restores(self.nss, self.other, "born", "cargo-born")


if __name__ == "__main__":
    harness.main()
