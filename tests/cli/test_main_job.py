"""The main job end to end: made, wrapped, verified, restored; and what others can do with the bundle (acceptance 2, 3 and 4)."""

import base64
import hashlib
import hmac
import json
import subprocess

import harness

TYPES = {
    "kek": ["aes-256", "aes-192", "aes-128"],
    "data": ["aes-256", "aes-192", "aes-128"],
    "mac": ["hmac-sha256", "hmac-sha384", "hmac-sha512"],
    "sign": ["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-3072", "rsa-4096"],
    "transport": ["rsa-4096", "rsa-3072", "ec-p384", "ec-p521"],
}


class MainJob:
    """Acceptance 2, on whatever home setUpClass made."""

    @classmethod
    def prepare(cls, home):
        cls.home = home
        cls.env["KMTOOL_HOME"] = str(home)
        cls.bundle = cls.dir / "p.kmb"
        cls.ok("gen", "root", "--role", "kek", "--exportable")
        cls.ok("gen", "payments", "--role", "data", "--exportable")
        cls.wrapped = cls.ok_json("wrap", "payments", "--kek", "root", "--out", cls.bundle)
        cls.verified = cls.ok_json("verify", cls.bundle)
        cls.restored = cls.ok_json("unwrap", cls.bundle, "--as", "payments-restored", "--activate")

    def test_each_answer(self):
        self.assertEqual(self.wrapped["out"], str(self.bundle))
        self.assertEqual(self.wrapped["records"], 1)
        self.assertEqual(self.wrapped["recipients"][0]["kek"], "root@1")
        self.assertEqual(self.verified["bundle"], self.wrapped["bundle"])
        self.assertEqual((self.verified["records"], self.verified["structure"], self.verified["signature"]), (1, "ok", "ok"))
        self.assertEqual(self.verified["seals"], ["ok"])
        self.assertEqual([(k["name"], k["state"]) for k in self.restored["keys"]], [("payments-restored", "active")])
        self.assertIs(self.restored["checked"], False)

    def test_restored_key_is_the_key(self):
        text = b"the quick brown fox".hex()
        one, other = "payments@1", "payments-restored@1"
        sealed = self.look(self.home, "encrypt", one, text)[0]
        self.assertEqual(self.look(self.home, "encrypt", other, text)[0], sealed)
        self.assertEqual(self.look(self.home, "decrypt", other, sealed)[0], text)
        self.assertEqual(self.look(self.home, "decrypt", one, self.look(self.home, "encrypt", other, text)[0])[0], text)

    def test_restored_without_activate_is_process_only(self):
        key = self.ok_json("unwrap", self.bundle, "--as", "payments-old")["keys"][0]
        self.assertEqual(key["state"], "deactivated")

    def test_restore_drill_leaves_nothing(self):
        before = self.snapshot(self.home)
        result = self.ok_json("unwrap", self.bundle, "--check")
        self.assertIs(result["checked"], True)
        self.assertEqual(self.snapshot(self.home), before)

    def test_bundle_is_private_and_whole(self):
        self.assertEqual(self.bundle.stat().st_mode & 0o777, 0o600)
        lines = self.bundle.read_text().splitlines()
        self.assertEqual(len(lines), 4)
        self.assertEqual(json.loads(lines[0])["kmbundle"], 1)
        self.assertEqual(list(self.dir.glob("*kmtmp*")) + list(self.dir.glob(".*kmtmp*")), [])

    def test_journal_tells_it(self):
        said = [(e["command"], e["phase"], e.get("result")) for e in self.entries(self.home)]
        for command in ("gen", "wrap", "unwrap"):
            self.assertIn((command, "intent", None), said)
            self.assertIn((command, "outcome", "done"), said)

    def test_doctor_is_content(self):
        report = self.ok_json("doctor")
        self.assertIs(report["healthy"], True, report)


class EmbeddedMainJob(MainJob, harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prepare(cls.embedded_home())

    def test_two_keks_and_a_subset(self):
        out = self.dir / "two.kmb"
        self.ok("gen", "second", "--role", "kek")
        self.ok("gen", "orders", "--role", "data", "--exportable")
        made = self.ok_json("wrap", "payments", "orders", "--kek", "root", "--kek", "second", "--out", out)
        self.assertEqual([r["kek"] for r in made["recipients"]], ["root@1", "second@1"])
        self.assertEqual(self.ok_json("verify", out)["seals"], ["ok", "ok"])
        keys = self.ok_json("unwrap", out, "orders", "--as", "orders-again")["keys"]
        self.assertEqual([k["name"] for k in keys], ["orders-again"])

    def test_wrap_all(self):
        out = self.dir / "all.kmb"
        self.ok("gen", "alpha", "--role", "mac", "--exportable")
        self.ok("gen", "stays", "--role", "data")
        self.ok("wrap", "--all", "--kek", "root", "--out", out)
        names = {json.loads(line)["key"]["name"] for line in out.read_text().splitlines()[1:-2]}
        self.assertIn("alpha", names)
        self.assertNotIn("stays", names)
        self.assertNotIn("root", names)
        one = self.dir / "macs.kmb"
        self.ok("wrap", "--all", "--role", "mac", "--kek", "root", "--out", one)
        self.assertEqual({json.loads(line)["key"]["role"] for line in one.read_text().splitlines()[1:-2]}, {"mac"})

    def test_backup_at_birth(self):
        out = self.dir / "birth.kmb"
        made = self.ok_json("gen", "born", "--role", "data", "--backup", out, "--kek", "root")
        self.assertIs(made["keys"][0]["extractable"], False)
        self.assertEqual(self.ok_json("verify", out)["records"], 1)
        attempt = json.loads(self.look(self.home, "try", "born@1")[0])
        self.assertNotEqual(attempt["be wrapped"], "CKR_OK")
        self.ok("unwrap", out, "--as", "born-again", "--activate")
        text = b"x" * 40
        self.assertEqual(self.look(self.home, "encrypt", "born@1", text.hex()), self.look(self.home, "encrypt", "born-again@1", text.hex()))
        self.refused(77, "wrap", "born", "--kek", "root", "--out", self.dir / "no.kmb")


class ModuleMainJob(MainJob, harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        token = harness.SoftToken(cls.dir / "hsm")
        cls.prepare(cls.module_home(token))

    def test_no_key_and_no_pin_in_the_home(self):
        values = [json.loads(line)["value"] for line in self.look(self.home, "reveal", "payments@1")]
        self.assertEqual(len(values), 1)
        raw = bytes.fromhex(values[0])
        for path in self.home.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                for secret in (raw, raw.hex().encode(), base64.b64encode(raw), harness.PIN.encode()):
                    self.assertNotIn(secret, data, path)


class OthersOpenIt(harness.Case):
    """Acceptance 3 and 4: pkcs11-tool, OpenSSL and shell tools do what kmtool does."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(token)
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek", "--exportable")
        cls.ok("gen", "payments", "--role", "data", "--exportable")
        cls.ok("gen", "tags", "--role", "mac", "--type", "hmac-sha512", "--exportable")
        cls.bundle = cls.dir / "p.kmb"
        cls.ok("wrap", "payments", "tags", "--kek", "root", "--out", cls.bundle)
        cls.lines = [json.loads(line) for line in cls.bundle.read_text().splitlines()]
        cls.records = {line["key"]["name"]: line for line in cls.lines[1:-2]}

    def test_pkcs11_tool_unwraps_a_record(self):
        # A KEK is two objects with one CKA_ID, and pkcs11-tool takes whichever the token shows it first: with several KEKs as
        # recipients, some of them are shown the right way round.
        keks = [f"kek-{number}" for number in range(12)]
        for kek in keks:
            self.ok("gen", kek, "--role", "kek")
        bundle = self.dir / "many.kmb"
        self.ok("wrap", "payments", *(word for kek in keks for word in ("--kek", kek)), "--out", bundle)
        header, record = (json.loads(line) for line in bundle.read_text().splitlines()[:2])
        opened, blob = 0, self.dir / "record.bin"
        text = b"opened by another tool".hex()
        for recipient, wrapped in zip(header["recipients"], record["wrapped"]):
            number = {"CKM_AES_KEY_WRAP_PAD": "0x210A", "CKM_AES_KEY_WRAP_KWP": "0x210B", "CKM_AES_KEY_WRAP": "0x2109"}[recipient["mechanism"]]
            blob.write_bytes(base64.b64decode(wrapped))
            label = f"by-another-tool-{recipient['kek']}"
            result = self.pkcs11_tool(self.home, "--unwrap", "--mechanism", number, "--id", recipient["id"], "-i", blob, "--key-type", "AES:",
                                      "--application-id", f"{4711 + opened}", "--application-label", label)
            if result.code != 0:
                self.assertIn("KEY_TYPE_INCONSISTENT", str(result))
                continue
            opened += 1
            self.assertEqual(self.look(self.home, "encrypt", label, text), self.look(self.home, "encrypt", "payments@1", text))
        self.assertGreater(opened, 0)

    def test_software_rfc5649_gives_the_exact_key(self):
        self.assertEqual(self.lines[0]["recipients"][0]["algorithm"], "AES-KWP")
        kek = [json.loads(line) for line in self.look(self.home, "reveal", "root@1")]
        aes = [k["value"] for k in kek if k["key_type"] == 0x1F]
        self.assertEqual(len(aes), 1)
        for name in ("payments", "tags"):
            value = json.loads(self.look(self.home, "reveal", f"{name}@1")[0])["value"]
            opened = harness.run_program([harness.LISTER, "unwrap", aes[0], self.records[name]["wrapped"][0]], self.env)
            self.assertEqual(opened.out.strip(), value)
            self.assertEqual(len(value) // 2, self.records[name]["key"]["plaintext_length"])

    def test_openssl_command_unwraps_a_record(self):
        kek = [json.loads(line) for line in self.look(self.home, "reveal", "root@1")]
        aes = [k["value"] for k in kek if k["key_type"] == 0x1F][0]
        value = json.loads(self.look(self.home, "reveal", "payments@1")[0])["value"]
        opened = subprocess.run(["openssl", "enc", "-d", "-id-aes256-wrap-pad", "-K", aes, "-iv", "A65959A6"],
                                input=base64.b64decode(self.records["payments"]["wrapped"][0]), stdout=subprocess.PIPE, check=True)
        self.assertEqual(opened.stdout.hex(), value)

    def test_seal_is_the_hmac_of_the_page(self):
        kek = [json.loads(line) for line in self.look(self.home, "reveal", "root@1")]
        sealing = bytes.fromhex([k["value"] for k in kek if k["key_type"] != 0x1F][0])
        above = b"".join(self.bundle.read_bytes().splitlines(keepends=True)[:-2])
        message = b"kmbundle-seal-v1\n" + hashlib.sha512(above).digest()
        self.assertEqual(base64.b64encode(hmac.digest(sealing, message, "sha256")).decode(), self.lines[-2]["seals"][0]["value"])

    def test_openssl_alone_checks_the_signature(self):
        signature = self.dir / "signature"
        signature.write_bytes(base64.b64decode(self.lines[-1]["signature"]["value"]))
        pem = self.home / "signers" / "document.pem"
        command = 'head -n -1 "$1" | openssl dgst -sha256 -verify "$2" -signature "$3"'
        good = harness.run_program(["sh", "-c", command, "sh", self.bundle, pem, signature], self.env)
        self.assertEqual((good.code, good.out.strip()), (0, "Verified OK"), good)
        bad = harness.run_program(["sh", "-c", command, "sh", self.bundle, self.home / "signers" / "log.pem", signature], self.env)
        self.assertNotEqual(bad.code, 0)

    def test_signers_in_the_home(self):
        der = subprocess.run(["openssl", "pkey", "-pubin", "-in", self.home / "signers" / "document.pem", "-outform", "DER"],
                             stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(self.lines[-1]["signature"]["key"], hashlib.sha256(der).hexdigest())
        self.assertTrue((self.home / "signers" / "log.pem").is_file())

    def test_verify_without_token_and_home(self):
        away = {"KMTOOL_HOME": str(self.dir / "nowhere"), "SOFTHSM2_CONF": "/nonexistent", "KMFORWARD_MODULE": "/nonexistent"}
        pem = self.home / "signers" / "document.pem"
        result = self.kmtool("verify", self.bundle, "--signer", pem, "--json", env=away)
        self.assertEqual(result.code, 0, result)
        self.assertEqual(result.json()["signature"], "ok")
        self.assertEqual(result.json()["seals"], ["not checked"])
        unknown = self.kmtool("verify", self.bundle, env=away)
        self.assertEqual(unknown.code, 1, unknown)
        self.assertIn(self.lines[-1]["signature"]["key"], unknown.err + unknown.out)
        document = self.kmtool("verify", self.bundle, "--json", env=away)
        self.assertEqual(document.code, 1, document)
        self.assertEqual(document.json()["signature"], "unknown signer")

    def test_other_signer_is_refused_by_unwrap(self):
        other = self.dir / "other.pem"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.dir / "k.pem"], check=True)
        subprocess.run(["openssl", "pkey", "-in", self.dir / "k.pem", "-pubout", "-out", other], check=True, stdout=subprocess.DEVNULL)
        result = self.kmtool("verify", self.bundle, "--signer", other)
        self.assertIn(result.code, (1, 65), result)
        before = self.snapshot(self.home)
        again = self.kmtool("unwrap", self.bundle, "--as", "x", "--signer", other)
        self.assertNotEqual(again.code, 0, again)
        self.assertEqual(self.snapshot(self.home), before)


class EveryRoleAndType(harness.Case):
    """CLI.md's table: each kind is made, wrapped where the token can, and restored."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek")

    def test_table(self):
        waive = ("--waive", "G-SEALED=a test of every type", "--waive", "G-KEK=a test of every type")
        for role, types in TYPES.items():
            for index, kind in enumerate(types):
                with self.subTest(role=role, type=kind):
                    name = f"{role}-{kind}"
                    typed = ("--type", kind) if index else ()
                    made = self.ok_json("gen", name, "--role", role, *typed, "--exportable", *waive)["keys"][0]
                    self.assertEqual((made["role"], made["type"], made["label"]), (role, kind, f"{name}@1"))
                    if role == "kek":
                        continue
                    out = self.dir / f"{name}.kmb"
                    if kind == "ed25519":
                        self.refused(69, "wrap", name, "--kek", "root", "--out", out, *waive)
                        self.assertFalse(out.exists())
                        self.assertEqual([p.name for p in self.dir.iterdir() if "kmtmp" in p.name], [])
                        continue
                    self.ok("wrap", name, "--kek", "root", "--out", out, *waive)
                    self.ok("verify", out)
                    self.ok("unwrap", out, "--check")
                    back = self.ok_json("unwrap", out, "--as", f"{name}-back")["keys"][0]
                    self.assertEqual((back["role"], back["type"]), (role, kind))

    def test_public_half(self):
        self.ok("gen", "signing", "--role", "sign")
        pem = self.ok("show", "signing", "--public").out
        parsed = subprocess.run(["openssl", "pkey", "-pubin", "-noout", "-text"], input=pem.encode(), stdout=subprocess.PIPE, check=True)
        self.assertIn(b"P-256", parsed.stdout)

    def test_pairs_outside_the_table(self):
        for role, kind in (("kek", "rsa-3072"), ("data", "hmac-sha256"), ("mac", "aes-256"), ("sign", "aes-128"), ("transport", "ec-p256"), ("transport", "ed25519")):
            with self.subTest(role=role, type=kind):
                result = self.refused(64, "gen", "nope", "--role", role, "--type", kind)
                self.assertIn(TYPES[role][0], result.err)


if __name__ == "__main__":
    harness.main()
