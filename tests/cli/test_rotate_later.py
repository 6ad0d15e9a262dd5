"""Rotation after something happened: a home that was restored, bundles that were left, a version that is suspended, a site that recovered."""

import json

import harness


class Later(harness.EmbeddedCase):
    def states(self, name):
        return {k["version"]: k["state"] for k in self.ok_json("list")["keys"] if k["name"] == name}

    def fails(self, *words):
        result = self.kmtool(*words, "--json")
        self.assertEqual(result.code, 1, result)
        failed = result.json()["failed"][0]
        return failed["message"] + " / " + failed["hint"]


class Restored(Later):
    """The record is older than the token: labels are taken by versions that it does not know."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok("gen", "ledger", "--role", "data", "--backup", cls.dir / "ledger.kmb", "--kek", "root")
        cls.ok("home", "backup", cls.dir / "home.kmh")
        cls.ok("rotate", "ledger", "--backup", cls.dir / "ledger2.kmb")
        cls.ok("rotate", "ledger", "--backup", cls.dir / "ledger3.kmb")
        cls.ok("rotate", "root", "--rewrap-all")
        cls.secret = cls.ok("encrypt", "ledger", "--out", cls.dir / "secret", stdin=b"kept")
        cls.ok("home", "restore", cls.dir / "home.kmh", "--force")
        cls.ok("doctor", "--accept-rollback", "--reason", "a test")

    def test_the_next_free_number(self):
        words = ["rotate", "ledger", "--backup", self.dir / "ledger4.kmb"]
        planned = self.ok(*words, "--dry-run")
        done = self.ok(*words)
        self.assertEqual(done.out, planned.out)
        self.assertIn("ledger@1 -> ledger@4", done.out)
        self.assertIn("the token already has ledger@2 to ledger@3, which this home does not know", done.err)
        self.assertEqual(self.states("ledger"), {1: "deactivated", 4: "active"})
        self.assertEqual(self.ok_json("rotate", "ledger", "--backup", self.dir / "ledger5.kmb")["rotated"][0]["to"], 5)
        # What was there is untouched.
        self.assertEqual(len([o for o in self.objects(self.home) if o["label"] in ("ledger@2", "ledger@3")]), 2)
        self.ok("adopt", "ledger", "--label", "ledger@3")
        self.assertEqual(self.ok("decrypt", "--in", self.dir / "secret").out, "kept")
        self.assertEqual(self.states("ledger"), {1: "deactivated", 3: "deactivated", 4: "deactivated", 5: "active"})

    def test_a_kek(self):
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        under = self.dir / "cargo.kmb"
        self.ok("wrap", "cargo", "--kek", "root", "--out", under)
        result = self.ok("rotate", "root", "--rewrap", under)
        self.assertIn("root@1 -> root@3", result.out)
        self.assertIn("the token already has root@2", result.err)
        self.assertEqual([r["kek"] for r in json.loads(under.read_text().splitlines()[0])["recipients"]], ["root@3"])
        self.ok("unwrap", under, "--check")


class Left(Later):
    """A rotation is on record until no bundle needs an old version."""

    def wrapped(self, kek, count=2):
        self.ok("gen", kek, "--role", "kek")
        self.ok("gen", f"cargo-{kek}", "--role", "data", "--exportable")
        files = [self.dir / f"{kek}-{n}.kmb" for n in range(count)]
        for path in files:
            self.ok("wrap", f"cargo-{kek}", "--kek", kek, "--out", path)
        return files

    def names(self, report):
        return [done["file"] for done in report["rewrapped"]]

    def test_one_after_the_other(self):
        one, two, three = map(str, self.wrapped("steps", 3))
        report = self.ok_json("rotate", "steps", "--rewrap", one)
        self.assertEqual((self.names(report), [left["file"] for left in report["left"]]), ([one], [two, three]))
        self.assertNotIn("rotation", self.kmtool("monitor").out)  # it was done as it was asked for
        self.assertEqual(self.ok("rotate", "--due").out, "")
        report = self.ok_json("rotate", "steps", "--rewrap", two)
        self.assertEqual((report["rotated"], self.names(report)), ([], [two]))
        planned = self.ok_json("rotate", "--due", "--rewrap-all", "--dry-run")
        report = self.ok_json("rotate", "--due", "--rewrap-all")
        self.assertEqual((report["rotated"], self.names(report)), ([], [three]))
        self.assertEqual(self.names(planned), [three])
        self.assertEqual(self.states("steps"), {1: "deactivated", 2: "active"})
        self.assertEqual(self.ok_json("bundles", "--depends-on", "steps@1")["bundles"], [])
        # Now it is closed: the next is another.
        self.assertEqual(self.ok_json("rotate", "steps", "--rewrap-all")["rotated"][0]["to"], 3)

    def test_all_that_is_left(self):
        files = self.wrapped("later")
        self.ok("rotate", "later")
        result = self.ok("rotate", "later", "--rewrap-all", "--json")
        self.assertEqual((result.json()["rotated"], self.names(result.json())), ([], list(map(str, files))))
        self.assertIn("going on with the rotation of later from version 1 to 2", result.err)

    def test_another_version_without_bundles_named(self):
        self.wrapped("twice")
        self.ok("rotate", "twice")
        self.assertEqual(self.ok_json("rotate", "twice")["rotated"], [{"name": "twice", "from": 2, "to": 3}])
        self.assertEqual(len(self.ok_json("rotate", "twice", "--rewrap-all")["rewrapped"]), 2)
        self.assertEqual(self.ok_json("bundles", "--depends-on", "twice@1")["bundles"], [])

    def test_what_is_away_does_not_hold_the_next_up(self):
        one, two = self.wrapped("away")
        one.rename(self.dir / "elsewhere.kmb")
        self.assertEqual(self.names(self.ok_json("rotate", "away", "--rewrap-all")), [str(two)])
        self.assertEqual(self.ok_json("rotate", "away", "--rewrap-all")["rotated"][0]["to"], 3)
        # Back again it is moved without another version.
        (self.dir / "elsewhere.kmb").rename(one)
        report = self.ok_json("rotate", "away", "--rewrap-all")
        self.assertEqual((report["rotated"], self.names(report)), ([], [str(one)]))

    def test_moved_for_good(self):
        """Under its new name it is no stranger to the rotation."""
        one, two = self.wrapped("named")
        moved = self.dir / "named-moved.kmb"
        one.rename(moved)
        self.ok("rotate", "named", "--rewrap", two)
        report = self.ok_json("rotate", "named", "--rewrap", moved)
        self.assertEqual((report["rotated"], self.names(report)), ([], [str(moved)]))

    def test_a_version_that_may_not_wrap_is_succeeded(self):
        """A damaged bundle keeps the rotation open; the version that it led to is compromised meanwhile."""
        one, two = self.wrapped("burnt")
        good = one.read_bytes()
        one.write_bytes(good.replace(b'"aes-256"', b'"aes-192"', 1))
        self.assertEqual(self.kmtool("rotate", "burnt", "--rewrap-all").code, 1)
        self.ok("state", "burnt", "compromise", "--reason", "a test")
        one.write_bytes(good)
        report = self.ok_json("rotate", "burnt", "--rewrap-all")
        self.assertEqual((report["rotated"], sorted(self.names(report))), ([{"name": "burnt", "from": 2, "to": 3}], [str(one), str(two)]))


class Suspended(Later):
    def test_hints_lead_somewhere(self):
        """Following them must not cost the new version: a deactivated one never comes back."""
        self.ok("gen", "q", "--role", "data")
        secret = self.dir / "q.secret"
        self.ok("encrypt", "q", "--out", secret, stdin=b"kept")
        self.ok("state", "q", "suspend", "--reason", "a test")
        self.assertIn("kmtool state q@1 deactivate", self.ok("rotate", "q").err)
        self.refused(77, "decrypt", "--in", secret, says=("q@1 is suspended", "deactivate where another version is active"))
        self.refused(77, "state", "q@1", "resume", "--reason", "a test", says=("kmtool state q@1 deactivate --reason TEXT", "q@2 stays active"))
        self.ok("state", "q@1", "deactivate", "--reason", "as it was said")
        self.assertEqual(self.ok("decrypt", "--in", secret).out, "kept")
        self.assertEqual(self.states("q"), {1: "deactivated", 2: "active"})

    def test_a_kek(self):
        self.ok("gen", "held", "--role", "kek")
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        under = self.dir / "held.kmb"
        self.ok("wrap", "cargo", "--kek", "held", "--out", under)
        self.ok("state", "held", "suspend", "--reason", "a test")
        left = self.ok_json("rotate", "held", "--rewrap-all")["left"]
        self.assertIn("held@1 is suspended, and unwraps when it is deactivated (kmtool state held@1 deactivate", left[0]["why"])
        self.refused(77, "unwrap", under, "--check", says="deactivate where another version is active")
        self.ok("state", "held@1", "deactivate", "--reason", "as it was said")
        self.ok("unwrap", under, "--check")


class Recovered(Later):
    """The only site that is left: its keys came out of bundles, and their successors are backed up again."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.b = cls.embedded_home("b")
        cls.ok("gen", "intake", "--role", "transport", home=cls.b)
        request = cls.dir / "intake.request"
        request.write_text(cls.ok("show", "intake", "--request", home=cls.b).out)
        cls.ok("signer", "trust", cls.b / "signers/document.pem", "--name", "b")
        cls.ok("signer", "trust", cls.home / "signers/document.pem", "--name", "a", home=cls.b)
        cls.ok("gen", "vault", "--role", "kek", "--type", "aes-128", "--backup", cls.dir / "vault.kmk", "--to-public-key", request)
        cls.ok("gen", "ledger", "--role", "data", "--type", "aes-128", "--backup", cls.dir / "ledger.kmb", "--kek", "vault")
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.b))
        cls.ok("import-kek", cls.dir / "vault.kmk", "--activate")
        cls.ok("unwrap", cls.dir / "ledger.kmb", "--activate")

    def test_keys_go_under_a_kek_of_the_site(self):
        out = self.dir / "ledger2.kmb"
        says = self.fails("rotate", "ledger")
        self.assertIn("ledger@1 was restored from a bundle: its successor needs a backup too / kmtool rotate ledger --backup FILE --kek KEK", says)
        self.assertIn("--backup FILE --kek KEK", self.fails("rotate", "ledger", "--backup", out))
        self.ok("gen", "fresh", "--role", "kek")
        self.ok("rotate", "ledger", "--backup", out, "--kek", "fresh")
        self.assertEqual([r["kek"] for r in json.loads(out.read_text().splitlines()[0])["recipients"]], ["fresh@1"])
        self.assertIn("1 compared", self.ok("unwrap", out, "--check").out)
        key = [k for k in self.ok_json("list")["keys"] if k["label"] == "ledger@2"][0]
        self.assertEqual((key["backed_up"], key["extractable"], key["origin"]), (True, False, "generated"))
        # From now on it is as everywhere.
        self.ok("rotate", "ledger", "--backup", self.dir / "ledger3.kmb")

    def test_the_kek_itself(self):
        says = self.fails("rotate", "vault", "--rewrap-all")
        self.assertIn("vault@1 was imported from a bundle: its successor needs a backup too", says)
        self.assertIn("--to-public-key PEM --fingerprint HEX, or --kek PARENT", says)
        self.assertIn("--kek PARENT", self.fails("rotate", "vault", "--backup", self.dir / "vault2.kmk"))
        self.ok("gen", "parent", "--role", "kek")
        self.ok("rotate", "vault", "--backup", self.dir / "vault2.kmk", "--kek", "parent")
        self.assertIs(self.ok_json("import-kek", self.dir / "vault2.kmk", "--check")["compared"], True)


if __name__ == "__main__":
    harness.main()
