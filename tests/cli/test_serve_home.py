"""From a home with a token to the gateway and back: keys issued, published, served, revoked; usage taken home."""

import shutil
import time

import gateway
import harness


class Home(gateway.GatewayCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.document = cls.dir / "document.pem"
        shutil.copy(cls.home / "signers" / "document.pem", cls.document)

    def publish(self, *more):
        return self.ok_json("apikey", "publish", "--out", self.snapshot, *more)


class Round(Home):
    def test_round(self):
        web = self.ok_json("apikey", "create", "--app", "web", "--ip", "198.51.100.0/24", "--rate", "1000/min")
        mobile = self.ok_json("apikey", "create", "--app", "mobile", "--unrestricted")
        self.snapshot, self.state = self.dir / "keys.kmk", self.dir / "state"
        self.assertEqual(self.publish()["keys"], 2)

        class Signer:
            pem = self.document
        # Where the gateway runs there is no home, no token and no PIN.
        bare = harness.base_env(self.dir)
        self.env, env = bare, self.env
        gate = gateway.Gateway(self, self.snapshot, Signer, self.state, "--trusted-proxy", "127.0.0.1")
        self.addCleanup(lambda: gate.process.poll() is None and gate.kill())
        self.env = env
        near, far = {"X_Forwarded_For": "198.51.100.7"}, {"X_Forwarded_For": "203.0.113.1"}
        yes = gate.ask(X_Api_Key=web["key"], **near)
        self.verdict(yes, 200)
        self.assertEqual((yes.headers["x-kmtool-id"], yes.headers["x-kmtool-app"]), (web["id"], "web"))
        self.verdict(gate.ask(X_Api_Key=web["key"], **far), 403, "ip")
        self.verdict(gate.ask(Authorization=f"Bearer {mobile['key']}", **far), 200)

        self.ok("apikey", "revoke", mobile["id"], "--reason", "lost", "--yes")
        self.publish()
        rules = []
        self.assertLess(gate.wait(lambda: rules.append(gate.ask(X_Api_Key=mobile["key"], **far).rule) or rules[-1] == "revoked"), 2)
        allowed = 1 + len(rules) - rules.count("revoked")  # until the new snapshot was read
        self.verdict(gate.ask(X_Api_Key=web["key"], **near), 200)
        before = gate.metrics()["kmtool_apikey_snapshot_sequence"]
        self.publish("--not-after", "1h")
        gate.wait(lambda: gate.metrics()["kmtool_apikey_snapshot_sequence"] > before)
        self.assertEqual(gate.stop()[0], 0)

        taken = self.ok_json("apikey", "usage", "--ingest", self.state)
        counts = {k["app"]: (k["allowed"], k["denied_by"]) for k in taken["keys"]}
        self.assertEqual(counts["web"], (2, {"ip": 1}))
        self.assertEqual((counts["mobile"][0], counts["mobile"][1]["revoked"] >= 1), (allowed, True))
        again = self.ok_json("apikey", "usage", "--ingest", self.state)
        self.assertEqual({k["app"]: k["allowed"] for k in again["keys"]}, {"web": 2, "mobile": allowed})


class Restored(Home):
    def test_revocations_arrive_after_a_restore(self):
        """The restored home had published fewer snapshots than the gateway has seen."""
        self.snapshot = self.dir / "restored.kmk"
        kept = self.ok_json("apikey", "create", "--app", "kept", "--unrestricted")
        self.publish()
        self.ok("home", "backup", self.dir / "h.kmh")
        made_since = self.ok_json("apikey", "create", "--app", "since", "--unrestricted")
        for _ in range(4):
            seen = self.publish()["sequence"]

        class Signer:
            pem = self.document
        gate = gateway.Gateway(self, self.snapshot, Signer, self.dir / "restored-state")
        self.addCleanup(lambda: gate.process.poll() is None and gate.kill())
        for key in (kept, made_since):
            self.verdict(gate.ask(X_Api_Key=key["key"]), 200)
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.ok("doctor", "--accept-rollback", "--reason", "a test")
        self.refused(66, "apikey", "revoke", made_since["id"], "--reason", "unknown here")
        self.ok("apikey", "revoke", kept["id"], "--reason", "lost")
        self.assertGreater(self.publish()["sequence"], seen)
        gate.wait(lambda: gate.ask(X_Api_Key=kept["key"]).status == 403)
        self.verdict(gate.ask(X_Api_Key=kept["key"]), 403, "revoked")
        self.verdict(gate.ask(X_Api_Key=made_since["key"]), 401, "unknown")
        self.assertEqual(gate.stop()[0], 0)


if __name__ == "__main__":
    harness.main()
