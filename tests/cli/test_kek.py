"""KEKs between two sites with tokens of their own: to a transport key, under a shared parent, at birth; drills and refusals."""

import base64
import hashlib
import json
import os
import time

import harness

SAMPLES = int(os.environ.get("KM_KEK_SAMPLES", "40"))  # bytes that are changed; tests/bundle changes each one


class Sites(harness.Case):
    """Site A exports, site B imports; B has a transport key, A knows it by its request."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.embedded_home("a"), cls.embedded_home("b")
        cls.a_signer, cls.b_signer = cls.a / "signers/document.pem", cls.b / "signers/document.pem"
        cls.ok("gen", "incoming", "--role", "transport", home=cls.b)
        cls.pem, cls.request = cls.dir / "incoming.pem", cls.dir / "incoming.request"
        cls.pem.write_text(cls.ok("show", "incoming", "--public", home=cls.b).out)
        cls.request.write_text(cls.ok("show", "incoming", "--request", home=cls.b).out)
        cls.fingerprint = cls.fingerprint_of("incoming", cls.b)
        cls.ok("gen", "small", "--role", "kek", "--type", "aes-128", "--exportable", home=cls.a)
        cls.ok("gen", "cargo", "--role", "data", "--type", "aes-128", "--exportable", home=cls.a)
        cls.cargo = cls.dir / "cargo.kmb"
        cls.ok("wrap", "cargo", "--kek", "small", "--out", cls.cargo, home=cls.a)

    @classmethod
    def fingerprint_of(cls, name, home):
        return [line.split()[-1] for line in cls.ok("show", name, home=home).out.splitlines() if line.startswith("public key")][0]

    @classmethod
    def to_b(cls):
        return ["--to-public-key", cls.pem, "--fingerprint", cls.fingerprint]

    def out(self, name="out.kmb"):
        return self.dir / f"{self.id().split('.')[-1]}-{name}"

    def same_key(self, home_a, label_a, home_b, label_b):
        text = b"sixteen or more octets of text".hex()
        sealed = self.look(home_a, "encrypt", label_a, text)[0]
        self.assertEqual(self.look(home_b, "decrypt", label_b, sealed)[0], text)


class Transport(Sites):
    def test_a_kek_and_its_bundles_move(self):
        out = self.out()
        made = self.ok_json("export-kek", "small", *self.to_b(), "--out", out, home=self.a)
        self.assertEqual(made["recipients"][0]["algorithm"], "RSA-OAEP-SHA1")
        self.assertEqual(made["recipients"][0]["public_key"], self.fingerprint)
        self.assertEqual(made["waivers"], [])
        header = json.loads(out.read_text().splitlines()[0])
        self.assertEqual((header["kind"], header["records"], header["recipients"][0]["public_key"]), ("kek", 2, self.fingerprint))
        self.assertEqual(self.ok_json("verify", out, home=self.a)["seals"], ["ok"])
        row = [b for b in self.ok_json("bundles", home=self.a)["bundles"] if b["path"] == str(out)][0]
        self.assertEqual((row["kind"], row["public_keys"], row["keks"]), ("kek", [self.fingerprint], []))

        objects = self.objects(self.b)
        drill = self.ok_json("import-kek", out, "--signer", self.a_signer, "--check", home=self.b)
        self.assertEqual((drill["checked"], drill["compared"], drill["opened_by"]), (True, False, "incoming@1"))
        self.assertEqual(len(self.objects(self.b)), len(objects))
        done = self.ok_json("import-kek", out, "--signer", self.a_signer, "--using", "incoming", "--activate", home=self.b)
        kek = done["keys"][0]
        original = [k for k in self.ok_json("list", home=self.a)["keys"] if k["label"] == "small@1"][0]
        self.assertEqual((kek["id"], kek["state"], kek["extractable"], kek["origin"]), (original["id"], "active", False, "imported"))
        for item in self.objects(self.b):
            if item["id"].startswith(kek["id"]):
                self.assertEqual((item["extractable"], item["sensitive"], item["private"], item["modifiable"]), (False, True, True, False))

        # What is under it verifies and restores, once its signer is pinned.
        self.refused(77, "unwrap", self.cargo, home=self.b, says="someone unknown")
        self.ok("signer", "trust", self.a_signer, "--name", "site-a", home=self.b)
        self.assertEqual(self.ok_json("verify", self.cargo, home=self.b)["seals"], ["ok"])
        self.ok("unwrap", self.cargo, "--activate", home=self.b)
        self.same_key(self.a, "cargo@1", self.b, "cargo@1")
        self.assertIs(self.ok_json("doctor", home=self.b)["healthy"], True)
        # And it protects there.
        self.ok("gen", "local", "--role", "data", "--type", "aes-128", "--exportable", home=self.b)
        self.ok("wrap", "local", "--kek", "small", "--out", self.out("local.kmb"), home=self.b)
        drill = self.ok_json("import-kek", out, "--check", home=self.b)
        self.assertIs(drill["compared"], True)
        self.refused(73, "import-kek", out, home=self.b, says="already, as small@1")
        self.refused(73, "import-kek", out, "--as", "other", home=self.b)

    def test_the_stronger_kek_needs_a_waiver(self):
        self.ok("gen", "large", "--role", "kek", "--exportable", home=self.a)
        out = self.out()
        self.refused(77, "export-kek", "large", *self.to_b(), "--out", out, home=self.a,
                     says=["is weaker than kek large@1 (aes-256, 256 bits)", "a parent kek of type aes-256", "ec-p521", "--waive G-KEK=REASON"])
        self.assertFalse(out.exists())
        waive = ["--waive", "G-KEK=the other token has no other transport"]
        dry = self.ok_json("export-kek", "large", *self.to_b(), "--out", out, *waive, "--dry-run", home=self.a)
        self.assertEqual((dry["waivers"][0]["rule"], out.exists()), ("G-KEK", False))
        self.ok("export-kek", "large", *self.to_b(), "--out", out, *waive, home=self.a)
        note = {"rule": "G-KEK", "reason": "the other token has no other transport"}
        self.assertEqual(json.loads(out.read_text().splitlines()[0])["waivers"], [note])
        intents = [e for e in self.entries(self.a) if e["command"] == "export-kek" and e["phase"] == "intent"]
        self.assertEqual(intents[-1]["details"]["waivers"], [note])
        self.assertEqual(intents[-1]["details"]["recipients"][0]["public_key"], self.fingerprint)
        done = self.ok_json("import-kek", out, "--signer", self.a_signer, home=self.b)
        self.assertEqual((done["waived"], done["keys"][0]["state"]), ([note], "deactivated"))
        self.assertEqual(done["reported"][0]["rule"], "G-KEK")

    def test_a_request_of_a_pinned_site_needs_no_fingerprint(self):
        out = self.out()
        self.refused(77, "export-kek", "small", "--to-public-key", self.request, "--out", out, home=self.a, says="someone unknown")
        self.ok("export-kek", "small", "--to-public-key", self.request, "--fingerprint", self.fingerprint, "--out", out, home=self.a)
        self.ok("signer", "trust", self.b_signer, "--name", "site-b", home=self.a)
        made = self.ok_json("export-kek", "small", "--to-public-key", self.request, "--out", self.out("2.kmb"), home=self.a)
        self.assertEqual(made["recipients"][0]["pinned_by"], "the request that site-b signed")
        lines = self.request.read_text().splitlines()
        body = json.loads(lines[0])
        self.assertEqual(body["algorithms"], ["RSA-OAEP-SHA1", "RSA-OAEP-SHA1+AES-KWP"])
        bad = self.dir / "bad.request"
        bad.write_text(lines[0].replace("RSA-OAEP-SHA1\",", "RSA-OAEP-SHA256\",") + "\n" + lines[1] + "\n")
        self.refused(65, "export-kek", "small", "--to-public-key", bad, "--out", self.out("3.kmb"), home=self.a, says="line 2")
        bad.write_text(lines[0] + " \n" + lines[1] + "\n")
        self.refused(65, "export-kek", "small", "--to-public-key", bad, "--out", self.out("3.kmb"), home=self.a, says="line 1")
        # openssl checks it without kmtool.
        body_file, signature = self.dir / "body", self.dir / "signature"
        body_file.write_text(lines[0] + "\n")
        signature.write_bytes(base64.b64decode(json.loads(lines[1])["signature"]["value"]))
        checked = harness.run_program(["openssl", "dgst", "-sha256", "-verify", self.b_signer, "-signature", signature, body_file], self.env)
        self.assertEqual(checked.code, 0, checked)
        self.assertTrue([e for e in self.entries(self.b) if e["command"] == "show --request"])
        self.refused(64, "show", "small", "--request", home=self.a, says="for a transport key")

    def test_two_steps(self):
        self.ok("gen", "stepper", "--role", "kek", "--type", "aes-192", "--exportable", home=self.a)
        out = self.out()
        self.ok("export-kek", "stepper", *self.to_b(), "--algorithm", "RSA-OAEP-SHA1+AES-KWP", "--waive", "G-KEK=a test", "--out", out, home=self.a)
        self.ok("import-kek", out, "--signer", self.a_signer, home=self.b)
        self.refused(69, "export-kek", "stepper", *self.to_b(), "--algorithm", "RSA-OAEP-SHA256", "--waive", "G-KEK=a test", "--out", self.out("2.kmb"), home=self.a,
                     says="this token wraps by RSA-OAEP-SHA1")
        self.refused(64, "export-kek", "stepper", *self.to_b(), "--algorithm", "ROT13", "--out", self.out("2.kmb"), home=self.a)

    def test_fingerprints_pin(self):
        out = self.out()
        self.refused(64, "export-kek", "small", "--to-public-key", self.pem, "--out", out, "--no-input", home=self.a, says="--fingerprint")
        wrong = "0" * 64
        refusal = self.refused(77, "export-kek", "small", "--to-public-key", self.pem, "--fingerprint", wrong, "--out", out, home=self.a, says=self.fingerprint)
        self.assertIn("find out who changed it", refusal.err)
        self.refused(64, "export-kek", "small", "--to-public-key", self.pem, "--fingerprint", "abc", "--out", out, home=self.a)
        self.refused(64, "export-kek", "small", *self.to_b(), "--fingerprint", wrong, "--out", out, home=self.a, says="none of the public keys")
        self.refused(64, "export-kek", "small", "--out", out, home=self.a, says="to whom")
        self.assertFalse(out.exists())
        colons = ":".join(self.fingerprint[i:i + 2] for i in range(0, 64, 2)).upper()
        self.ok("export-kek", "small", "--to-public-key", self.pem, "--fingerprint", colons, "--out", out, home=self.a)
        words = [line.split(None, 2)[2] for line in self.ok("show", "incoming", home=self.b).out.splitlines() if line.startswith("in words")][0]
        self.ok("export-kek", "small", "--to-public-key", self.pem, "--fingerprint", words, "--out", self.out("2.kmb"), home=self.a)
        self.refused(66, "import-kek", out, "--signer", self.a_signer, "--using", "incoming", home=self.a, says="no key incoming")

    def test_what_is_not_exported(self):
        self.ok("gen", "fixed", "--role", "kek", "--type", "aes-128", home=self.a)
        out = self.out()
        self.refused(77, "export-kek", "fixed", *self.to_b(), "--out", out, home=self.a, says=["only at birth", "gen name --role kek --backup file"])
        self.refused(77, "export-kek", "cargo", *self.to_b(), "--out", out, home=self.a, says="only a kek is exported")
        self.refused(64, "export-kek", "small", "--to-kek", "small", "--out", out, home=self.a, says="under itself")
        self.refused(77, "export-kek", "small", "--to-kek", "cargo", "--out", out, home=self.a)
        self.refused(64, "unwrap", self.export_small(), home=self.b, says="import-kek")
        self.refused(64, "import-kek", self.cargo, "--signer", self.a_signer, home=self.b, says="kmtool unwrap")
        self.refused(64, "gen", "x", "--role", "data", "--backup", out, *self.to_b(), home=self.a, says="only a kek goes to a public key")

    def export_small(self):
        out = self.out("small.kmb")
        self.ok("export-kek", "small", *self.to_b(), "--out", out, home=self.a)
        return out

    def test_inspect_shows_it(self):
        out = self.export_small()
        shown = self.ok_json("inspect", out, home=self.a)
        self.assertEqual((shown["kind"], [k["type"] for k in shown["keys"]]), ("kek", ["aes-128", "hmac-sha256"]))
        self.assertIn(self.fingerprint, self.ok("inspect", out).out)


class Parents(Sites):
    def test_under_a_shared_parent_and_back(self):
        self.ok("gen", "parent", "--role", "kek", "--exportable", home=self.a)
        first = self.out("parent.kmb")
        self.ok("export-kek", "parent", *self.to_b(), "--waive", "G-KEK=first contact", "--out", first, home=self.a)
        self.ok("import-kek", first, "--signer", self.a_signer, "--activate", home=self.b)
        self.ok("gen", "child", "--role", "kek", "--exportable", home=self.a)
        out = self.out("child.kmb")
        made = self.ok_json("export-kek", "child", "--to-kek", "parent", "--out", out, home=self.a)
        self.assertEqual((made["recipients"][0]["kek"], made["recipients"][0]["algorithm"]), ("parent@1", "AES-KWP"))
        self.assertEqual(self.ok_json("verify", out, home=self.a)["seals"], ["ok", "ok"])
        self.ok("import-kek", out, "--signer", self.a_signer, home=self.b)
        # Destroyed at A, it comes back from its export, under its own id.
        before = [k for k in self.ok_json("list", home=self.a)["keys"] if k["label"] == "child@1"][0]
        self.ok("state", "child", "destroy", "--reason", "a drill", "--yes", home=self.a)
        self.refused(73, "import-kek", out, home=self.a, says="--as NEWNAME")
        back = self.ok_json("import-kek", out, "--as", "child-again", "--activate", home=self.a)["keys"][0]
        self.assertEqual((back["id"], back["label"]), (before["id"], "child-again@1"))
        self.assertIs(self.ok_json("doctor", home=self.a)["healthy"], True)

    def test_at_birth(self):
        out = self.out()
        made = self.ok_json("gen", "born", "--role", "kek", "--type", "aes-128", "--backup", out, *self.to_b(), home=self.a)
        self.assertEqual((made["keys"][0]["extractable"], made["keys"][0]["backed_up"]), (False, True))
        self.assertEqual(made["backup"]["recipients"][0]["algorithm"], "RSA-OAEP-SHA1")
        self.refused(77, "export-kek", "born", *self.to_b(), "--out", self.out("2.kmb"), home=self.a, says="at birth")
        self.ok("import-kek", out, "--signer", self.a_signer, "--activate", home=self.b)
        under = self.out("under.kmb")
        self.ok("wrap", "cargo", "--kek", "born", "--out", under, home=self.a)
        self.ok("unwrap", under, "--as", "cargo-born", "--activate", "--signer", self.a_signer, home=self.b)
        self.same_key(self.a, "cargo@1", self.b, "cargo-born@1")
        self.refused(64, "gen", "many", "--role", "kek", "--count", "2", "--backup", self.out("3.kmb"), *self.to_b(), home=self.a, says="one kek")
        # Its successor is born with a backup as well, and what is under the old one follows.
        missing = self.kmtool("rotate", "born", home=self.a)
        self.assertEqual(missing.code, 1, missing)
        self.assertIn("needs a backup too", missing.err)
        again = self.out("again.kmb")
        report = self.ok_json("rotate", "born", "--backup", again, *self.to_b(), "--rewrap-all", home=self.a)
        self.assertEqual((report["rotated"][0]["to"], report["rewrapped"][0]["file"]), (2, str(under)))
        self.ok("import-kek", again, "--signer", self.a_signer, "--activate", home=self.b)
        self.ok("unwrap", under, "--check", "--signer", self.a_signer, home=self.b)
        self.ok("gen", "under-born", "--role", "kek", "--type", "aes-128", "--backup", self.out("4.kmb"), "--kek", "born", home=self.a)
        self.ok("import-kek", self.out("4.kmb"), "--signer", self.a_signer, "--using", "born", home=self.b)

    def test_versions_of_one_kek(self):
        self.ok("gen", "turning", "--role", "kek", "--type", "aes-128", "--exportable", home=self.a)
        one, two = self.out("1.kmb"), self.out("2.kmb")
        self.ok("export-kek", "turning", *self.to_b(), "--out", one, home=self.a)
        self.ok("rotate", "turning", "--backup", two, home=self.a)
        self.ok("import-kek", one, "--signer", self.a_signer, "--activate", home=self.b)
        self.ok("import-kek", two, "--signer", self.a_signer, "--activate", home=self.b)
        states = {k["label"]: k["state"] for k in self.ok_json("list", home=self.b)["keys"]}
        self.assertEqual((states["turning@1"], states["turning@2"]), ("deactivated", "active"))
        # The newest protects, in whatever order they come.
        self.ok("gen", "winding", "--role", "kek", "--type", "aes-128", "--exportable", home=self.a)
        one, two = self.out("w1.kmb"), self.out("w2.kmb")
        self.ok("export-kek", "winding", *self.to_b(), "--out", one, home=self.a)
        self.ok("rotate", "winding", "--backup", two, home=self.a)
        self.ok("import-kek", two, "--signer", self.a_signer, "--activate", home=self.b)
        self.refused(77, "import-kek", one, "--signer", self.a_signer, "--activate", home=self.b, says="winding@2, which succeeded it, is here")
        self.ok("import-kek", one, "--signer", self.a_signer, home=self.b)
        self.assertEqual(self.ok_json("show", "winding", home=self.b)["keys"][0]["version"], 2)
        # A name of B's own is not mixed with one from elsewhere.
        self.ok("gen", "own", "--role", "kek", home=self.b)
        self.ok("gen", "own", "--role", "kek", "--type", "aes-128", "--exportable", home=self.a)
        self.ok("export-kek", "own", *self.to_b(), "--out", self.out("3.kmb"), home=self.a)
        self.refused(73, "import-kek", self.out("3.kmb"), "--signer", self.a_signer, home=self.b, says="already a key own")


class Hostile(harness.Case):
    """What an importer must refuse before its token opens anything: C_UnwrapKey is counted."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.mallory, cls.b = cls.embedded_home("a"), cls.embedded_home("mallory"), cls.dir / "b"
        cls.a_signer = cls.a / "signers/document.pem"
        token = harness.SoftToken(cls.dir / "hsm")
        cls.b_env = dict(token.env(), KMTOOL_PIN_SOURCE=f"file:{token.pin_file}")
        cls.ok("init", "--module", harness.FORWARD, "--token-label", token.label, home=cls.b, env=cls.b_env)
        cls.ok("gen", "incoming", "--role", "transport", home=cls.b, env=cls.b_env)
        pem = cls.dir / "incoming.pem"
        pem.write_text(cls.ok("show", "incoming", "--public", home=cls.b, env=cls.b_env).out)
        fingerprint = json.loads(cls.ok("show", "incoming", "--request", home=cls.b, env=cls.b_env).out.splitlines()[0])
        fingerprint = hashlib.sha256(base64.b64decode(fingerprint["key"]["public"])).hexdigest()
        cls.bundles = {}
        for home in (cls.a, cls.mallory):
            cls.ok("gen", "small", "--role", "kek", "--type", "aes-128", "--exportable", home=home)
            out = cls.dir / f"{home.name}.kmb"
            cls.ok("export-kek", "small", "--to-public-key", pem, "--fingerprint", fingerprint, "--out", out, home=home)
            cls.bundles[home.name] = out

    def counted(self, path, *more):
        """The import's result, and how many times the token was asked to unwrap."""
        log = self.dir / "spy.log"
        log.unlink(missing_ok=True)
        result = self.kmtool("import-kek", path, *more, home=self.b, env=dict(self.b_env, **harness.spy_env(log)))
        return result, harness.spy_calls(log).get("C_UnwrapKey", 0)

    def test_planted(self):
        planted = self.bundles["mallory"]
        for more in ([], ["--signer", self.a_signer], ["--check"], ["--check", "--signer", self.a_signer]):
            result, unwraps = self.counted(planted, *more)
            self.assertEqual((result.code, unwraps), (77, 0), result)
            self.assertIn("someone unknown", result.err)
        lines = planted.read_text().splitlines(keepends=True)
        genuine = self.bundles["a"].read_text().splitlines(keepends=True)
        for name, content in {"unsigned": lines[:-1], "under a's name": lines[:-1] + genuine[-1:], "a's head": genuine[:1] + lines[1:],
                              "a's proofs": lines[:3] + genuine[3:], "mallory's values": genuine[:1] + lines[1:3] + genuine[3:]}.items():
            bad = self.dir / "bad.kmb"
            bad.write_text("".join(content))
            result, unwraps = self.counted(bad, "--signer", self.a_signer)
            self.assertIn(result.code, (65, 77), f"{name}: {result}")
            self.assertEqual(unwraps, 0, name)
        self.assertEqual(self.ok_json("list", "--role", "kek", home=self.b, env=self.b_env)["keys"], [])
        refusals = [e for e in self.entries(self.b) if e["phase"] == "refusal" and e["command"].startswith("import-kek")]
        self.assertGreaterEqual(len(refusals), 9)

    def test_any_byte_changed(self):
        genuine = self.bundles["a"].read_bytes()
        bad = self.dir / "changed.kmb"
        positions = range(3, len(genuine), max(1, len(genuine) // SAMPLES))
        for position in positions:
            content = bytearray(genuine)
            content[position] ^= 1
            bad.write_bytes(bytes(content))
            result, unwraps = self.counted(bad, "--signer", self.a_signer)
            self.assertIn(result.code, (65, 77), f"byte {position}: {result}")
            self.assertEqual(unwraps, 0, f"byte {position}: {result}")
        self.assertGreaterEqual(len(positions), SAMPLES)
        # The genuine one is opened: the count does see the program.
        result, unwraps = self.counted(self.bundles["a"], "--signer", self.a_signer, "--check")
        self.assertEqual((result.code, unwraps), (0, 3), result)


class Own(Sites):
    """A KEK goes to a transport key of this very home."""

    def own(self, name, *more):
        pem = self.out(f"{name}.pem")
        self.ok("gen", name, "--role", "transport", "--type", "rsa-3072", *more, home=self.b)
        pem.write_text(self.ok("show", name, "--public", home=self.b).out)
        return ["--to-public-key", pem, "--fingerprint", self.fingerprint_of(name, self.b)]

    def test_as_its_state_and_period_are(self):
        self.ok("gen", "mine", "--role", "kek", "--type", "aes-128", "--exportable", home=self.b)
        to = self.own("inward")
        self.ok("export-kek", "mine", *to, "--out", self.out("1.kmb"), home=self.b)
        for verb, state in (("compromise", "compromised"), ("destroy", "destroyed")):
            self.ok("state", "inward@1", verb, "--reason", "a test", "--yes", home=self.b)
            self.refused(77, "export-kek", "mine", *to, "--out", self.out("2.kmb"), home=self.b, says=f"transport key inward@1 is {state}")
        to = self.own("brief", "--cryptoperiod", "1s")
        time.sleep(1.1)
        self.refused(77, "export-kek", "mine", *to, "--out", self.out("3.kmb"), home=self.b, says="the period of transport key brief@1 ended")

    def test_a_kek_that_came_back_has_its_backup_still(self):
        out = self.out()
        self.ok("gen", "above", "--role", "kek", "--type", "aes-128", home=self.b)
        self.ok("gen", "was", "--role", "kek", "--type", "aes-128", "--exportable", home=self.b)
        self.ok("export-kek", "was", "--to-kek", "above", "--out", out, home=self.b)
        self.ok("state", "was", "destroy", "--reason", "a drill", "--yes", home=self.b)
        self.ok("import-kek", out, "--as", "is", "--activate", home=self.b)
        missing = self.kmtool("rotate", "is", home=self.b)
        self.assertEqual(missing.code, 1, missing)
        self.assertIn("needs a backup too", missing.err)
        made = self.ok_json("rotate", "is", "--backup", self.out("2.kmb"), home=self.b)
        self.assertEqual(made["rotated"][0]["to"], 2)
        self.assertIn("above@1", self.ok("inspect", self.out("2.kmb")).out)


if __name__ == "__main__":
    harness.main()
