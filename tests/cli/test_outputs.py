"""Where outputs may not go, input without an end, two inits at once, and small limits."""

import os
import resource
import signal
import subprocess

import harness


class Outputs(harness.EmbeddedCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok("gen", "payments", "--role", "data", "--exportable")

    def test_no_output_takes_the_place_of_a_home_file(self):
        before = self.snapshot(self.home)
        other = self.dir / "beside"
        other.mkdir()
        (other / "link").symlink_to(self.home)
        for name in ("token.pin", "config.json", "policy.json", "journal.db", "journal.db-wal", "signers/document.pem", "token/new", "softhsm2.conf"):
            for path in (self.home / name, other / ".." / self.home.name / name, other / "link" / name):
                for more in ([], ["--dry-run"]):
                    self.refused(73, "wrap", "payments", "--kek", "root", "--out", path, "--force", *more, says="belongs to a kmtool home")
        self.ok("apikey", "create", "--app", "used", "--unrestricted", "--out", self.dir / "used.key")
        self.kmtool("apikey", "check", stdin=(self.dir / "used.key").read_bytes())  # leaves counts of its use in the home
        before = self.snapshot(self.home)
        for path in sorted(path for path in self.home.rglob("*") if path.is_file()):  # none is forgotten
            self.refused(73, "wrap", "payments", "--kek", "root", "--out", path, "--force", "--dry-run", says="belongs to a kmtool home")
        self.refused(73, "home", "backup", self.home / "token.pin", "--force", says="belongs to a kmtool home")
        self.refused(73, "encrypt", "payments", "--out", self.home / "token.pin", "--force", stdin=b"x", says="belongs to a kmtool home")
        self.refused(73, "gen", "saved", "--role", "data", "--backup", self.home / "config.json", "--kek", "root", "--force", says="belongs to a kmtool home")
        self.refused(73, "random", "16", "--out", self.home / "policy.json", "--force", says="belongs to a kmtool home")
        self.assertEqual(self.snapshot(self.home), before)
        self.ok("wrap", "payments", "--kek", "root", "--out", self.home / "kept-here.kmb")  # a file of one's own there is none of the home's
        self.ok("wrap", "payments", "--kek", "root", "--out", other / "token.pin")

    def test_a_name_that_is_not_utf8(self):
        """The record could not name it: said before anything is done."""
        name = self.dir / os.fsdecode(b"b-\xff")
        before = self.snapshot(self.home)
        for words in (("wrap", "payments", "--kek", "root", "--out", name), ("gen", "bytes", "--role", "data", "--backup", name, "--kek", "root"), ("init", "--embedded", "--home", name)):
            result = self.refused(64, *words, says="b-\\xff is not utf-8")
            self.assertFalse(name.exists(), result)
        self.assertEqual(self.snapshot(self.home), before)
        self.refused(64, "encrypt", "payments", "--out", name, stdin=b"x", says="is not utf-8")
        self.assertFalse(name.exists())

    def test_no_folder_of_a_home_is_filled(self):
        """A home reads, takes and removes what lies in its own folders."""
        before = self.snapshot(self.home)
        quorum = ("--role", "kek", "--backup", self.dir / "site.kmb", "--kek", "root", "--quorum", "2/3", "--shares")
        for name in ("restore.new", "restore.ready", "token", "token/x", "signers"):
            for more in ([], ["--dry-run"]):
                self.refused(73, "gen", "site", *quorum, self.home / name, *more, says="belongs to a kmtool home")
                self.refused(73, "audit", "export", self.home / name, *more, says="belongs to a kmtool home")
        self.refused(73, "audit", "export", self.home, says="is a kmtool home")
        (self.dir / "way").symlink_to(self.home / "token")
        self.refused(73, "audit", "export", self.dir / "way", says="belongs to a kmtool home")
        for name in (".", "restore.ready"):
            self.refused(73, "apikey", "serve", "--snapshot", self.dir / "none", "--signer", self.home / "signers/document.pem", "--listen", "unix:" + str(self.dir / "s"),
                         "--state", self.home / name, says="a kmtool home")
        self.assertEqual(self.snapshot(self.home), before)
        self.refused(73, "encrypt", "payments", "--out", self.home / "token.pin", stdin=b"x", says="belongs to a kmtool home")  # not: say --force
        self.ok("audit", "export", self.home / "record", "--dry-run")  # a folder of one's own there is none of the home's

    def test_only_a_bundle_takes_the_place_of_a_bundle(self):
        """It may be the only copy of a key."""
        bundle = self.dir / "born.kmb"
        self.ok("gen", "born", "--role", "data", "--backup", bundle, "--kek", "root")
        before = bundle.read_bytes()
        self.ok("audit", "export", self.dir / "record")
        for words, stdin in ((["encrypt", "payments", "--out"], b"x"), (["home", "backup"], b""), (["random", "16", "--out"], b""), (["audit", "prove", "0", "--out"], b""),
                             (["apikey", "create", "--app", "x", "--unrestricted", "--out"], b""), (["apikey", "publish", "--out"], b"")):
            for more in (["--dry-run"], []) if words[0] != "random" else ([],):
                self.refused(73, *words, bundle, "--force", *more, stdin=stdin, says="is a bundle")
        self.assertEqual(bundle.read_bytes(), before)
        self.ok("wrap", "payments", "--kek", "root", "--out", bundle, "--force")
        self.assertEqual((self.dir / "born.kmb.@1").read_bytes(), before)

    def test_links_to_devices(self):
        """As root it would be the machine's /dev/stdout that is replaced."""
        (self.dir / "out").symlink_to("/proc/self/fd/1")
        self.ok("encrypt", "payments", "--out", self.dir / "plain", stdin=b"x")
        for more in ([], ["--force"]):
            self.refused(73, "encrypt", "payments", "--out", self.dir / "out", *more, stdin=b"x", says="is a link to something that is not a file")
            self.refused(73, "wrap", "payments", "--kek", "root", "--out", self.dir / "out", *more, says="is a link to something that is not a file")
        self.assertTrue((self.dir / "out").is_symlink())

    def test_links_to_the_machines(self):
        """Also where a regular file lies behind /proc/self/fd/1: what would be replaced is the link, and in /dev everybody's."""
        links = self.dir / "links"
        links.mkdir()
        (links / "first").symlink_to("/proc/self/fd/1")
        (links / "second").symlink_to("first")
        (links / "folder").symlink_to("/proc/self/fd")
        for name in ("first", "second", "folder/1"):
            for more in ([], ["--force"]):
                for words in (["random", "16"], ["wrap", "payments", "--kek", "root"], ["home", "backup"]):
                    out = [] if words[0] == "home" else ["--out"]
                    with (links / "redirected").open("wb") as stdout:
                        command = [harness.BINARY, *words, *out, str(links / name), *more]
                        done = subprocess.run(command, env=self.env, stdout=stdout, stderr=subprocess.PIPE, check=False)
                    self.assertEqual(done.returncode, 73, done)
                    self.assertIn(b"which is the machine's", done.stderr)
        self.assertTrue((links / "first").is_symlink() and (links / "second").is_symlink())
        (links / "plain").write_text("x")
        (links / "third").symlink_to("plain")
        self.ok("random", "16", "--out", links / "third", "--force")  # a link of one's own is replaced
        self.assertFalse((links / "third").is_symlink())

    def test_a_file_system_without_hard_links(self):
        """An output that has no name until it is whole then gets one by being copied."""
        plain = os.urandom(300_000)
        for number in (1, 95):  # EPERM, EOPNOTSUPP
            env = {"LD_PRELOAD": harness.KILLFS, "KILLFS_NAMES": "linkat", "KILLFS_FAIL_FROM": "1", "KILLFS_ERRNO": str(number)}
            sealed, opened = self.dir / f"sealed{number}", self.dir / f"opened{number}"
            self.ok("encrypt", "payments", "--out", sealed, stdin=plain, env=env)
            for more in ([], ["--force"]):
                self.ok("decrypt", "--in", sealed, "--out", opened, *more, env=env)
                self.assertEqual(opened.read_bytes(), plain)
                self.assertEqual(opened.stat().st_mode & 0o777, 0o600)
        self.assertEqual([path.name for path in self.dir.iterdir() if "kmtmp" in path.name], [])

    def test_input_without_an_end(self):
        result = self.refused(65, "verify", "/dev/zero")
        self.assertIn("line 1: longer than", result.err)
        self.refused(65, "inspect", "-", stdin=b"{}\n" + b"x" * (2 << 20), says="line 2: longer than")

    def test_a_limit_on_file_sizes(self):
        """A shell's `ulimit -f` is a full disk, not a death without a word."""
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
        self.refused(74, "wrap", "payments", "--kek", "root", "--out", self.dir / "limited.kmb", preexec=limit)
        self.assertFalse((self.dir / "limited.kmb").exists())
        self.ok("doctor", "--repair")

    def test_children_have_the_usual_signals(self):
        """What kmtool ignores for itself is not handed on."""
        self.ok("apikey", "store", "third", "--app", "shop", stdin=b"a-third-party-key-1234567890")
        result = self.ok("apikey", "exec", "--app", "shop", "--set", "THIRD=third", "--", "/bin/sh", "-c", "grep SigIgn /proc/self/status")
        ignored = int(result.out.split()[-1], 16)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            self.assertFalse(ignored & 1 << (number - 1), result.out)

    def test_another_homes_backup_does_not_end_this_one(self):
        self.embedded_home("second")
        backup = self.dir / "second.bak"
        self.ok("home", "backup", backup, home=self.dir / "second")
        before = self.snapshot(self.home)
        self.refused(73, "home", "restore", backup, "--force", says="holds another home")
        self.assertEqual(self.snapshot(self.home), before)
        names = self.ok_json("home", "backup", self.dir / "dry.bak", "--dry-run")["files"]
        self.assertEqual(names, self.ok_json("home", "backup", self.dir / "dry.bak")["files"])

    def test_a_home_without_its_token(self):
        home = self.embedded_home("gone")
        os.rename(home / "token", self.dir / "token-elsewhere")
        self.refused(69, "gen", "x", "--role", "data", home=home, says="is gone")
        os.rename(self.dir / "token-elsewhere", home / "token")
        self.ok("gen", "x", "--role", "data", home=home)

    def test_notes_are_text(self):
        for option in ("--owner", "--application"):
            for bad in ("x" * 501, "\udcff"):  # the second reaches the program as the octet ff
                self.refused(64, "gen", "noted", "--role", "data", option, bad, says=option)

    def test_a_folder_that_is_gone(self):
        gone = self.dir / "will-go"
        gone.mkdir()
        result = harness.run_program(["sh", "-c", f"cd {gone} && rmdir {gone} && exec {harness.BINARY} wrap payments --kek root --out x.kmb"], self.env)
        self.assertNotIn(result.code, (0, 70), result)
        self.assert_error_style(result)
        self.assertNotIn("report", result.err)

    def test_output_that_nobody_reads(self):
        result = harness.run_program(["sh", "-c", f"exec {harness.BINARY} gen unread --role mac >/dev/full"], self.env)
        self.assertEqual(result.code, 74, result)
        self.assertIn("a change that was made stands", result.err)
        self.assertIn("unread@1", {key["label"] for key in self.ok_json("list")["keys"]})


class Inits(harness.Case):
    def test_two_at_once(self):
        """One makes the home; the others say so and take nothing of it away."""
        for turn in range(5):
            home = self.dir / f"raced-{turn}"
            words = [harness.BINARY, "--home", home, "init", "--embedded"]
            racers = [subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
            results = [(racer.communicate(timeout=120), racer.returncode) for racer in racers]
            codes = sorted(code for _, code in results)
            self.assertEqual(codes[0], 0, results)
            self.assertTrue(all(code in (73, 75) for code in codes[1:]), results)
            self.assertFalse((home / "init.unfinished").exists())
            self.ok("gen", "first", "--role", "data", home=home)
            self.ok("doctor", home=home)


if __name__ == "__main__":
    harness.main()
