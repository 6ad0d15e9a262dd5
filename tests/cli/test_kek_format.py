"""A KEK's bundle against the page that describes it: opened with openssl alone, its seal computed by hand; and bundles that the exporter
itself signed though their two keys do not belong together."""

import base64
import hashlib
import hmac
import json
import re
import subprocess

import harness


class Format(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.embedded_home("a"), cls.embedded_home("b")
        cls.ok("gen", "incoming", "--role", "transport", "--type", "rsa-3072", home=cls.b)
        cls.pem = cls.dir / "incoming.pem"
        cls.pem.write_text(cls.ok("show", "incoming", "--public", home=cls.b).out)
        for name in ("small", "other"):
            cls.ok("gen", name, "--role", "kek", "--type", "aes-128", "--exportable", home=cls.a)
            cls.ok("export-kek", name, "--to-public-key", cls.pem, "--fingerprint", cls.fingerprint(cls.pem), "--out", cls.dir / f"{name}.kmb", home=cls.a)

    @classmethod
    def fingerprint(cls, pem):
        """As the page says: SHA-256 of the SubjectPublicKeyInfo."""
        return hashlib.sha256(cls.openssl("pkey", "-pubin", "-in", pem, "-outform", "DER")).hexdigest()

    @classmethod
    def openssl(cls, *words, stdin=b""):
        return subprocess.run(["openssl", *map(str, words)], input=stdin, stdout=subprocess.PIPE, check=True).stdout

    def values(self, name):
        """The AES key and the HMAC key."""
        found = {v["key_type"]: bytes.fromhex(v["value"]) for v in map(json.loads, self.look(self.a, "reveal", f"{name}@1"))}
        return found[0x1F], found[0x10]

    def test_openssl_opens_it(self):
        private, public, out = self.dir / "private.pem", self.dir / "public.pem", self.dir / "soft.kmb"
        self.openssl("genrsa", "-out", private, "3072")
        public.write_bytes(self.openssl("pkey", "-in", private, "-pubout"))
        for algorithm in ("RSA-OAEP-SHA1", "RSA-OAEP-SHA1+AES-KWP"):
            self.ok("export-kek", "small", "--to-public-key", public, "--fingerprint", self.fingerprint(public), "--algorithm", algorithm, "--out", out, "--force", home=self.a)
            lines = [json.loads(line) for line in out.read_text().splitlines()]
            opened = []
            for record in lines[1:3]:
                value = base64.b64decode(record["wrapped"][0])
                first = self.openssl("pkeyutl", "-decrypt", "-inkey", private, "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1",
                                     "-pkeyopt", "rsa_mgf1_md:sha1", stdin=value[:384])
                if value[384:]:
                    unwrapped = harness.run_program([harness.LISTER, "unwrap", first.hex(), base64.b64encode(value[384:]).decode()], self.env)
                    first = bytes.fromhex(unwrapped.out.strip())
                opened.append(first)
            self.assertEqual(tuple(opened), self.values("small"), algorithm)

    def test_the_own_seal(self):
        raw = (self.dir / "small.kmb").read_bytes().splitlines(keepends=True)
        seals = json.loads(raw[3])["seals"]
        self.assertEqual([s["recipient"] for s in seals], [None])
        aes, seal = self.values("small")
        message = b"kmbundle-seal-v1\n" + hashlib.sha512(b"".join(raw[:3])).digest()
        self.assertEqual(base64.b64decode(seals[0]["value"]), hmac.new(seal, message, "sha256").digest())
        opened = harness.run_program([harness.LISTER, "unwrap", aes.hex(), seals[0]["pair"]["value"]], self.env)
        self.assertEqual(bytes.fromhex(opened.out.strip()), seal)

    def signer_id(self):
        return next(o["id"] for o in self.objects(self.a) if o["class"] == "private" and "document-signer" in o["label"])

    def forge(self, name, change):
        """A bundle whose records were changed, sealed and signed again with the exporter's own keys."""
        raw = (self.dir / "small.kmb").read_text().splitlines()
        other = (self.dir / "other.kmb").read_text().splitlines()
        wrapped = re.compile(r'"wrapped":\["[^"]*"\]')
        for line in change:
            raw[line] = wrapped.sub(wrapped.search(other[line]).group(0).replace("\\", "\\\\"), raw[line])
        above = "".join(line + "\n" for line in raw[:3]).encode()
        tag = hmac.new(self.values("small")[1], b"kmbundle-seal-v1\n" + hashlib.sha512(above).digest(), "sha256").digest()
        raw[3] = re.sub(r'"value":"[^"]*","pair"', f'"value":"{base64.b64encode(tag).decode()}","pair"', raw[3])
        body = above + raw[3].encode() + b"\n"
        digest, signature = self.dir / "digest", self.dir / "signature"
        digest.write_bytes(hashlib.sha256(body).digest())
        signed = self.pkcs11_tool(self.a, "--sign", "--mechanism", "ECDSA", "--id", self.signer_id(), "--input-file", digest, "--output-file", signature,
                                  "--signature-format", "openssl")
        self.assertEqual(signed.code, 0, signed)
        last = json.loads(raw[4])
        last["signature"]["value"] = base64.b64encode(signature.read_bytes()).decode()
        path = self.dir / name
        path.write_bytes(body + json.dumps(last, separators=(",", ":")).encode() + b"\n")
        return path

    def test_keys_that_do_not_belong_together(self):
        signer = self.a / "signers/document.pem"
        self.ok("import-kek", self.forge("same.kmb", []), "--signer", signer, "--check", home=self.b)  # the forging itself is right
        before = self.objects(self.b)
        for change, says in (([1], "does not open under this kek"), ([2], "the seal of the kek itself is wrong"), ([1, 2], "the seal of the kek itself is wrong")):
            path = self.forge("mixed.kmb", change)
            for more in (["--check"], []):
                self.refused(65, "import-kek", path, "--signer", signer, *more, home=self.b, says=says)
        after = self.objects(self.b)
        self.assertEqual(len(after), len(before))
        self.assertEqual(self.ok_json("list", "--role", "kek", home=self.b)["keys"], [])
        self.assertIs(self.ok_json("doctor", home=self.b)["healthy"], True)


if __name__ == "__main__":
    harness.main()
