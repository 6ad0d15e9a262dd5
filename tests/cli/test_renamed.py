"""A key that came back from a bundle under another name is still that key: bundles call it what it was called when they were written."""

import json
import time

import harness


class Renamed(harness.EmbeddedCase):
    def kek(self, name):
        """The KEK with its backup under root, and a key under it."""
        self.ok("gen", name, "--role", "kek", "--backup", self.dir / f"{name}.kmk", "--kek", "root")
        self.ok("gen", f"key-{name}", "--role", "data", "--backup", self.dir / f"key-{name}.kmb", "--kek", name)

    def comes_back(self, name, *words):
        """`NAME@1` is destroyed, and imported as `new-NAME`."""
        self.ok("state", f"{name}@1", "destroy", "--reason", "lost with its card", "--yes")
        self.ok("import-kek", self.dir / f"{name}.kmk", "--as", f"new-{name}", *words)

    def destroying(self, label):
        """What is said before."""
        return self.ok("state", label, "destroy", "--reason", "not needed", "--dry-run").err

    def test_what_opens_under_it_is_said_before_it_is_destroyed(self):
        self.kek("oak")
        self.comes_back("oak", "--activate")
        self.assertNotIn("warning", self.destroying("new-oak@1"))  # its bundle gives it back
        (self.dir / "oak.kmk").rename(self.dir / "oak.moved")
        said = self.destroying("new-oak@1")
        self.assertIn(f"{self.dir}/key-oak.kmb (1 key) opens under no other kek", said)
        self.assertIn("oak.kmk: it is not there", said)
        # A second recipient that came back too is another way in; one that is gone is not.
        self.kek("elm")
        self.ok("gen", "both", "--role", "data", "--backup", self.dir / "both.kmb", "--kek", "elm", "--kek", "root")
        self.comes_back("elm", "--activate")
        (self.dir / "elm.kmk").rename(self.dir / "elm.moved")
        said = self.destroying("root@1")
        self.assertNotIn("both.kmb", said)
        self.ok("state", "new-elm@1", "destroy", "--reason", "not needed", "--yes")
        self.assertIn("both.kmb (1 key) opens under no other kek", self.destroying("root@1"))

    def test_what_a_bundle_holds_under_its_first_name_is_not_lost(self):
        self.ok("gen", "note", "--role", "data", "--backup", self.dir / "note.kmb", "--kek", "root")
        self.ok("unwrap", self.dir / "note.kmb", "--as", "new-note")
        self.ok("state", "note@1", "destroy", "--reason", "restored as new-note", "--yes")
        self.assertNotIn("warning", self.destroying("new-note@1"))
        (self.dir / "note.kmb").rename(self.dir / "note.moved")
        self.assertIn("no bundle of new-note@1 is left", self.destroying("new-note@1"))

    def test_cron_destroys_none_that_a_bundle_needs(self):
        self.kek("ash")
        self.comes_back("ash", "--activate")
        self.ok("state", "new-ash@1", "deactivate", "--reason", "over")
        policy = self.home / "policy.json"
        before = policy.read_text()
        policy.write_text(before.replace('"destroy_after": {}', '"destroy_after": {"kek": "1s"}'))
        self.ok("policy", "accept")
        try:
            time.sleep(2)
            self.assertNotIn("new-ash@1", self.ok_json("rotate", "--due")["destroyed"])
        finally:
            policy.write_text(before)
            self.ok("policy", "accept")
        self.ok("unwrap", self.dir / "key-ash.kmb", "--check")

    def test_compromised_it_affects_what_lies_under_its_first_name(self):
        self.kek("yew")
        self.comes_back("yew", "--activate")
        done = self.ok_json("state", "new-yew@1", "compromise", "--reason", "a token was stolen")
        self.assertEqual({bundle["path"] for bundle in done["affected"]}, {f"{self.dir}/yew.kmk", f"{self.dir}/key-yew.kmb"})
        look = self.kmtool("monitor", "--json")
        self.assertIn(f"{self.dir}/key-yew.kmb is under yew@1", look.out)

    def test_the_rotated_one_takes_over_though_the_old_version_has_another_name(self):
        self.kek("fir")
        self.ok("rotate", "fir", "--backup", self.dir / "fir2.kmk")
        self.comes_back("fir")
        bundle = self.dir / "key-fir.kmb"
        planned = self.ok("rotate", "fir", "--rewrap", bundle, "--dry-run")
        done = self.ok("rotate", "fir", "--rewrap", bundle)
        self.assertEqual(done.out, planned.out)
        self.assertEqual([r["kek"] for r in json.loads(bundle.read_text().splitlines()[0])["recipients"]], ["fir@2"])
        self.ok("unwrap", bundle, "--check")

    def test_a_bundle_that_is_named_beside_all_is_not_left_out(self):
        """One that the catalog does not know, such as another site's."""
        self.kek("birch")
        bundle, copy = self.dir / "key-birch.kmb", self.dir / "copy.kmb"
        copy.write_bytes(bundle.read_bytes())
        words = ["rotate", "birch", "--rewrap-all", "--rewrap", copy, "--backup", self.dir / "birch2.kmk"]
        planned = self.ok(*words, "--dry-run")
        done = self.ok(*words)
        self.assertEqual(done.out, planned.out)
        for path in (bundle, copy):
            self.assertEqual([r["kek"] for r in json.loads(path.read_text().splitlines()[0])["recipients"]], ["birch@2"])

    def test_rotating_the_name_it_has_now_takes_its_bundles_along(self):
        self.kek("box")
        self.comes_back("box", "--activate")
        done = self.ok_json("rotate", "new-box", "--rewrap-all", "--backup", self.dir / "new-box2.kmk", "--kek", "root")
        self.assertEqual([one["file"] for one in done["rewrapped"]], [f"{self.dir}/key-box.kmb"])
        self.assertEqual([r["kek"] for r in json.loads((self.dir / "key-box.kmb").read_text().splitlines()[0])["recipients"]], ["new-box@2"])
        self.ok("unwrap", self.dir / "key-box.kmb", "--check")


if __name__ == "__main__":
    harness.main()
