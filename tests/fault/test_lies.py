"""Contracts of what kmforward does beside failing: each lie is told, and told only where it was asked for; calls hang; things get lost."""

import json
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402

CLIENT = pathlib.Path(__file__).resolve().parent / "client.py"
MOST = 2**64 - 1
REMOVED, NO_TOKEN, NO_SESSION, NO_LOGIN = 0x32, 0xE0, 0xB3, 0x101


class Lies(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.env.update(cls.token.env())
        words = ["pkcs11-tool", "--module", harness.SOFTHSM, "--token-label", cls.token.label, "--login", "--pin", harness.PIN]
        for number in (1, 2):
            harness.run_program([*words, "--keygen", "--key-type", "AES:32", "--label", f"key-{number}", "--id", f"0{number}"], cls.env)
        cls.trace = cls.dir / "trace"
        cls.truth = cls.answers(KMFORWARD_TRACE_FILE=str(cls.trace))
        cls.calls = cls.trace.read_text().split()

    @classmethod
    def words(cls, module=None):
        return [sys.executable, str(CLIENT), module or harness.FORWARD, cls.token.label, harness.PIN]

    @classmethod
    def answers(cls, module=None, **env):
        counts = cls.dir / "count"
        counts.unlink(missing_ok=True)
        result = harness.run_program(cls.words(module), dict(cls.env, KMFORWARD_COUNT_FILE=str(counts), PYTHONDONTWRITEBYTECODE="1", **env))
        if result.code != 0:
            raise AssertionError(str(result))
        cls.told = int.from_bytes(counts.read_bytes()[56:64], "little") if counts.exists() else 0
        return json.loads(result.out)

    def lied(self, lie, name, **env):
        """The answers, of which only those of `name` may be other than the truth."""
        answers = self.answers(KMFORWARD_LIE=lie, KMFORWARD_LIE_NAME=name, **env)
        self.assertGreater(self.told, 0, f"{lie} about {name} was not told")
        return answers

    @staticmethod
    def steady(answers):
        """Without what differs from run to run."""
        out = {name: dict(answer) for name, answer in answers.items()}
        for name in ("C_GenerateRandom", "C_Encrypt"):
            self_made = out[name].pop("octets")
            out[name]["size"] = len(self_made)
        return out

    def test_silent_when_not_asked(self):
        self.assertTrue(all(answer["rv"] == 0 for answer in self.truth.values()), self.truth)
        self.assertEqual(self.steady(self.truth), self.steady(self.answers(harness.SOFTHSM)))
        self.assertEqual(self.steady(self.truth), self.steady(self.answers()))
        self.assertEqual(self.told, 0)
        self.assertEqual(self.truth["C_FindObjects"]["count"], 2)
        self.assertEqual(self.truth["C_GetAttributeValue"]["items"][0]["length"], 5)

    def test_lengths(self):
        for lie, wanted in (("long", 64 + 8), ("huge", 1 << 40), ("most", MOST), ("full", 64), ("nothing", 0), ("cut", 16)):
            with self.subTest(lie=lie):
                answers = self.lied(lie, "C_Encrypt")
                self.assertEqual((answers["C_Encrypt"]["rv"], answers["C_Encrypt"]["length"]), (0, wanted))
                del answers["C_Encrypt"]
                self.assertEqual(answers["C_FindObjects"], self.truth["C_FindObjects"])

    def test_counts(self):
        for lie, wanted in (("long", 8 + 8), ("huge", 1 << 40), ("most", MOST), ("full", 8), ("nothing", 0), ("cut", 1)):
            with self.subTest(lie=lie):
                self.assertEqual(self.lied(lie, "C_FindObjects")["C_FindObjects"]["count"], wanted)
        for lie, wanted in (("long", 64 + 8), ("nothing", 0)):
            self.assertEqual(self.lied(lie, "C_GetSlotList")["C_GetSlotList"]["length"], wanted)

    def test_attributes(self):
        for lie, wanted in (("long", 16 + 8), ("huge", 1 << 40), ("most", MOST), ("nothing", 0), ("cut", 2)):
            with self.subTest(lie=lie):
                items = self.lied(lie, "C_GetAttributeValue")["C_GetAttributeValue"]["items"]
                self.assertEqual(items[0]["length"], wanted)
                self.assertNotEqual(items[1]["length"], 1)
                items = self.lied(lie, "C_GetAttributeValue", KMFORWARD_LIE_ITEM="1")["C_GetAttributeValue"]["items"]
                self.assertEqual((items[0]["length"], items[1]), (wanted, self.truth["C_GetAttributeValue"]["items"][1]))
        items = self.lied("garbage", "C_GetAttributeValue", KMFORWARD_LIE_ITEM="2")["C_GetAttributeValue"]["items"]
        self.assertEqual((items[0], items[1]["octets"]), (self.truth["C_GetAttributeValue"]["items"][0], "00"))

    def test_garbage(self):
        true = bytes.fromhex(self.truth["C_FindObjects"]["octets"])
        self.assertEqual(bytes.fromhex(self.lied("garbage", "C_FindObjects")["C_FindObjects"]["octets"]), bytes(b ^ 0x5A for b in true))
        infos = self.lied("garbage", "C_GetTokenInfo", KMFORWARD_LIE_AT="1")["C_GetTokenInfo"]["octets"]
        self.assertEqual(bytes.fromhex(infos[0]), bytes(b ^ 0x5A for b in bytes.fromhex(self.truth["C_GetTokenInfo"]["octets"][0])))
        self.assertEqual(self.lied("nothing", "C_GenerateRandom")["C_GenerateRandom"]["octets"], "00" * 16)
        self.assertEqual(self.lied("cut", "C_GenerateRandom")["C_GenerateRandom"]["octets"][16:], "00" * 8)

    def test_handles(self):
        true = self.truth["C_GenerateKey"]["handle"]
        for lie, wanted in (("nothing", 0), ("cut", true - 1), ("garbage", true ^ 0x5A5A), ("huge", 1 << 40), ("most", MOST)):
            with self.subTest(lie=lie):
                answers = self.lied(lie, "C_GenerateKey", KMFORWARD_LIE_AT="2")
                self.assertEqual((answers["C_GenerateKey"]["handle"], answers["first key"]), (wanted, self.truth["first key"]))

    def test_only_where_it_was_asked(self):
        at = self.calls.index("C_FindObjects") + 1
        answers = self.answers(KMFORWARD_LIE="nothing", KMFORWARD_LIE_AT=str(at))
        self.assertEqual((self.told, answers["C_FindObjects"]["count"]), (1, 0))
        self.assertEqual(answers["C_Encrypt"]["length"], self.truth["C_Encrypt"]["length"])
        self.answers(KMFORWARD_LIE="nothing", KMFORWARD_LIE_AT=str(at + 1))
        self.assertEqual(self.told, 0)  # C_FindObjectsFinal answers nothing

    def test_hangs(self):
        counts = self.dir / "hang-count"
        env = dict(self.env, KMFORWARD_HANG_AT="6", KMFORWARD_COUNT_FILE=str(counts))
        client = subprocess.Popen(self.words(), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and (not counts.exists() or harness.counter_of(counts)[0] < 6):
                time.sleep(0.01)
            with self.assertRaises(subprocess.TimeoutExpired):
                client.wait(timeout=0.3)
            self.assertEqual(harness.counter_of(counts), (6, self.calls[5]))
        finally:
            client.send_signal(signal.SIGKILL)
            client.wait()

    def lost(self, what):
        at = self.calls.index("C_GenerateRandom") + 1
        answers = self.answers(KMFORWARD_LOSE=what, KMFORWARD_LOSE_AT=str(at))
        self.assertEqual(answers["C_FindObjects"], self.truth["C_FindObjects"])
        return answers

    def test_loses(self):
        answers = self.lost("sessions")
        self.assertEqual([answers[name]["rv"] for name in ("C_GenerateRandom", "C_GenerateKey", "C_CloseSession")], [NO_SESSION] * 3)
        self.assertEqual(answers["C_Finalize"]["rv"], 0)
        answers = self.lost("login")
        self.assertEqual([answers[name]["rv"] for name in ("C_GenerateRandom", "C_GenerateKey", "C_CloseSession")], [0, NO_LOGIN, 0])
        answers = self.lost("token")
        self.assertEqual([answers[name]["rv"] for name in ("C_GenerateRandom", "C_GenerateKey", "C_Finalize")], [REMOVED, REMOVED, 0])
        answers = self.answers(KMFORWARD_LOSE="token", KMFORWARD_LOSE_AT="2")
        self.assertEqual((answers["C_GetSlotList"]["length"], answers["C_OpenSession"]["rv"]), (0, NO_TOKEN))


if __name__ == "__main__":
    harness.main()
