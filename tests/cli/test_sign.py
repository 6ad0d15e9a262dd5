"""sign, verify-signature, mac, random, csr and cert: what other programs say of the results."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import unittest

import harness

HASH = {"ec-p256": "sha256", "ec-p384": "sha384", "ec-p521": "sha512", "rsa-3072": "sha256", "rsa-4096": "sha256"}
SIGN_TYPES = ("ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-3072")


class Signing(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token)
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        for kind in SIGN_TYPES:
            cls.ok("gen", kind, "--role", "sign", "--type", kind)
            (cls.dir / f"{kind}.pem").write_text(cls.ok("show", kind, "--public").out)
        for bits in ("256", "384", "512"):
            cls.ok("gen", f"mac{bits}", "--role", "mac", "--type", f"hmac-sha{bits}")
        cls.ok("gen", "root", "--role", "kek")
        cls.document = cls.dir / "document"
        cls.document.write_bytes(os.urandom(200000))
        cls.other = cls.dir / "other"
        cls.other.write_bytes(b"something else")

    def openssl(self, *words):
        done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def openssl_says(self, kind, signature, document):
        pem = self.dir / f"{kind}.pem"
        if kind == "ed25519":
            return self.openssl("pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-in", document, "-sigfile", signature)[0] == 0
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if kind.startswith("rsa") else []
        return self.openssl("dgst", f"-{HASH[kind]}", *pss, "-verify", pem, "-signature", signature, document)[0] == 0


class Sign(Signing):
    def test_openssl_verifies_every_type_and_so_do_we(self):
        for kind in SIGN_TYPES:
            with self.subTest(kind):
                signature = self.dir / f"{kind}.sig"
                self.ok("sign", kind, "--in", self.document, "--out", signature)
                self.assertTrue(self.openssl_says(kind, signature, self.document))
                self.assertFalse(self.openssl_says(kind, signature, self.other))
                for by in ([kind], ["--public-key", self.dir / f"{kind}.pem"]):
                    self.ok("verify-signature", *by, "--signature", signature, "--in", self.document)
                    self.assertEqual(self.kmtool("verify-signature", *by, "--signature", signature, "--in", self.other).code, 1)
                damaged = bytearray(signature.read_bytes())
                damaged[-1] ^= 1
                (self.dir / "damaged").write_bytes(damaged)
                self.assertEqual(self.kmtool("verify-signature", kind, "--signature", self.dir / "damaged", "--in", self.document).code, 1)

    def test_no_token_and_no_home_to_verify(self):
        signature = self.dir / "s"
        self.ok("sign", "ec-p256", "--in", self.document, "--out", signature)
        away = {"KMFORWARD_MODULE": "/nonexistent", "KMTOOL_PIN_SOURCE": "file:/nonexistent"}
        self.ok("verify-signature", "ec-p256", "--signature", signature, "--in", self.document, env=away)
        self.ok("verify-signature", "--public-key", self.dir / "ec-p256.pem", "--signature", signature, "--in", self.document, home=self.dir / "none")
        self.refused(64, "verify-signature", "--signature", signature)
        self.refused(66, "verify-signature", "nobody", "--signature", signature, "--in", self.document)
        self.refused(77, "verify-signature", "root", "--signature", signature, "--in", self.document, says="role kek")

    def test_what_openssl_signs(self):
        key, pem, signature = self.dir / "theirs.pem", self.dir / "theirs.pub", self.dir / "theirs.sig"
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", key], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", pem], check=True)
        for salt in ("digest", "max"):
            subprocess.run(["openssl", "dgst", "-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", f"rsa_pss_saltlen:{salt}", "-sign", key, "-out", signature, self.document],
                           check=True)
            self.ok("verify-signature", "--public-key", pem, "--signature", signature, "--in", self.document)
        subprocess.run(["openssl", "dgst", "-sha256", "-sign", key, "-out", signature, self.document], check=True)  # PKCS#1 v1.5 is another thing
        self.assertEqual(self.kmtool("verify-signature", "--public-key", pem, "--signature", signature, "--in", self.document).code, 1)

    def test_pipes_and_formats(self):
        document = self.document.read_bytes()
        raw = subprocess.run([harness.BINARY, "sign", "ec-p384"], input=document, capture_output=True, env=self.env, check=True).stdout
        self.assertEqual(raw[0], 0x30)
        for form in ("raw", "base64", "hex"):
            path = self.dir / "formatted"
            self.ok("sign", "ec-p384", "--in", self.document, "--out", path, "--format", form, "--force")
            self.ok("verify-signature", "ec-p384", "--signature", path, stdin=document)
        made = self.ok_json("sign", "ec-p384", "--in", self.document)
        self.assertEqual((made["key"], made["version"], made["algorithm"]), ("ec-p384", 1, "ecdsa-p384-sha384"))
        path.write_bytes(base64.b64decode(made["signature"]))
        self.assertTrue(self.openssl_says("ec-p384", path, self.document))

    def test_the_tokens_own_padding(self):
        log = self.dir / "spy.log"
        self.ok("sign", "rsa-3072", "--in", self.document, "--out", self.dir / "p", "--force", env=harness.spy_env(log))
        self.ok("csr", "rsa-3072", "--subject", "CN=x", env=harness.spy_env(log))
        text = log.read_text(errors="replace")
        self.assertIn("CKM_RSA_PKCS_PSS", text)
        self.assertNotIn("CKM_RSA_X_509", text)

    def test_long_documents(self):
        long = self.dir / "long"
        with open(long, "wb") as file:
            file.truncate((16 << 20) + 1)
        self.refused(64, "sign", "ed25519", "--in", long, says="16 mib")
        with open(long, "wb") as file:
            file.truncate(3 << 20)
        self.ok("sign", "ed25519", "--in", long, "--out", self.dir / "l", "--force")
        self.assertTrue(self.openssl_says("ed25519", self.dir / "l", long))

    def test_state_and_role(self):
        for key in ("root", "mac256"):
            result = self.kmtool("sign", key, "--in", self.document, "--json")
            self.assertEqual((result.code, result.error()["code"]), (77, "G-SEALED"), result)
        self.refused(66, "sign", "nobody", "--in", self.document)
        self.ok("gen", "old", "--role", "sign")
        signature = self.dir / "old.sig"
        self.ok("sign", "old", "--in", self.document, "--out", signature)
        self.ok("rotate", "old")
        result = self.kmtool("sign", "old@1", "--in", self.document, "--json")
        self.assertEqual((result.code, result.error()["code"]), (77, "G-WORK"), result)
        self.assertEqual(self.ok_json("verify-signature", "old", "--signature", signature, "--in", self.document)["by"], "old@1")
        self.assertEqual(self.kmtool("verify-signature", "old@2", "--signature", signature, "--in", self.document).code, 1)
        self.ok("state", "old@1", "compromise", "--reason", "test")
        self.assertIn("compromised", self.ok("verify-signature", "old", "--signature", signature, "--in", self.document).err)

    def test_the_homes_signers_are_out_of_reach(self):
        for name in ("log", "document", "log@1", "document@1"):
            self.refused(66, "sign", name, "--in", self.document)
        labels = {o["label"] for o in self.objects(self.home) if "signer" in o["label"]}
        self.assertEqual(len(labels), 2)
        for label in labels:
            for words in (["sign", label], ["csr", label, "--subject", "CN=x"]):
                self.assertEqual(self.kmtool(*words, stdin=b"x").code, 66)

    def test_each_use_is_one_entry(self):
        before = len(self.entries(self.home))
        self.ok("sign", "ec-p256", "--in", self.document, "--out", self.dir / "e", "--force")
        self.ok("csr", "ec-p256", "--subject", "CN=x")
        self.ok("cert", "ec-p256", "--subject", "CN=x", "--days", "1")
        self.ok("mac", "mac256", "--in", self.document)
        self.ok("random", "10")
        self.ok("sign", "ec-p256", "--in", self.document, "--dry-run")
        entries = self.entries(self.home)[before:]
        self.assertEqual([e["command"] for e in entries], ["sign", "csr", "cert", "mac", "random"])
        self.assertEqual(entries[0]["details"]["sha256"], hashlib.sha256(self.document.read_bytes()).hexdigest())


class Mac(Signing):
    def test_tags(self):
        for bits in ("256", "384", "512"):
            tag = self.ok("mac", f"mac{bits}", "--in", self.document).out.strip()
            self.assertEqual(len(tag), int(bits) // 4)
            self.assertEqual(self.ok("mac", f"mac{bits}", stdin=self.document.read_bytes()).out.strip(), tag)
            coded = self.ok("mac", f"mac{bits}", "--in", self.document, "--format", "base64").out.strip()
            self.assertEqual(base64.b64decode(coded).hex(), tag)
            for good in (tag, coded):
                self.ok("mac", f"mac{bits}", "--in", self.document, "--verify", good)
            for wrong in (tag[:-1] + ("0" if tag[-1] != "0" else "1"), tag[:32], tag[::-1]):
                self.assertEqual(self.kmtool("mac", f"mac{bits}", "--in", self.document, "--verify", wrong).code, 1, wrong)
            self.assertEqual(self.kmtool("mac", f"mac{bits}", "--in", self.other, "--verify", tag).code, 1)
            self.refused(64, "mac", f"mac{bits}", "--in", self.document, "--verify", "neither?")
            self.refused(64, "mac", f"mac{bits}", "--in", self.document, "--verify", "")

    def test_a_known_key(self):
        self.ok("gen", "known", "--role", "mac", "--exportable")
        value = bytes.fromhex(json.loads(self.look(self.home, "reveal", "known@1")[0])["value"])
        tag = self.ok("mac", "known", "--in", self.document).out.strip()
        done = subprocess.run(["openssl", "mac", "-digest", "SHA256", "-macopt", "hexkey:" + value.hex(), "-in", self.document, "HMAC"], capture_output=True, text=True, check=True)
        self.assertEqual(tag, done.stdout.strip().lower())

    def test_an_old_version_verifies_and_makes_none(self):
        self.ok("gen", "turning", "--role", "mac")
        tag = self.ok("mac", "turning", "--in", self.document).out.strip()
        self.ok("rotate", "turning")
        self.refused(77, "mac", "turning@1", "--in", self.document, says="only verifies")
        self.ok("mac", "turning@1", "--in", self.document, "--verify", tag)
        result = self.kmtool("mac", "turning", "--in", self.document, "--verify", tag)
        self.assertEqual(result.code, 1)
        self.assertIn("turning@1", result.err)


class Random(Signing):
    def test_formats_and_sizes(self):
        self.assertRegex(self.ok("random", "16").out, r"\A[0-9a-f]{32}\n\Z")
        self.assertEqual(len(base64.b64decode(self.ok("random", "32", "--format", "base64").out.strip(), validate=True)), 32)
        self.assertNotEqual(self.ok("random", "16").out, self.ok("random", "16").out)
        made = self.ok_json("random", "8")
        self.assertEqual((made["bytes"], len(made["value"])), (8, 16))
        out = self.dir / "raw"
        self.ok("random", "1000000", "--format", "raw", "--out", out)
        self.assertEqual((out.stat().st_size, out.stat().st_mode & 0o777), (1000000, 0o600))
        self.assertEqual(len(base64.b64decode(self.ok("random", "100001", "--format", "base64").out.strip(), validate=True)), 100001)
        for bad in ("0", "-1", "x", "1073741825"):
            self.refused(64, "random", bad)
        self.refused(64, "random", "1", "--format", "table2")

    def test_only_the_token(self):
        log = self.dir / "spy.log"
        self.ok("random", "32", env=harness.spy_env(log))
        log.unlink()
        value = self.ok("random", "32", env=harness.spy_env(log)).out.strip()
        shown = re.sub(r"[^0-9a-f]", "", "".join(re.findall(r"^\s+[0-9A-F]{8}  ((?:[0-9A-F]{2} ?)+)", log.read_text(errors="replace"), re.M)).lower())
        self.assertIn("C_GenerateRandom", log.read_text(errors="replace"))
        self.assertIn(value[:32], shown)
        journal = json.dumps(self.entries(self.home))
        self.assertNotIn(value, journal)


class Certificates(Signing):
    def test_openssl_accepts_requests_of_every_type(self):
        for kind in SIGN_TYPES:
            with self.subTest(kind):
                path = self.dir / f"{kind}.csr"
                self.ok("csr", kind, "--subject", "CN=www.example.org,O=Ex\\, ample,C=DE", "--san", "DNS:www.example.org", "--san", "DNS:*.example.org", "--san", "IP:192.0.2.7",
                        "--san", "IP:2001:db8::1", "--san", "email:a@example.org", "--san", "URI:https://example.org/x", "--out", path)
                code, text = self.openssl("req", "-in", path, "-noout", "-verify", "-text", "-subject", "-nameopt", "RFC2253")
                self.assertEqual(code, 0, text)
                self.assertIn("verify OK", text)
                self.assertIn("subject=CN=www.example.org,O=Ex\\, ample,C=DE", text)
                for san in ("DNS:www.example.org", "DNS:*.example.org", "IP Address:192.0.2.7", "IP Address:2001:DB8:0:0:0:0:0:1", "email:a@example.org", "URI:https://example.org/x"):
                    self.assertIn(san, text)
                self.assertEqual(self.openssl("req", "-in", path, "-noout", "-pubkey")[1].strip(), (self.dir / f"{kind}.pem").read_text().strip())

    def test_self_signed_certificates(self):
        for kind in SIGN_TYPES:
            with self.subTest(kind):
                path = self.dir / f"{kind}.crt"
                made = self.ok_json("cert", kind, "--subject", "/C=DE/O=Example/CN=www.example.org", "--days", "30", "--san", "DNS:www.example.org", "--out", path)
                self.assertEqual(path.read_text(), made["certificate"])
                code, text = self.openssl("x509", "-in", path, "-noout", "-text", "-subject", "-issuer", "-nameopt", "RFC2253", "-checkend", str(29 * 86400))
                self.assertEqual(code, 0, text)
                self.assertIn("subject=CN=www.example.org,O=Example,C=DE", text)
                self.assertIn("CA:FALSE", text)
                self.assertIn(made["serial"][:2], text.lower())
                code, text = self.openssl("verify", "-x509_strict", "-check_ss_sig", "-CAfile", path, path)
                self.assertEqual(code, 0, text)
                signature = self.dir / "c.sig"
                self.ok("sign", kind, "--in", self.document, "--out", signature, "--force")
                self.ok("verify-signature", "--public-key", path, "--signature", signature, "--in", self.document)
        self.assertIn("outlives", self.ok("cert", "ec-p256", "--subject", "CN=x", "--days", "3650").err)

    def test_names_are_strict(self):
        for bad in ("", "www.example.org", "CN=", "CN=a,,O=b", "XX=a", "CN=a+O=b", "CN=a;O=b", "C=Germany", "CN=" + "a" * 65, "/CN=a//O=b", "CN=a\\zz", "CN=a\tb", "CN"):
            self.refused(64, "csr", "ec-p256", "--subject", bad)
        for bad in ("www.example.org", "DNS:", "DNS:a b", "DNS:-a.org", "DNS:a.*.org", "DNS:*", "IP:1.2.3", "IP:1.2.3.4/24", "email:a", "email:a@b@c", "URI:nothing", "URI:http:", "RID:1.2.3", "dns:a"):
            self.refused(64, "csr", "ec-p256", "--subject", "CN=x", "--san", bad)
        for good, shown in (("CN=a\\2Cb", "CN=a\\,b"), ("CN=\\ a", "CN=\\ a"), ("cn=ü,o=x", "CN=\\C3\\BC,O=x"), ("/CN=a, b", "CN=a\\, b"), ("CN = a , O = b", "CN=a,O=b")):
            path = self.dir / "n.csr"
            self.ok("csr", "ec-p256", "--subject", good, "--out", path, "--force")
            self.assertIn("subject=" + shown, self.openssl("req", "-in", path, "-noout", "-subject", "-nameopt", "RFC2253")[1])
        self.refused(64, "cert", "ec-p256", "--subject", "CN=x", "--days", "0")


@unittest.skipUnless(harness.NSS and shutil.which("certutil"), "needs libnss3 and libnss3-tools")
class Nss(Signing):
    @classmethod
    def setUpClass(cls):
        super(Signing, cls).setUpClass()
        (cls.dir / "nss").mkdir()
        pin = cls.dir / "pin"
        pin.write_text(harness.PIN + "\n")
        pin.chmod(0o600)
        subprocess.run(["certutil", "-N", "-d", f"sql:{cls.dir / 'nss'}", "-f", pin], check=True)
        args = f"configdir='sql:{cls.dir / 'nss'}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        cls.env.update(KMTOOL_HOME=str(cls.dir / "home"), KMTOOL_PIN_SOURCE=f"file:{pin}")
        cls.ok("init", "--module", harness.NSS, "--module-args", args, "--token-label", "NSS Certificate DB")
        cls.document, cls.other = cls.dir / "document", cls.dir / "other"
        cls.document.write_bytes(os.urandom(100000))
        cls.other.write_bytes(b"x")

    def test_signatures_requests_and_tags(self):
        for kind in ("ec-p256", "ec-p384", "ec-p521", "rsa-3072"):
            with self.subTest(kind):
                self.ok("gen", kind, "--role", "sign", "--type", kind)
                (self.dir / f"{kind}.pem").write_text(self.ok("show", kind, "--public").out)
                signature = self.dir / f"{kind}.sig"
                self.ok("sign", kind, "--in", self.document, "--out", signature)
                self.assertTrue(self.openssl_says(kind, signature, self.document))
                path = self.dir / f"{kind}.csr"
                self.ok("csr", kind, "--subject", "CN=x", "--out", path)
                self.assertEqual(self.openssl("req", "-in", path, "-noout", "-verify")[0], 0)
        self.ok("gen", "seal", "--role", "mac")
        tag = self.ok("mac", "seal", "--in", self.document).out.strip()
        self.ok("mac", "seal", "--in", self.document, "--verify", tag)
        self.assertEqual(self.kmtool("mac", "seal", "--in", self.other, "--verify", tag).code, 1)


if __name__ == "__main__":
    harness.main()
