"""What a kill inside the token leaves, and what other programs make meanwhile: repair takes what is its own, and nothing else."""

import os

import cryptoki
import harness

# As kmtool asks for a data key, label and id left out.
OWN = {"private": True, "sensitive": True, "extractable": False, "encrypt": True, "decrypt": True, "sign": False, "verify": False, "wrap": False,
       "unwrap": False, "derive": False, "copyable": False, "modifiable": False}  # fmt: skip


def bare(folder, make):
    """Makes an object and cuts its file to what SoftHSM writes first: the generation, and not one attribute."""
    before = set(folder.rglob("*.object"))
    make()
    file = max(set(folder.rglob("*.object")) - before)
    os.truncate(file, 8)
    return file


class CutOff(harness.Case):
    """A home with ten keys, on a token of its own, and an eleventh to a twentieth cut off at half of their copies."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        os.environ.update(cls.token.env())
        trace = cls.dir / "trace"
        cls.ok("gen", "whole", "--role", "data", "--count", "10", env={"KMFORWARD_TRACE_FILE": str(trace)})
        copies = [number for number, name in enumerate(trace.read_text().split(), 1) if name == "C_CopyObject"]
        result = cls.kmtool("gen", "cut", "--role", "data", "--count", "10", env={"KMFORWARD_KILL_AT": str(copies[len(copies) // 2])})
        assert result.code == -9, result

    def tool(self, *words):
        made = self.pkcs11_tool(self.home, *words)
        self.assertEqual(made.code, 0, made)
        return made

    def foreign(self):
        """Keys without a label, as careless programs make them."""
        self.tool("--keypairgen", "--key-type", "EC:prime256v1")
        self.tool("--keygen", "--key-type", "AES:32", "--sensitive", "--usage-decrypt")

    def kept(self):
        listed = self.tool("--list-objects").out
        return listed.count("Private Key Object; EC"), listed.count("Secret Key Object; AES length 32")

    def checks(self, *words, code=0):
        result = self.kmtool("doctor", *words, "--json")
        self.assertEqual(result.code, code, result)
        return {check["what"]: check for check in result.json()["checks"]}


class Repaired(CutOff):
    def test_others_keys_stay(self):
        self.assertEqual(self.checks(code=1)["unfinished work"]["verdict"], "bad")
        self.foreign()
        bare(self.token.folder / "tokens", lambda: self.tool("--keygen", "--key-type", "AES:32", "--label", "bare", "--sensitive"))
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as session:
            for _ in range(11):  # one more than keys were begun
                session.generate("aes", 32, **OWN)
            session.generate("aes", 32, **dict(OWN, id=b"\x01", copyable=True))
            session.generate("aes", 16, **OWN)
        result = self.kmtool("doctor", "--repair", "--json")
        self.assertEqual(result.code, 0, result)
        checks = {check["what"]: check["detail"] for check in result.json()["checks"]}
        self.assertEqual(checks["unfinished work"], "none")
        self.assertIn("private key (ec-p256)", checks["nameless objects"])
        self.assertIn("1 on the token of which no attribute can be read", checks["unreadable objects"])
        undone = [entry for entry in self.entries(self.home) if entry.get("result") == "undone"][-1]
        [destroyed] = undone["details"]["destroyed"]
        self.assertEqual(destroyed["object"], "secret key (aes-256)")
        self.assertTrue(1 <= destroyed["count"] <= 10, destroyed)
        self.assertIn(f"without label and id: {destroyed['count']} of secret key (aes-256)", result.err)
        self.assertIn("left on the token: 1 of private key (ec-p256) without label and id", result.err)
        # The home's signers, the ten whole ones, `foreign`'s, `bare` in name only, and what is left of eleven and one.
        self.assertEqual(self.kept(), (2 + 1, 10 + 1 + 12 - destroyed["count"]))
        self.ok("gen", "after", "--role", "data", "--count", "10")

    def test_two_objects_of_one_key(self):
        made = self.ok_json("gen", "twice", "--role", "data")["keys"][0]
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as session:
            session.create("secret", key_type=cryptoki.TYPE["aes"], value=bytes(32), label="planted", id=bytes.fromhex(made["id"]), private=True, sensitive=True)
        detail = self.checks(code=1)["key twice@1"]["detail"]
        self.assertIn(f'secret key "planted" (id {made["id"]}), CKA_LOCAL false', detail)
        self.assertIn(f'secret key "twice@1" (id {made["id"]}), CKA_LOCAL true', detail)
        self.tool("--delete-object", "--type", "secrkey", "--label", "planted")


class Next(CutOff):
    def test_the_next_command_takes_none_either(self):
        self.foreign()
        result = self.ok("gen", "next", "--role", "data", "--exportable")
        self.assertIn("note: left on the token: 1 of private key (ec-p256)", result.err)
        self.assertNotIn("destroyed", result.err)
        self.assertEqual(self.kept(), (2 + 1, 10 + 1 + 1))  # the signers, `foreign`'s, and `next`


class Embedded(harness.EmbeddedCase):
    def test_a_bare_file_goes(self):
        words = ("--keygen", "--key-type", "AES:32", "--label", "bare", "--sensitive")
        file = bare(self.home / "token", lambda: self.assertEqual(self.pkcs11_tool(self.home, *words).code, 0))
        self.assertIn("unreadable objects", self.ok("doctor").out)
        self.assertIn("removed object files", self.ok("doctor", "--repair").out)
        self.assertFalse(file.exists())


if __name__ == "__main__":
    harness.main()
