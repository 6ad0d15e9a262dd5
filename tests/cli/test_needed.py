"""What else rests on a key than bundles of this home: stored API keys, and backups of KEKs that other sites wrote for it."""

import sys
import time

import harness


class Needed(harness.Case):
    @classmethod
    def with_policy(cls, home, destroy_after):
        policy = home / "policy.json"
        policy.write_text(policy.read_text().replace('"destroy_after": {}', f'"destroy_after": {{{destroy_after}}}'))
        cls.ok("policy", "accept", home=home)

    def state_of(self, label, home):
        return self.ok_json("show", label, home=home)["keys"][0]["state"]

    def destroying(self, label, home):
        return self.ok("state", label, "destroy", "--reason", "a test", "--dry-run", home=home).err


class Stored(Needed):
    def home_with(self, name, *more):
        """A home whose key `stripe` is sealed by apikey-store@1, which was rotated; `later` is under apikey-store@2."""
        home = self.embedded_home(name)
        if more:
            self.ok("gen", "root", "--role", "kek", home=home)
            self.ok("gen", "apikey-store", "--role", "data", *more, home=home)
        self.ok("apikey", "store", "stripe", "--app", "shop", stdin="a value of a third party", home=home)
        self.ok("rotate", "apikey-store", *(("--backup", self.dir / f"{name}-2.kmb") if more else ()), home=home)
        self.ok("apikey", "store", "later", "--app", "shop", stdin="another value of theirs", home=home)
        return home

    def value_of(self, name, home):
        code = "import os; print(os.environ['K'])"
        return self.ok("apikey", "exec", "--app", "shop", "--set", f"K={name}", "--", sys.executable, "-c", code, home=home).out.strip()

    def test_policy_destroys_no_version_that_seals_a_stored_key(self):
        home = self.home_with("policy")
        self.with_policy(home, '"data": "1s"')
        time.sleep(2)
        result = self.ok("rotate", "--due", home=home)
        self.assertIn("apikey-store@1 is due to be destroyed, and stays: 1 stored key is sealed under it (kmtool apikey store --reseal)", result.err)
        self.assertEqual(self.state_of("apikey-store@1", home), "deactivated")
        self.assertEqual(self.value_of("stripe", home), "a value of a third party")
        self.ok("apikey", "store", "--reseal", home=home)
        self.assertEqual(self.ok_json("rotate", "--due", home=home)["destroyed"], ["apikey-store@1"])
        self.assertEqual(self.value_of("stripe", home), "a value of a third party")

    def test_what_is_lost_is_said_and_costs_no_other(self):
        home = self.home_with("lost")
        self.ok("apikey", "store", "more", "--app", "shop", stdin="a third value of theirs", home=home)
        self.ok("rotate", "apikey-store", home=home)
        self.assertIn("warning: 1 stored key is sealed under apikey-store@1 and lost with it: shop/stripe (kmtool apikey store --reseal", self.destroying("apikey-store@1", home))
        self.assertIn("2 stored keys are sealed under apikey-store@2 and lost with it: shop/later, shop/more", self.destroying("apikey-store@2", home))
        self.assertNotIn("stored key", self.destroying("apikey-store@3", home))
        self.ok("state", "apikey-store@1", "destroy", "--reason", "a mistake", "--yes", home=home)
        self.refused(77, "apikey", "exec", "--app", "shop", "--set", "K=stripe", "--", "true", home=home,
                     says=("the key kept as shop/stripe is lost", "kmtool apikey store stripe --app shop --force"))
        tree = self.dir / "tree"
        tree.mkdir()
        (tree / "code.py").write_text("another value of theirs\n")
        found = self.kmtool("apikey", "scan", tree, "--json", home=home)
        self.assertEqual(found.code, 1, found)
        self.assertEqual([finding["id"] for finding in found.json()["findings"]], ["shop/later"])
        self.assertEqual([lost["id"] for lost in found.json()["lost"]], ["shop/stripe"])
        (tree / "code.py").write_text("nothing\n")
        found = self.kmtool("apikey", "scan", tree, home=home)
        self.assertEqual(found.code, 1, found)  # not everything could be looked for
        self.assertIn("not looked for: shop/stripe: the key kept as shop/stripe is lost", found.err)
        for dry in (["--dry-run"], []):
            result = self.kmtool("apikey", "store", "--reseal", *dry, "--json", home=home)
            self.assertEqual(result.code, 1, result)
            self.assertEqual([record["name"] for record in result.json()["resealed"]], ["later", "more"])
            self.assertEqual([left["id"] for left in result.json()["left"]], ["shop/stripe"])
            self.assertIn("shop/stripe was not sealed anew", result.err)
        seals = {s["name"]: s["key"] for s in self.ok_json("apikey", "store", "--list", home=home)["stored"]}
        self.assertEqual(seals, {"stripe": "apikey-store@1", "later": "apikey-store@3", "more": "apikey-store@3"})
        self.assertEqual(self.value_of("later", home), "another value of theirs")
        self.ok("apikey", "store", "stripe", "--app", "shop", "--remove", home=home)
        self.ok("apikey", "store", "--reseal", home=home)
        self.ok("apikey", "scan", tree, home=home)

    def test_a_suspended_version_costs_no_other(self):
        home = self.home_with("suspended")
        self.ok("rotate", "apikey-store", "--overlap", "1d", home=home)
        self.ok("state", "apikey-store@2", "suspend", "--reason", "a review", home=home)
        result = self.kmtool("apikey", "store", "--reseal", "--json", home=home)
        self.assertEqual(result.code, 1, result)
        self.assertEqual([record["name"] for record in result.json()["resealed"]], ["stripe"])
        self.assertIn("apikey-store@2 is suspended", result.err)

    def test_what_comes_back_from_a_bundle_opens_again(self):
        bundle = self.dir / "store.kmb"
        home = self.home_with("restored", "--backup", bundle, "--kek", "root")
        self.assertIn("1 stored key is sealed under apikey-store@1 and cannot be opened until it is restored: shop/stripe", self.destroying("apikey-store@1", home))
        self.ok("state", "apikey-store@1", "destroy", "--reason", "a mistake", "--yes", home=home)
        self.refused(77, "apikey", "exec", "--app", "shop", "--set", "K=stripe", "--", "true", home=home, says="kmtool unwrap FILE --as")
        self.ok("unwrap", bundle, "--as", "old-store", home=home)
        self.assertEqual(self.value_of("stripe", home), "a value of a third party")
        self.assertIn("1 stored key is sealed under old-store@1", self.destroying("old-store@1", home))
        self.assertEqual(len(self.ok_json("apikey", "store", "--reseal", home=home)["resealed"]), 1)
        self.assertNotIn("stored key", self.destroying("old-store@1", home))


class Opened(Needed):
    """Site A writes a KEK for a transport key, or for a KEK, of site B, which opens it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.embedded_home("a"), cls.embedded_home("b")
        cls.ok("signer", "trust", cls.a / "signers/document.pem", "--name", "a", home=cls.b)
        for name in ("root", "leaf"):
            cls.ok("gen", name, "--role", "kek", "--type", "aes-128", "--exportable", home=cls.a)
        cls.ok("gen", "drilled", "--role", "transport", home=cls.b)
        cls.ok("gen", "used", "--role", "transport", home=cls.b)
        cls.ok("gen", "idle", "--role", "transport", home=cls.b)
        for kek, to in (("leaf", "drilled"), ("root", "used")):
            pem = cls.dir / f"{to}.pem"
            pem.write_text(cls.ok("show", to, "--public", home=cls.b).out)
            shown = cls.ok("show", to, home=cls.b).out.splitlines()
            fingerprint = [line.split()[-1] for line in shown if line.startswith("public key")][0]
            cls.ok("export-kek", kek, "--to-public-key", pem, "--fingerprint", fingerprint, "--out", cls.dir / f"{to}.kmk", home=cls.a)
        cls.ok("import-kek", cls.dir / "drilled.kmk", "--check", home=cls.b)
        cls.ok("import-kek", cls.dir / "used.kmk", "--activate", home=cls.b)
        cls.ok("export-kek", "leaf", "--to-kek", "root", "--out", cls.dir / "under.kmk", home=cls.a)
        cls.ok("import-kek", cls.dir / "under.kmk", "--as", "twig", home=cls.b)

    def test_it_is_not_destroyed_by_policy(self):
        for name in ("drilled", "used", "idle"):
            self.ok("rotate", name, home=self.b)
        self.ok("state", "root@1", "deactivate", "--reason", "over", home=self.b)
        self.with_policy(self.b, '"transport": "1s", "kek": "1s"')
        time.sleep(2)
        self.assertEqual(self.ok_json("rotate", "--due", home=self.b)["destroyed"], ["idle@1"])
        for label in ("drilled@1", "used@1", "root@1"):
            self.assertEqual(self.state_of(label, self.b), "deactivated")
        self.ok("import-kek", self.dir / "under.kmk", "--check", home=self.b)

    def test_destroying_it_is_warned_of(self):
        self.assertIn("drilled@1 opens the backup of leaf@1", self.destroying("drilled@1", self.b))
        self.assertIn("used@1 opens the backup of root@1", self.destroying("used@1", self.b))
        self.assertIn("root@1 opens the backup of twig@1", self.destroying("root@1", self.b))
        self.assertNotIn("opens the backup", self.destroying("idle", self.b))


if __name__ == "__main__":
    harness.main()
