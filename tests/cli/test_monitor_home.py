"""What stops jobs and gateways and can be read from the home: the plugin says it, and does not call it in order."""

import json
import os
import time
import unittest

import harness

FAKETIME = harness.first_file("/usr/lib/*/faketime/libfaketime.so.1")


class MonitorCase(harness.Case):
    def check(self, status, *says, env=None):
        result = self.kmtool("monitor", "-v", env=env)
        self.assertEqual(result.code, status, result)
        for text in says:
            self.assertIn(text, result.out)
        if status == 0:
            self.assertIn("everything is in order", result.out)
        return result.out


@unittest.skipUnless(FAKETIME, "needs faketime")
class Snapshots(MonitorCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.embedded_home()))

    def at(self, offset):
        return {"LD_PRELOAD": FAKETIME, "FAKETIME": offset}

    def test_ends_and_is_behind(self):
        create = lambda app: self.ok_json("apikey", "create", "--app", app, "--unrestricted")["id"]
        first = create("shop")
        self.check(0)  # none was ever published
        publish = lambda *more: self.ok("apikey", "publish", "--out", self.dir / "keys.snapshot", *more)
        publish("--not-after", "8d")
        self.check(0)
        self.check(0, env=self.at("+6d"))
        self.check(1, "snapshot expires at", env=self.at("+7.5d"))
        self.check(2, "snapshot has expired: gateways deny everything", "keys.snapshot until", env=self.at("+9d"))
        publish("--not-after", "4h")
        self.check(0, env=self.at("+2h"))
        self.check(1, "snapshot expires at", env=self.at("+3.5h"))
        self.ok("apikey", "revoke", first, "--reason", "stolen")
        self.check(1, "1 change of API keys is not published", f"api key {first} of shop was revoked")
        publish()
        self.check(0)
        second = create("till")
        third = self.ok_json("apikey", "rotate", second)["id"]
        self.check(1, "2 changes of API keys are not published", f"{second} of till was replaced by {third}", f"{third} of till was created")
        publish("--not-after", "1h")
        for key in (second, third):
            self.ok("apikey", "revoke", key, "--reason", "over")
        self.assertNotIn("has expired", self.check(1, "2 changes of API keys", env=self.at("+2h")))  # no key is in force: nothing is denied that should not be


class Standing(MonitorCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()

    def policy(self, **fields):
        (self.home / "policy.json").write_text(json.dumps(fields) + "\n")

    def test_policy(self):
        self.check(0)
        before = (self.home / "policy.json").read_text()
        self.policy(require_hardware=False)
        self.check(2, "policy.json was changed and is not accepted: commands that change something fail (78)")
        (self.home / "policy.json").write_text(before)
        self.check(0)

    def test_sink(self):
        before = (self.home / "policy.json").read_text()
        fifo = self.dir / "fifo"
        os.mkfifo(fifo, 0o600)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.policy(checkpoint_sink=f"file:{fifo}")
        self.ok("policy", "accept")
        self.check(0)
        os.close(reader)
        self.refused(77, "apikey", "create", "--app", "open", says="")  # a refusal is recorded, and nobody hears of it
        says = "the checkpoint sink has not got the newest 1 entry: while it takes none, mutations fail (74)"
        self.check(2, says, f"file:{fifo}")
        self.refused(74, "gen", "unheard", "--role", "data", says="nothing was done")
        self.check(2, says)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.ok("gen", "heard", "--role", "data")
        self.check(0)
        (self.home / "checkpoint.sent").unlink()
        self.check(2, f"the newest {len(self.entries(self.home))} entries")
        (self.home / "policy.json").write_text(before)
        self.ok("policy", "accept")
        os.close(reader)
        self.check(0)

    def test_pin(self):
        right = self.token.pin_file.read_text()
        self.token.pin_file.write_text("wrong-pin\n")
        self.refused(77, "gen", "locked-out", "--role", "data", says="PIN")
        self.check(2, "the PIN was refused: jobs fail (77)", f"the PIN in {self.token.pin_file}")
        self.check(2, "the PIN was refused", env={"KMTOOL_PIN_SOURCE": ""})
        time.sleep(0.01)
        self.token.pin_file.write_text(right)
        self.check(1, "the one that is there now was not tried yet")
        self.ok("gen", "let-in", "--role", "data")
        self.check(0)

    @unittest.skipUnless(FAKETIME, "needs faketime")
    def test_a_command_under_the_wrong_clock_hides_nothing(self):
        env = {"LD_PRELOAD": FAKETIME, "FAKETIME": "-1d"}
        self.check(1, "the clock is behind the journal", env=env)
        self.ok("gen", "back-then", "--role", "data", env=env)
        self.check(1, "the clock is behind the journal", "was the clock set back?", env=env)
        self.check(0)


if __name__ == "__main__":
    harness.main()
