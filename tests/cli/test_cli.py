"""The command line as scripts rely on it: documents, exit codes, errors, dry runs, help."""

import json
import re
import shutil
import subprocess
import time

import harness

COMMANDS = ["init", "doctor", "home", "home backup", "home restore", "token", "signer", "signer list", "signer trust", "signer rotate",
            "signer compromise", "policy", "policy show", "policy accept", "gen", "list", "show", "wrap", "verify", "inspect", "unwrap", "completion"]
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


class NoHome(harness.Case):
    """What needs no home and no token."""

    def test_help_of_each(self):
        top = self.ok("--help").out
        for command in COMMANDS:
            with self.subTest(command=command):
                result = self.ok(*command.split(), "--help")
                self.assertIn("Usage", result.out)
                self.assertEqual(result.err, "")
                self.assertIn(command.split()[0], top)

    def test_version(self):
        self.assertRegex(self.ok("--version").out, r"^kmtool \d+\.\d+\.\d+\n")

    def test_usage_errors(self):
        for words, said in (
            ((), "command"),
            (("genn",), "gen"),
            (("wrpa", "x"), "wrap"),
            (("gen",), "name"),
            (("gen", "a"), "role"),
            (("gen", "a", "--role"), "role"),
            (("gen", "a", "--role", "dta"), "data"),
            (("gen", "a", "--role", "data", "--nosuch"), "--nosuch"),
            (("gen", "a", "--role", "data", "--exportble"), "--exportable"),
            (("gen", "a", "b", "--role", "data"), "b"),
            (("wrap", "--kek", "k", "--out", "o"), "which keys"),
            (("wrap", "a", "--all", "--kek", "k", "--out", "o"), "--all"),
            (("wrap", "a", "--out", "o"), "kek"),
            (("gen", "a", "--role", "data", "--count", "0"), "count"),
            (("gen", "a", "--role", "data", "--count", "x"), "count"),
            (("gen", "a", "--role", "data", "--backup", "f"), "--kek"),
            (("init",), "--embedded"),
            (("init", "--module", "/x.so"), "--token-label"),
            (("init", "--embedded", "--module", "/x.so"), "--embedded"),
            (("completion", "tcsh"), "bash"),
            (("list", "--format", "nosuch"), "format"),
            (("doctor", "--accept-rollback"), "--reason"),
            (("list", "--state", "nosuch"), "state"),
            (("list", "--expiring-within", "1 month"), "1 month"),
        ):
            with self.subTest(words=words):
                self.refused(64, *words, says=said)

    def test_names(self):
        home = self.embedded_home("names")
        for name in ("", ".hidden", "-dash", "a/b", "../x", "a b", "a\nb", "ä", "x" * 65, "a@1", "a\x1b[31m", "%s%n"):
            with self.subTest(name=name):
                result = self.refused(64, "gen", "--role", "data", "--", name, home=home)
                self.assertNotIn("\x1b", result.err)
        self.ok("gen", "A0._-" + "x" * 59, "--role", "data", home=home)

    def test_secrets_in_argv_are_refused(self):
        result = self.refused(64, "init", "--module", "/x.so", "--token-uri", "pkcs11:token=a?pin-value=123456", says="pin")
        self.assertNotIn("123456", result.err)
        self.refused(64, "list", "--pin", "123456")

    def test_error_documents(self):
        for words, code in ((("list", "--home", self.dir / "no"), 66), (("gen",), 64), (("nosuch",), 64), (("verify", self.dir / "no"), 66)):
            for form in (("--json",), ("--format", "json"), ("--format=json",)):
                with self.subTest(words=words, form=form):
                    result = self.kmtool(*words, *form)
                    self.assertEqual(result.code, code, result)
                    self.assertEqual(result.out, "", result)
                    self.assertEqual(len(result.err.strip().splitlines()), 1, result)
                    document = json.loads(result.err)
                    self.assertEqual(set(document), {"error"})
                    self.assertEqual(set(document["error"]), {"code", "exit", "message", "hint"})
                    self.assertEqual(document["error"]["exit"], code)

    def test_hostile_text_in_errors(self):
        for words in (("verify", "/no\x1b[31m/such"), ("show", "a\x1b]0;x\x07"), ("\x1b[2J",), ("gen", "a", "--role", "\x1b[31m")):
            result = self.kmtool(*words)
            self.assertNotEqual(result.code, 0)
            self.assertNotIn("\x1b", result.err, result)
            self.assertNotIn("\x07", result.err, result)

    def test_full_standard_output(self):
        home = self.embedded_home("full-stdout")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([harness.BINARY, "list", "--json", "--home", home], stdout=full, stderr=subprocess.PIPE, env=self.env, check=False)
        self.assertEqual(done.returncode, 74, done.stderr)

    def test_closed_descriptors(self):
        home = self.embedded_home("closed")
        done = subprocess.run(["bash", "-c", f'"{harness.BINARY}" gen closed --role data --home "{home}" <&- >&- 2>&-'], env=self.env, check=False)
        self.assertIn(done.returncode, (0, 74))
        self.ok("doctor", home=home)


class Documents(harness.Case):
    """CLI.md's JSON shapes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.kek = cls.ok_json("gen", "root", "--role", "kek")
        cls.keys = cls.ok_json("gen", "many", "--role", "data", "--exportable", "--count", "3", "--owner", "ops", "--application", "shop")
        cls.bundle = cls.dir / "m.kmb"
        cls.wrapped = cls.ok_json("wrap", "many-0001", "many-0002", "--kek", "root", "--out", cls.bundle)

    def check_key(self, key):
        self.assertLessEqual({"name", "version", "id", "label", "role", "type", "state", "created", "expires", "uri", "extractable", "token_serial"}, set(key))
        self.assertIsInstance(key["version"], int)
        self.assertRegex(key["id"], r"^[0-9a-f]{32}$")
        self.assertEqual(key["label"], f"{key['name']}@{key['version']}")
        self.assertRegex(key["created"], TIME)
        self.assertRegex(key["expires"], TIME)
        self.assertIsInstance(key["extractable"], bool)
        self.assertTrue(key["uri"].startswith("pkcs11:"), key)
        self.assertIn("object=", key["uri"])
        self.assertTrue(key["token_serial"])

    def test_gen(self):
        self.assertEqual([k["name"] for k in self.keys["keys"]], ["many-0001", "many-0002", "many-0003"])
        for key in self.keys["keys"] + self.kek["keys"]:
            self.check_key(key)

    def test_list_and_show(self):
        listed = self.ok_json("list")["keys"]
        self.assertEqual(len(listed), 4)
        for key in listed:
            self.check_key(key)
        self.assertEqual(self.ok_json("list", "--role", "kek")["keys"], [k for k in listed if k["role"] == "kek"])
        self.assertEqual(self.ok_json("list", "--state", "destroyed")["keys"], [])
        self.assertEqual(self.ok_json("list", "--expiring-within", "30d")["keys"], [])
        self.assertEqual(len(self.ok_json("list", "--expiring-within", "400d")["keys"]), 4)
        shown = self.ok_json("show", "many-0001@1")["keys"][0]
        self.check_key(shown)
        self.assertEqual((shown["owner"], shown["application"]), ("ops", "shop"))
        uri = self.ok("show", "many-0001", "--uri").out.strip()
        self.assertEqual(uri, shown["uri"])
        self.assertNotIn("pin", uri)
        self.refused(64, "show", "many-0001", "--public")

    def test_uri_finds_the_object(self):
        """RFC 7512: another reader of the URI finds exactly this object."""
        shown = self.ok_json("show", "many-0002")["keys"][0]
        fields = dict(part.split("=", 1) for part in shown["uri"][len("pkcs11:"):].split("?")[0].split(";"))
        self.assertEqual(bytes.fromhex(fields["id"].replace("%", "")).hex(), shown["id"])
        self.assertEqual(fields["object"].replace("%40", "@"), "many-0002@1")
        self.assertEqual(fields["type"], "secret-key")
        self.assertEqual(len([o for o in self.objects(self.home) if o["id"] == shown["id"]]), 1)

    def test_wrap_verify_inspect(self):
        self.assertLessEqual({"bundle", "out", "records", "recipients"}, set(self.wrapped))
        self.assertRegex(self.wrapped["bundle"], UUID)
        self.assertEqual(self.wrapped["records"], 2)
        verified = self.ok_json("verify", self.bundle)
        self.assertLessEqual({"bundle", "records", "structure", "signature", "seals"}, set(verified))
        inspected = self.kmtool("inspect", self.bundle)
        self.assertEqual(inspected.code, 0)
        self.assertIn("many-0001@1", inspected.out)
        self.assertIn("verified", inspected.out + inspected.err)
        self.assertNotIn(json.loads(self.bundle.read_text().splitlines()[1])["wrapped"][0], inspected.out)

    def test_unwrap(self):
        done = self.ok_json("unwrap", self.bundle, "--check")
        self.assertIs(done["checked"], True)
        restored = self.ok_json("unwrap", self.bundle, "many-0001", "--as", "back")
        self.assertIs(restored["checked"], False)
        for key in restored["keys"]:
            self.check_key(key)

    def test_token_and_signers(self):
        token = self.ok_json("token")
        self.assertIs(token["token"]["hardware"], False)
        self.assertIn("profile", token)
        self.assertIn("software", self.ok("token").out)
        self.assertTrue(self.ok_json("token", "--mechanisms")["mechanisms"])
        self.assertIn("document", self.ok("signer", "list").out)

    def test_one_document_and_nothing_else(self):
        for words in (("list",), ("show", "many-0001"), ("verify", self.bundle), ("inspect", self.bundle), ("token",), ("doctor",), ("policy", "show"), ("signer", "list")):
            with self.subTest(words=words):
                result = self.ok(*words, "--json")
                json.loads(result.out)
                self.assertEqual(result.out.count("\n"), 1)
                self.assertEqual(self.ok("--json", *words).json().keys(), result.json().keys())

    def test_globals_before_and_after(self):
        for words in (("--home", self.home, "list", "--json"), ("list", "--home", self.home, "--json"), ("--json", "list", "--home", self.home)):
            self.assertEqual(len(self.ok_json(*words, env={"KMTOOL_HOME": "/nowhere"})["keys"]), len(self.ok_json("list")["keys"]))

    def test_verify_reads_pipes(self):
        pem = self.home / "signers" / "document.pem"
        result = self.kmtool("verify", "/dev/stdin", "--signer", pem, stdin=self.bundle.read_bytes())
        self.assertEqual(result.code, 0, result)
        result = self.kmtool("verify", "-", "--signer", pem, stdin=self.bundle.read_bytes())
        self.assertEqual(result.code, 0, result)


class DryRuns(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "a", "--role", "data", "--exportable")
        cls.bundle = cls.dir / "a.kmb"
        cls.ok("wrap", "a", "--kek", "root", "--out", cls.bundle)

    def everything(self):
        return (self.snapshot(self.home), [e["phase"] for e in self.entries(self.home)], sorted(p.name for p in self.dir.iterdir()),
                sorted((p.name, p.read_bytes()) for p in self.home.rglob("*") if p.suffix in (".json", ".pem")))

    def test_nothing_changes(self):
        before = self.everything()
        for words in (("gen", "b", "--role", "data"), ("gen", "b", "--role", "sign", "--count", "5"), ("gen", "b", "--role", "data", "--backup", self.dir / "b.kmb", "--kek", "root"),
                      ("wrap", "a", "--kek", "root", "--out", self.dir / "c.kmb"), ("unwrap", self.bundle, "--as", "d"), ("signer", "rotate"), ("policy", "accept"),
                      ("doctor", "--repair"), ("signer", "trust", self.home / "signers" / "document.pem", "--name", "me"),
                      ("home", "backup", self.dir / "h.backup"), ("init", "--embedded", "--home", self.dir / "new")):
            for flag in ("--dry-run", "-n"):
                with self.subTest(words=words):
                    self.ok(*words, flag)
                    self.assertEqual(self.everything(), before)

    def test_refuses_what_would_be_refused(self):
        self.refused(73, "gen", "a", "--role", "data", "--dry-run")
        self.refused(66, "wrap", "nosuch", "--kek", "root", "--out", self.dir / "x.kmb", "--dry-run")
        self.refused(73, "wrap", "a", "--kek", "root", "--out", self.bundle, "--dry-run")
        self.refused(77, "gen", "s", "--role", "sign", "--exportable", "--dry-run")


class ReadersLoadNoModule(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        token = harness.SoftToken(cls.dir / "hsm")
        cls.module = cls.dir / "module.so"
        shutil.copy(harness.FORWARD, cls.module)
        cls.home = cls.module_home(token, "home", cls.module)
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "a", "--role", "data")

    def test_calls(self):
        counts = self.dir / "count"
        for words in (("list",), ("show", "a"), ("list", "--json"), ("show", "a", "--uri")):
            self.ok(*words, env={"KMFORWARD_COUNT_FILE": str(counts)})
            self.assertFalse(counts.exists(), words)
        self.ok("token", env={"KMFORWARD_COUNT_FILE": str(counts)})
        self.assertGreater(harness.counter_of(counts)[0], 10)

    def test_strace(self):
        if not shutil.which("strace"):
            self.skipTest("no strace")
        for words in (("list",), ("show", "a")):
            trace = self.dir / "trace"
            done = subprocess.run(["strace", "-f", "-e", "trace=openat,open", "-o", trace, harness.BINARY, *words], env=self.env, stdout=subprocess.DEVNULL, check=False)
            if done.returncode != 0 and not trace.exists():
                self.skipTest("no ptrace here")
            self.assertEqual(done.returncode, 0)
            opened = trace.read_text()
            for name in ("module.so", "softhsm", "opensc"):
                self.assertNotIn(name, opened)

    def test_readers_do_not_wait_for_a_writer(self):
        """While a command holds the mutation lock (each call slowed down), list answers at once."""
        env = dict(self.env, KMFORWARD_DELAY_MS="40")
        with subprocess.Popen([harness.BINARY, "gen", "slow", "--role", "data", "--count", "5"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as writer:
            time.sleep(0.3)
            times = []
            while writer.poll() is None:
                begun = time.monotonic()
                self.ok("list")
                times.append(time.monotonic() - begun)
                time.sleep(0.05)
            self.assertEqual(writer.returncode, 0, writer.stderr.read())
        self.assertGreater(len(times), 3)
        self.assertLess(max(times), 0.5)


class HomeBackup(harness.Case):
    def test_backup_and_restore(self):
        token = harness.SoftToken(self.dir / "hsm")
        home = self.module_home(token)
        self.ok("gen", "a", "--role", "data", home=home)
        backup = self.dir / "home.backup"
        self.ok("home", "backup", backup, home=home)
        self.assertEqual(backup.stat().st_mode & 0o777, 0o600)
        self.refused(73, "home", "backup", backup, home=home)
        again = self.dir / "again"
        self.ok("home", "restore", backup, home=again)
        self.assertEqual(self.ok_json("list", home=again), self.ok_json("list", home=home))
        self.ok("gen", "b", "--role", "data", home=home)
        # The restored copy now stands behind the token's anchor: said, and mended only on request.
        self.refused(65, "gen", "c", "--role", "data", home=again, says="--accept-rollback")
        self.ok("doctor", "--accept-rollback", "--reason", "restored in a test", home=again)
        self.ok("gen", "d", "--role", "data", home=again)


if __name__ == "__main__":
    harness.main()
