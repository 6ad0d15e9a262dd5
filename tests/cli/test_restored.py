"""A home that was put back from an older backup: what it has forgotten comes back, and what it counts goes on."""

import os
import shutil
import time

import cryptoki
import harness


class Forgotten(harness.Case):
    """The same backup is put back for each test; beforehand the home went on without it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek", "--exportable")
        cls.ok("gen", "ledger", "--role", "data", "--backup", cls.dir / "ledger.kmb", "--kek", "root")
        cls.ok("gen", "tags", "--role", "mac")
        cls.ok("home", "backup", cls.dir / "h.kmh")
        cls.older = cls.dir / "ledger.older"
        shutil.copy(cls.dir / "ledger.kmb", cls.older)
        cls.ok("rotate", "root", "--rewrap-all")
        cls.moved = cls.dir / "ledger.moved"
        shutil.copy(cls.dir / "ledger.kmb", cls.moved)
        cls.plain, cls.sealed = cls.dir / "plain", cls.dir / "sealed"
        cls.plain.write_text("the ledger")
        cls.ok("rotate", "ledger", "--backup", cls.dir / "ledger2.kmb")
        cls.ok("encrypt", "ledger", "--in", cls.plain, "--out", cls.sealed)
        cls.ok("gen", "fresh", "--role", "data")
        cls.ok("rotate", "fresh")
        cls.ok("signer", "rotate")
        cls.kept, cls.objects_kept = cls.dir / "kept", cls.dir / "hsm.kept"
        shutil.copytree(cls.home, cls.kept)
        shutil.copytree(cls.token.folder, cls.objects_kept)

    def setUp(self):
        for folder, kept in ((self.home, self.kept), (self.token.folder, self.objects_kept)):
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
        shutil.copy(self.moved, self.dir / "ledger.kmb")
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.accepted = self.ok("doctor", "--accept-rollback", "--reason", "a test")

    def key(self, label):
        return {k["label"]: k for k in self.ok_json("list")["keys"]}[label]

    def test_what_is_there_is_said_and_on_record(self):
        for label in ("root@2", "ledger@2", "fresh@1", "fresh@2", "kmtool-log-signer-"):
            self.assertIn(label, self.accepted.err)
        verified = self.ok_json("audit", "verify")
        self.assertEqual((verified["objects"], verified["found_at_rollback"]), ("ok", 9))
        self.assertIn("9 keys were found there when a restore was accepted", self.ok("audit", "verify").out)
        # Signers cannot come back: new ones take over, and the forgotten ones stay explained.
        self.ok("signer", "rotate")
        self.ok("gen", "after", "--role", "data")
        self.assertEqual(self.ok_json("audit", "verify")["found_at_rollback"], 9)
        # What is planted later is not among them.
        self.pkcs11_tool(self.home, "--keygen", "--key-type", "AES:32", "--label", "planted", "--id", "0bad")
        self.refused(65, "audit", "verify", says="planted")
        self.pkcs11_tool(self.home, "--keygen", "--key-type", "AES:32", "--label", "ledger@2", "--id", self.id_of("ledger@2"))
        self.refused(65, "audit", "verify", says="ledger@2")

    def id_of(self, label):
        return [o["id"] for o in self.objects(self.home) if o["label"] == label][0]

    def test_a_kek_comes_back_as_that_version(self):
        bundle = self.dir / "ledger.kmb"
        lost = self.refused(66, "unwrap", bundle, "--check", says=["root@2 is on this token, as root@2", "kmtool adopt root --id " + self.id_of("root@2")])
        self.assertNotIn("none of the bundle's KEKs is on this token", lost.err)
        dry = self.ok_json("adopt", "root", "--label", "root@2", "--dry-run")
        kek = self.ok_json("adopt", "root", "--label", "root@2")["keys"][0]
        self.assertEqual((kek["label"], kek["role"], kek["state"], kek["extractable"]), ("root@2", "kek", "deactivated", True))
        self.assertEqual([flaw.split(":")[0] for flaw in kek["flaws"]], ["extractable", "no-wrap-with-trusted"])  # as it was made
        self.assertEqual(dry["keys"][0]["label"], kek["label"])
        self.ok("unwrap", bundle, "--check")
        self.ok("unwrap", bundle, "--as", "again")
        # It opens, and protects nothing; the active one is the one of the record, and its successor is the third.
        self.assertEqual(self.key("root@1")["state"], "active")
        self.refused(77, "wrap", "again@1", "--kek", "root@2", "--out", self.dir / "never.kmb")
        self.assertEqual(self.ok_json("rotate", "root")["rotated"][0]["to"], 3)
        self.assertIs(self.ok_json("doctor")["healthy"], True)
        self.ok("audit", "verify")
        self.refused(73, "adopt", "root", "--label", "root@2")

    def test_a_bundle_that_was_written_anew_is_followed(self):
        bundle = str(self.dir / "ledger.kmb")
        own = lambda: [b for b in self.ok_json("bundles")["bundles"] if b["path"] == bundle]  # noqa: E731
        self.assertEqual(own()[0]["kek"], "root@1")
        self.ok("adopt", "root", "--label", "root@2")
        checks = {b["path"]: b for b in self.ok_json("bundles", "--verify-all")["bundles"]}
        self.assertEqual((checks[bundle]["verdict"], checks[bundle]["kek"]), ("ok", "root@2"))
        self.assertIn("a restore forgot", checks[bundle]["why"])
        self.assertEqual([(b["kek"], b["verified"] is None) for b in own()], [("root@2", False)])
        self.ok("audit", "verify")
        # And it moves on, as any other; a copy of it or an older one in its place is none.
        rotated = self.ok_json("rotate", "root", "--rewrap-all")
        self.assertEqual([r["file"] for r in rotated["rewrapped"]], [bundle])
        self.assertEqual(own()[0]["kek"], "root@3")
        shutil.copy(self.older, bundle)
        self.assertEqual(self.kmtool("bundles", "--verify-all").code, 1)
        self.ok("unwrap", self.older, "--check")

    def test_another_version_opens_what_it_protected(self):
        self.refused(66, "decrypt", "--in", self.sealed, "--out", self.dir / "never")
        ledger = self.ok_json("adopt", "ledger", "--label", "ledger@2")["keys"][0]
        self.assertEqual((ledger["label"], ledger["state"]), ("ledger@2", "deactivated"))
        self.ok("decrypt", "--in", self.sealed, "--out", self.dir / "opened", "--force")
        self.assertEqual((self.dir / "opened").read_text(), "the ledger")
        self.assertEqual(self.key("ledger@1")["state"], "active")
        self.assertEqual(self.ok_json("rotate", "ledger", "--backup", self.dir / "ledger3.kmb", "--force")["rotated"][0]["to"], 3)

    def test_all(self):
        dry = self.ok_json("adopt", "--all", "--dry-run")
        said = self.ok("adopt", "--all", "--json")
        done = said.json()
        labels = {key["label"]: key["state"] for key in done["keys"]}
        self.assertEqual(labels, {"root@2": "deactivated", "ledger@2": "deactivated", "fresh@2": "deactivated", "fresh@1": "deactivated"})
        self.assertEqual([key["label"] for key in dry["keys"]], [key["label"] for key in done["keys"]])
        self.assertIn("note: fresh@2 comes back deactivated, for the record does not say whether it was compromised or suspended meanwhile: kmtool rotate fresh", said.err)
        # That they were neither is said of what is back, of the newest version of a key without an active one alone.
        active = self.ok_json("adopt", "--all", "--activate")
        self.assertEqual([(key["label"], key["state"]) for key in active["keys"]], [("fresh@2", "active")])
        self.assertEqual(self.key("root@2")["state"], "deactivated")
        self.assertEqual(self.key("ledger@1")["state"], "active")
        self.assertEqual(self.ok_json("adopt", "--all", "--activate")["keys"], [])
        self.refused(77, "encrypt", "fresh", "--in", self.plain, "--out", self.dir / "fresh.sealed", "--force", says="how often fresh@2 has encrypted")
        self.assertEqual(self.ok_json("audit", "verify")["found_at_rollback"], 4)  # the signers
        self.assertIs(self.ok_json("doctor")["healthy"], True)
        self.assertEqual(self.ok_json("rotate", "fresh")["rotated"][0]["to"], 3)  # it never had a backup, and needs none
        self.ok("encrypt", "fresh", "--in", self.plain, "--out", self.dir / "fresh.sealed", "--force")

    def test_all_are_said_to_be_good(self):
        said = self.ok("adopt", "--all", "--activate", "--json")
        labels = {key["label"]: key["state"] for key in said.json()["keys"]}
        self.assertEqual(labels, {"root@2": "deactivated", "ledger@2": "deactivated", "fresh@2": "active", "fresh@1": "deactivated"})
        self.assertNotIn("come back", said.err)
        self.assertIs([entry for entry in self.entries(self.home) if entry["command"] == "adopt"][-1]["details"]["activate"], True)

    def test_nothing_passes_for_a_version(self):
        for name, role in (("tags", "mac"), ("root", "kek")):
            made = self.pkcs11_tool(self.home, "--keygen", "--key-type", "AES:32", "--label", f"{name}@7", "--id", "ab" * 16, "--sensitive", "--usage-decrypt")
            self.assertEqual(made.code, 0, made)
            self.refused(73, "adopt", name, "--label", f"{name}@7", says=f"of the role {role}")
            self.assertEqual(self.pkcs11_tool(self.home, "--delete-object", "--type", "secrkey", "--label", f"{name}@7").code, 0)
        # Half a KEK, and one whose seal somebody else made.
        os.environ.update(self.token.env())
        mine = {"label": "root@8", "id": b"\xce" * 16, "private": True, "sensitive": True, "extractable": False}
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as session:
            session.generate("aes", 32, wrap=True, unwrap=True, encrypt=False, decrypt=False, **mine)
        self.refused(77, "adopt", "root", "--label", "root@8", says="two objects")
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as session:
            session.generate("generic", 32, sign=True, verify=True, wrap=False, unwrap=False, encrypt=False, decrypt=False, **mine)
        self.refused(77, "adopt", "root", "--label", "root@8", says="not as kmtool makes them")
        # A value from outside joins a key by name alone, never with --all.
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as session:
            session.create("secret", key_type=cryptoki.TYPE["generic"], value=bytes(range(32)), label="tags@2", id=b"\xcd" * 16, private=True, sensitive=True, sign=True, verify=True,
                           wrap=False, unwrap=False)
        left_out = self.ok_json("adopt", "--all")
        self.assertNotIn("tags", {key["name"] for key in left_out["keys"]})
        self.assertIn("adopt tags --label tags@2", " ".join(one["why"] for one in left_out["skipped"]))
        self.assertTrue(self.ok_json("adopt", "tags", "--label", "tags@2")["keys"][0]["flaws"])

    def test_numbers_go_on(self):
        """A gateway takes no snapshot whose number is not above the last one: also where the same backup is put back twice."""
        out, last = self.dir / "keys.jsonl", 0
        for _ in range(2):
            for _ in range(3):
                number = self.ok_json("apikey", "publish", "--out", out)["sequence"]
                self.assertGreater(number, last)
                last = number
            self.ok("home", "restore", self.dir / "h.kmh", "--force")
            time.sleep(1)  # no home is put back twice within a second
            self.ok("doctor", "--accept-rollback", "--reason", "again")
        self.assertGreater(self.ok_json("apikey", "publish", "--out", out)["sequence"], last)


class Joined(harness.Case):
    """Two homes on one token."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.one = cls.module_home(cls.token, "one")
        cls.two = cls.module_home(cls.token, "two", harness.FORWARD, "--join")
        for words in (("pay", "--role", "data"), ("y", "--role", "mac"), ("root", "--role", "kek"), ("s", "--role", "sign")):
            cls.ok("gen", *words, home=cls.one)
        cls.ok("gen", "own", "--role", "data", home=cls.two)
        cls.id_one = cls.ok_json("doctor", home=cls.one) and harness.json.loads((cls.one / "config.json").read_text())["home_id"]
        cls.id_two = harness.json.loads((cls.two / "config.json").read_text())["home_id"]

    def test_another_homes_keys_stay_its_own(self):
        keys = [o for o in self.objects(self.one) if not o["label"].startswith("kmtool-anchor:")]
        for words in (("--all",), ("--all", "--dry-run"), ("x", "--label", "y@1"), ("y", "--label", "y@1"), ("root", "--label", "root@1"), ("s", "--label", "s@1")):
            self.refused(77, "adopt", *words, home=self.two, says=["another home", self.id_one, f"--from-home {self.id_two}"])
        self.assertEqual([o for o in self.objects(self.one) if not o["label"].startswith("kmtool-anchor:")], keys)
        self.assertEqual([k["name"] for k in self.ok_json("list", home=self.two)["keys"]], ["own"])
        self.assertIs(self.ok_json("doctor", home=self.one)["healthy"], True)

    def test_nothing_advises_it(self):
        taken = self.refused(73, "gen", "y", "--role", "mac", home=self.two, says=self.id_one)
        self.assertNotIn("adopt", taken.err)
        verified = self.refused(65, "audit", "verify", home=self.two, says=["--allow-foreign", self.id_one])
        self.assertNotIn("adopt", verified.err)
        self.ok("audit", "verify", "--allow-foreign", home=self.two)
        fixes = [f["fix"] for f in self.ok_json("audit", "keys", home=self.two)["findings"] if f["check"] == "unmanaged" and f["object"]["label"] == "y@1"]
        self.assertEqual(len(fixes), 1)
        self.assertIn("in that home", fixes[0])

    def test_an_anchor_of_another_home_is_no_key(self):
        for home in (self.one, self.two):
            findings = self.ok_json("audit", "keys", home=home)["findings"]
            bad = [f for f in findings if f["object"]["label"].startswith("kmtool-") and f["severity"] != "low"]
            self.assertEqual(bad, [])
            self.assertEqual([f for f in findings if f["check"] == "duplicate-id"], [])
            named = [f for f in findings if f["check"] == "unmanaged" and f["object"]["label"].startswith("kmtool-")]
            self.assertEqual(len(named), 6)  # two anchors and two pairs of signers

    def test_of_a_home_that_is_given_up(self):
        self.refused(66, "adopt", "y", "--label", "y@1", "--from-home", "0" * 36, home=self.two, says=self.id_one)
        made = self.pkcs11_tool(self.two, "--keygen", "--key-type", "AES:32", "--label", "legacy", "--id", "a1", "--usage-decrypt", "--sensitive")
        self.assertEqual(made.code, 0, made)
        self.ok("adopt", "legacy", "--label", "legacy", home=self.two)  # no home names its keys so
        mac = self.ok_json("adopt", "y", "--label", "y@1", "--from-home", self.id_one, home=self.two)["keys"][0]
        self.assertEqual((mac["label"], mac["state"]), ("y@1", "deactivated"))
        said = self.ok_json("adopt", "y", "--label", "y@1", "--from-home", self.id_one, "--activate", "--owner", "us", home=self.two)["keys"][0]
        self.assertEqual((said["label"], said["state"]), ("y@1", "active"))
        self.assertEqual([e["details"]["from_home"] for e in self.entries(self.two) if e["command"] == "adopt" and "from_home" in e["details"]], [self.id_one] * 2)


class Compromised(harness.Case):
    """What became of a key after the backup is forgotten with it: it protects nothing until somebody says that it is good."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.text = cls.dir / "text"
        cls.text.write_text("a text")
        cls.ok("home", "backup", cls.dir / "h.kmh")
        for name in ("leaked", "paused", "touched", "good"):
            cls.ok("gen", name, "--role", "sign")
        cls.signature = cls.dir / "signature"
        cls.ok("sign", "good", "--in", cls.text, "--out", cls.signature)
        cls.ok("state", "leaked", "compromise", "--reason", "stolen")
        cls.ok("state", "paused", "suspend", "--reason", "looked into")
        made = cls.pkcs11_tool(cls.home, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "web", "--id", "a2", "--usage-sign")
        if made.code != 0:
            raise AssertionError(str(made))
        cls.ok("home", "restore", cls.dir / "h.kmh", "--force")
        cls.ok("doctor", "--accept-rollback", "--reason", "a test")

    def test_a_nothing_that_comes_back_signs(self):
        adopted = self.ok("adopt", "--all", "--json")
        states = {key["label"]: key["state"] for key in adopted.json()["keys"]}
        self.assertEqual(states, {"leaked@1": "deactivated", "paused@1": "deactivated", "touched@1": "deactivated", "good@1": "deactivated", "web@1": "active"})
        self.assertIn("kmtool adopt --all --activate", adopted.err)
        for name in ("leaked", "paused", "good"):
            self.assertNotEqual(self.kmtool("sign", name, "--in", self.text).code, 0)
            self.refused(77, "sign", f"{name}@1", "--in", self.text)
        self.ok("sign", "web", "--in", self.text, "--out", self.dir / "web.signature")
        self.ok("verify-signature", "good@1", "--signature", self.signature, "--in", self.text)
        self.assertIn("what became of it before is not known", self.ok("show", "good@1").out)

    def test_b_one_is_said_to_be_good(self):
        key = {item["label"]: item["id"] for item in self.objects(self.home)}
        dry = self.planned("adopt", "good", "--id", key["good@1"], "--activate")
        self.assertEqual(self.ok_json("adopt", "good", "--label", "good@1", "--activate"), dry)
        self.ok("sign", "good", "--in", self.text, "--out", self.signature, "--force")
        self.assertIn("said to be neither compromised nor suspended", self.ok("show", "good").out)
        self.refused(73, "adopt", "good", "--label", "good@1", "--activate", says="managed already")
        self.assertEqual(self.ok_json("rotate", "paused")["rotated"][0]["to"], 2)
        # Of one whose state was said since, --activate says nothing any more.
        self.ok("state", "touched@1", "compromise", "--reason", "it was stolen, too")
        self.assertEqual([key["label"] for key in self.ok_json("adopt", "--all", "--activate")["keys"]], ["leaked@1"])
        self.ok("doctor")

    def test_c_under_another_name(self):
        """Its label tells that a home made it, whatever it is called now."""
        made = self.pkcs11_tool(self.home, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "old@1", "--id", "ab" * 16, "--usage-sign")
        self.assertEqual(made.code, 0, made)
        self.assertEqual(self.ok_json("adopt", "new", "--label", "old@1")["keys"][0]["state"], "deactivated")
        self.assertEqual(self.ok_json("adopt", "new", "--label", "old@1", "--activate")["keys"][0]["state"], "active")


class Newer(harness.Case):
    def test_the_newest_is_the_one_that_is_activated(self):
        """An older version waits to be activated, and the newer one is found by the same command."""
        self.on_own_token()
        back = self.dir / "h.kmh"
        for words in (("gen", "x", "--role", "sign"), ("rotate", "x")):
            self.ok("home", "backup", back, "--force")
            self.ok(*words)
            self.ok("home", "restore", back, "--force")
            self.ok("doctor", "--accept-rollback", "--reason", "a test")
            if words[0] == "gen":
                self.ok("adopt", "--all")
        self.ok("adopt", "--all", "--activate")
        self.assertEqual({k["label"]: k["state"] for k in self.ok_json("list")["keys"]}, {"x@1": "deactivated", "x@2": "active"})


class Newborn(harness.Case):
    def test_who_had_a_backup_at_birth_has_a_successor_with_one(self):
        self.on_own_token()
        self.ok("gen", "root", "--role", "kek")
        self.ok("home", "backup", self.dir / "h.kmh")
        self.ok("gen", "vault", "--role", "kek", "--backup", self.dir / "vault.kmk", "--kek", "root")
        self.ok("gen", "pay", "--role", "data", "--backup", self.dir / "pay.kmb", "--kek", "vault")
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.ok("doctor", "--accept-rollback", "--reason", "a test")
        self.ok("adopt", "vault", "--label", "vault@1")
        self.ok("adopt", "pay", "--label", "pay@1")
        for name in ("vault", "pay"):
            self.assertIn("--backup", self.kmtool("rotate", name).err)
            self.assertEqual(self.kmtool("rotate", name).code, 1)
        # Nor does the record say whether a quorum opens the old one's: it is not dropped unsaid.
        words = ("rotate", "vault", "--backup", self.dir / "vault2.kmk", "--kek", "root")
        failed = self.kmtool(*words, "--json")
        self.assertEqual((failed.code, failed.json()["rotated"]), (1, []))
        self.assertIn("opens with a quorum of custodians is not on record, for it is older than a restore", failed.json()["failed"][0]["message"])
        self.assertIn("--quorum M/N --shares DIR; or --quorum none", failed.json()["failed"][0]["hint"])
        self.assertIn("(--quorum M/N --shares DIR | --quorum none)", self.kmtool("rotate", "vault").err)
        self.refused(64, *words, "--quorum", "none", "--shares", self.dir / "shares", says="makes no shares")
        self.refused(64, "rotate", "vault", "--quorum", "none", says="--quorum goes with --backup FILE")
        self.assertIn("as --quorum none says", self.ok(*words, "--quorum", "none", "--dry-run").err)
        self.ok(*words, "--quorum", "none")
        self.assertIn("none", [entry["details"].get("quorum") for entry in self.entries(self.home) if entry["command"] == "rotate"])
        # The successor's backup is on record, and so is that it needs none.
        self.ok("rotate", "vault", "--backup", self.dir / "vault3.kmk", "--kek", "root")
        self.ok("rotate", "pay", "--backup", self.dir / "pay2.kmb", "--kek", "vault")

    def test_an_export_that_the_restore_forgot_is_asked_for(self):
        """The KEK is on record from before; that it went out behind a quorum since is not."""
        home = self.embedded_home("exporting")
        run = lambda *words: self.ok(*words, home=home)  # noqa: E731
        for name in ("parent", "old"):
            run("gen", name, "--role", "kek", "--exportable")
        run("home", "backup", self.dir / "exporting.kmh")
        run("export-kek", "old", "--to-kek", "parent", "--out", self.dir / "old.kmk", "--quorum", "2/3", "--shares", self.dir / "old-shares")
        run("home", "restore", self.dir / "exporting.kmh", "--force")
        run("doctor", "--accept-rollback", "--reason", "a test")
        words = ("rotate", "old", "--backup", self.dir / "old2.kmk", "--kek", "parent")
        failed = self.kmtool(*words, "--json", home=home)
        self.assertEqual((failed.code, failed.json()["rotated"]), (1, []))
        self.assertIn("older than a restore", failed.json()["failed"][0]["message"])
        run(*words, "--quorum", "2/3", "--shares", self.dir / "old2-shares")
        # One that was made since has all of its past on record.
        run("gen", "new", "--role", "kek", "--exportable")
        run("rotate", "new", "--backup", self.dir / "new2.kmk", "--kek", "parent")


class Imported(harness.Case):
    """A KEK that came from another site, and is as it should be."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.embedded_home("a"), cls.embedded_home("b")
        cls.ok("gen", "incoming", "--role", "transport", home=cls.b)
        request = cls.dir / "incoming.request"
        request.write_text(cls.ok("show", "incoming", "--request", home=cls.b).out)
        cls.ok("signer", "trust", cls.b / "signers/document.pem", "--name", "b", home=cls.a)
        cls.ok("gen", "root", "--role", "kek", "--type", "aes-128", "--exportable", home=cls.a)
        cls.kek = cls.dir / "root.kmk"
        cls.ok("export-kek", "root", "--to-public-key", request, "--out", cls.kek, home=cls.a)
        cls.ok("home", "backup", cls.dir / "b.kmh", home=cls.b)
        cls.ok("import-kek", cls.kek, "--signer", cls.a / "signers/document.pem", "--activate", home=cls.b)

    def test_a_no_alarm(self):
        report = self.ok_json("audit", "keys", home=self.b)
        self.assertEqual([f for f in report["findings"] if f["object"]["label"] == "root@1" and f["severity"] != "low"], [])
        self.assertEqual([f for f in report["findings"] if f["check"] in ("missing", "differs")], [])

    def test_b_forgotten(self):
        """Its own number of octets SoftHSM does not tell of a key that was unwrapped."""
        self.ok("home", "restore", self.dir / "b.kmh", "--force", home=self.b)
        self.ok("doctor", "--accept-rollback", "--reason", "a test", home=self.b)
        forgotten = self.refused(73, "import-kek", self.kek, "--signer", self.a / "signers/document.pem", home=self.b, says="this home's record does not know it")
        self.assertIn("kmtool adopt root --id ", forgotten.err)
        self.assertIn(" --type aes-128", forgotten.err)
        self.refused(77, "adopt", "root", "--label", "root@1", home=self.b, says="--type")
        kek = self.ok_json("adopt", "root", "--label", "root@1", "--type", "aes-128", home=self.b)["keys"][0]
        self.assertEqual((kek["label"], kek["type"], kek["state"]), ("root@1", "aes-128", "deactivated"))
        self.assertTrue(any("imported" in flaw for flaw in kek["flaws"]), kek)
        self.assertIs(self.ok_json("doctor", home=self.b)["healthy"], True)
        self.ok("audit", "verify", home=self.b)


if __name__ == "__main__":
    harness.main()
