"""Keys that were under a KEK which is called compromised: no re-wrapping takes that off them, and monitor says so until they are replaced."""

import json

import harness


class Exposed(harness.Case):
    def setUp(self):
        self.home = self.embedded_home(self.id().split(".")[-1])
        self.env["KMTOOL_HOME"] = str(self.home)
        self.ok("gen", "root", "--role", "kek")
        self.file = self.dir / f"{self.home.name}.kmb"

    def bundle(self, *names, kek="root"):
        for name in names:
            self.ok("gen", name, "--role", "data", "--exportable")
        self.ok("wrap", *names, "--kek", kek, "--out", self.file)

    def compromise(self, label="root@1", *more):
        return self.ok_json("state", label, "compromise", "--reason", "a token was stolen", *more)["exposed"]

    def records(self):
        return {key["name"]: key["state"] for key in (json.loads(line)["key"] for line in self.file.read_text().splitlines() if line.startswith('{"key"'))}

    def monitor(self):
        return self.kmtool("monitor", "-v")

    def test_it_is_named_and_stays_on_record(self):
        self.bundle("pay", "idle", "gone")
        self.ok("gen", "apart", "--role", "data", "--exportable")
        self.ok("state", "idle", "deactivate", "--reason", "over")
        self.ok("state", "gone", "destroy", "--reason", "over", "--yes")
        self.assertEqual(self.compromise("root@1", "--dry-run"), ["pay@1"])
        said = self.ok("state", "root@1", "compromise", "--reason", "a token was stolen")
        self.assertIn("exposed: pay@1 was under it and is active: kmtool rotate pay\n", said.out)
        self.assertNotIn("idle", said.out)
        self.refused(77, "unwrap", self.file, "pay", "--as", "p1", "--activate", says="root@1, which it was under")
        moved = self.ok("rotate", "root", "--rewrap-all")
        self.assertIn("pay@1, idle@1, gone@1 were under a compromised kek: re-wrapped,", moved.err)
        self.assertEqual(self.records(), {"pay": "compromised", "idle": "compromised", "gone": "compromised"})
        for name in ("pay", "gone"):
            self.refused(77, "unwrap", self.file, name, "--as", "p1", "--activate", says="root@1, which it was under, was called compromised")
        self.assertEqual(self.ok_json("unwrap", self.file, "pay", "--as", "p1")["keys"][0]["state"], "compromised")
        look = self.monitor()
        self.assertEqual(look.code, 2, look)
        self.assertIn("1 key was under a compromised kek: kmtool rotate pay", look.out)
        self.assertIn("pay@1 was under root@1, which is compromised: kmtool rotate pay", look.out)
        self.assertNotIn("called compromised since", self.ok("rotate", "root", "--rewrap-all").err)
        self.ok("rotate", "pay", "--overlap", "1d")
        look = self.monitor()
        self.assertIn("1 key was under a compromised kek,", look.out.replace(" |", ","))
        self.assertIn("kmtool state pay@1 deactivate", look.out)
        self.ok("state", "pay@1", "deactivate", "--reason", "over")
        self.assertNotIn("was under", self.monitor().out)
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_what_a_transport_key_brought(self):
        """Whoever has the transport key, and the bundle that was made for it, has the KEK and what is under that."""
        away = self.embedded_home("away-of-transport")
        self.ok("gen", "inbound", "--role", "transport")
        pem, request = self.dir / "inbound.pem", self.dir / "inbound.kmk"
        pem.write_text(self.ok("show", "inbound", "--public").out)
        shown = self.ok("show", "inbound").out.splitlines()
        fingerprint = [line.split()[-1] for line in shown if line.startswith("public key")][0]
        self.ok("gen", "brought", "--role", "kek", "--exportable", "--type", "aes-128", home=away)
        self.ok("export-kek", "brought", "--to-public-key", pem, "--fingerprint", fingerprint, "--out", request, home=away)
        self.ok("import-kek", request, "--signer", away / "signers/document.pem", "--activate")
        self.ok("gen", "pay", "--role", "data", "--exportable", "--type", "aes-128")
        self.ok("wrap", "pay", "--kek", "brought", "--out", self.file)
        self.ok("gen", "apart", "--role", "data", "--exportable")
        self.ok("wrap", "apart", "--kek", "root", "--out", self.dir / "apart.kmb")
        self.assertEqual(self.compromise("inbound@1"), ["brought@1", "pay@1"])
        self.assertIn("pay@1 was under inbound@1, which is compromised: kmtool rotate pay", self.monitor().out)
        self.refused(77, "unwrap", self.file, "pay", "--as", "p1", "--activate", says="inbound@1, which it was under, was called compromised")

    def test_each_way_out_of_it(self):
        self.bundle("one", "two", "three", "four")
        self.assertEqual(self.compromise(), ["four@1", "one@1", "three@1", "two@1"])
        self.ok("rotate", "root", "--rewrap-all")
        self.assertIn("4 keys were under a compromised kek: kmtool rotate four one three two", self.monitor().out)
        self.ok("rotate", "one")
        self.ok("state", "two", "deactivate", "--reason", "over")
        self.ok("state", "three", "compromise", "--reason", "as its kek")
        self.assertIn("1 key was under a compromised kek: kmtool rotate four", self.monitor().out)
        self.ok("state", "four", "destroy", "--reason", "over", "--yes")
        self.assertNotIn("was under", self.monitor().out)

    def test_another_site_refuses_it_too(self):
        self.bundle("pay")
        self.compromise()
        wrapped = self.kmtool("wrap", "pay", "--kek", "root", "--out", self.dir / "no.kmb")
        self.assertEqual(wrapped.code, 66, wrapped)
        self.ok("rotate", "root", "--rewrap-all")
        again = self.ok("wrap", "pay", "--kek", "root", "--out", self.file, "--force")
        self.assertIn("pay@1 was under a compromised kek: the bundle calls it compromised", again.err)
        self.assertEqual(self.records(), {"pay": "compromised"})

    def test_a_kek_that_was_rotated_before_it_was_called_so(self):
        """Its bundles are under the new version by then; whoever kept one of before has the keys."""
        self.bundle("pay")
        self.ok("rotate", "root", "--rewrap-all")
        self.assertEqual(self.compromise(), ["pay@1"])
        self.refused(77, "unwrap", self.file, "--as", "p1", "--activate", says="root@1, which it was under")
        self.assertIn("kmtool rotate pay", self.monitor().out)

    def test_copies_of_it(self):
        self.bundle("pay")
        self.ok("unwrap", self.file, "--as", "copy", "--activate")
        self.ok("state", "pay", "deactivate", "--reason", "copy works")
        self.assertEqual(self.compromise(), ["copy@1"])
        self.ok("rotate", "root", "--rewrap-all")
        self.assertIn("kmtool rotate copy", self.monitor().out)
        self.refused(77, "unwrap", self.file, "--as", "third", "--activate", says="root@1, which it was under")

    def test_what_is_under_a_kek_under_it(self):
        self.ok("gen", "child", "--role", "kek", "--exportable", "--type", "aes-128")
        self.ok("export-kek", "child", "--to-kek", "root", "--out", self.dir / "child.kmk")
        self.ok("gen", "pay", "--role", "data", "--exportable", "--type", "aes-128")
        self.ok("wrap", "pay", "--kek", "child", "--out", self.file)
        self.assertEqual(self.compromise(), ["child@1", "pay@1"])
        self.refused(77, "unwrap", self.file, "--as", "p1", "--activate", says="root@1, which it was under")
        self.refused(77, "import-kek", self.dir / "child.kmk", "--as", "anew", "--activate", says="root@1, which it was under")

    def test_any_recipient_of_what_was_restored(self):
        """Of another home's bundle under two KEKs: whoever has the one has the key, though the other opened it here."""
        other = self.embedded_home("other-of-two")
        self.ok("gen", "t", "--role", "transport")
        pem = self.dir / "two.pem"
        pem.write_text(self.ok("show", "t", "--public").out)
        fingerprint = [line.split()[-1] for line in self.ok("show", "t").out.splitlines() if line.startswith("public key")][0]
        self.ok("signer", "trust", other / "signers/document.pem", "--name", "other")
        for name in ("up1", "up2", "low"):
            self.ok("gen", name, "--role", "kek", "--exportable", "--type", "aes-128", home=other)
        for name in ("up1", "up2"):
            self.ok("export-kek", name, "--to-public-key", pem, "--fingerprint", fingerprint, "--out", self.dir / f"two-{name}.kmk", home=other)
        self.ok("gen", "pay", "--role", "data", "--exportable", "--type", "aes-128", home=other)
        self.ok("wrap", "pay", "--kek", "up1", "--kek", "up2", "--out", self.file, home=other)
        self.ok("export-kek", "low", "--to-kek", "up1", "--to-kek", "up2", "--out", self.dir / "low.kmk", home=other)
        self.ok("import-kek", self.dir / "two-up1.kmk", "--activate")
        self.ok("unwrap", self.file, "--activate")
        self.ok("import-kek", self.dir / "low.kmk", "--activate")
        self.ok("import-kek", self.dir / "two-up2.kmk", "--as", "second")
        self.assertEqual(self.compromise("second@1"), ["low@1", "pay@1"])

    def test_a_file_that_the_catalog_does_not_know(self):
        """Of another home that has the KEK, named by hand once the KEK is compromised."""
        other = self.embedded_home("other")
        self.ok("gen", "up", "--role", "kek", "--exportable", "--type", "aes-128")
        pem = self.dir / "t.pem"
        self.ok("gen", "t", "--role", "transport", home=other)
        pem.write_text(self.ok("show", "t", "--public", home=other).out)
        fingerprint = [line.split()[-1] for line in self.ok("show", "t", home=other).out.splitlines() if line.startswith("public key")][0]
        self.ok("export-kek", "up", "--to-public-key", pem, "--fingerprint", fingerprint, "--out", self.dir / "up.kmk")
        self.ok("signer", "trust", self.home / "signers/document.pem", "--name", "a", home=other)
        self.ok("signer", "trust", other / "signers/document.pem", "--name", "b")
        self.ok("import-kek", self.dir / "up.kmk", "--activate", home=other)
        self.ok("gen", "foreign", "--role", "data", "--exportable", "--type", "aes-128", home=other)
        self.ok("wrap", "foreign", "--kek", "up", "--out", self.file, home=other)
        self.assertEqual(self.compromise("up@1"), [])
        # Cut off when the new file has its name, it is on record all the same: the file's KEK says it no more.
        at, begun = 0, False
        while self.records() == {"foreign": "active"}:
            at += 1
            result = self.kmtool("rotate", "up", "--rewrap", self.file, "--backup", self.dir / f"up-{begun}-{at}.kmk", env={"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(at), "KILLFS_WHEN": "after", "KILLFS_NAMES": "rename,renameat2"})
            self.assertEqual(result.code, -9, result)
            self.ok("doctor", "--repair")
            if not begun and any(key["label"] == "up@2" for key in self.ok_json("list")["keys"]):
                at, begun = 0, True  # the next run goes on with the file alone
        self.assertEqual(self.records(), {"foreign": "compromised"})
        rows = [change["id"] for entry in self.entries(self.home) for change in entry.get("changes", []) if change["kind"] == "exposed"]
        self.assertRegex(" ".join(rows), "foreign@1#[0-9a-f]{32}")
        self.refused(77, "unwrap", self.file, "--as", "f1", "--activate", says="compromised")

    def test_many(self):
        """More rows than one entry of the journal holds."""
        spec = self.dir / "many.json"
        keys = [{"name": f"a-key-{i:04}-" + "x" * 50, "role": "data", "exportable": True} for i in range(550)]
        spec.write_text(json.dumps({"kmspec": 1, "keys": keys}))
        self.ok("gen", "--spec", spec)
        self.ok("wrap", "--all", "--kek", "root", "--out", self.file)
        self.assertEqual(len(self.compromise()), 550)
        self.assertGreater(len([e for e in self.entries(self.home) if e["command"] == "state compromise"]), 1)
        self.assertIn("550 keys were under a compromised kek: kmtool rotate ", self.monitor().out)
        self.ok("audit", "verify")


if __name__ == "__main__":
    harness.main()
