"""How often a command looks for objects on the token does not grow with the keys that it meets (DESIGN.md, "Speed": one find per command)."""

import harness


class Many(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.log = cls.dir / "spy.log"
        cls.here, cls.there = cls.site("here"), cls.site("there")
        cls.signer = cls.dir / "here-home/signers/document.pem"
        request, kek = cls.dir / "request", cls.dir / "kek.kmb"
        cls.ok("gen", "dock", "--role", "transport", env=cls.there)
        request.write_text(cls.ok("show", "dock", "--request", env=cls.there).out)
        cls.ok("signer", "trust", cls.dir / "there-home/signers/document.pem", "--name", "there", env=cls.here)
        cls.ok("gen", "root", "--role", "kek", "--type", "aes-128", "--exportable", env=cls.here)
        cls.ok("export-kek", "root", "--to-public-key", request, "--out", kek, env=cls.here)
        cls.ok("import-kek", kek, "--signer", cls.signer, "--using", "dock", "--activate", env=cls.there)

    @classmethod
    def site(cls, name):
        token = harness.SoftToken(cls.dir / name)
        home = cls.module_home(token, f"{name}-home", harness.FORWARD)
        return {"KMTOOL_HOME": str(home), "KMTOOL_PIN_SOURCE": f"file:{token.pin_file}", **token.env()}

    def finds(self, site, *words):
        self.log.unlink(missing_ok=True)
        self.ok(*words, env={**site, **harness.spy_env(self.log)})
        return harness.spy_calls(self.log).get("C_FindObjectsInit", 0)

    def commands(self, count):
        """Every command that meets many keys, with `count` of them; more than are looked for one by one."""
        names, out = f"lot{count}", self.dir / f"{count}.kmb"
        keys = [f"{names}-{n:04}" for n in range(1, count + 1)]
        return {
            "gen": self.finds(self.here, "gen", names, "--role", "data", "--type", "aes-128", "--exportable", "--count", str(count)),
            "wrap": self.finds(self.here, "wrap", *keys, "--kek", "root", "--out", out),
            "verify": self.finds(self.here, "verify", out),
            "unwrap --check": self.finds(self.here, "unwrap", out, "--check"),
            "unwrap": self.finds(self.there, "unwrap", out, "--signer", self.signer),
            "audit keys": self.finds(self.here, "audit", "keys", "--fail-on", "critical"),
            "doctor": self.finds(self.here, "doctor"),
        }

    def test_finds_do_not_grow(self):
        """A small token is read at once, on a larger one a handful of things is looked for: never a key after the other."""
        self.commands(10)  # the first run of each probes the token
        for count in (12, 48):
            finds = self.commands(count)
            self.assertLessEqual(max(finds.values()), 8, finds)


if __name__ == "__main__":
    harness.main()
