"""API keys kept out of code: store, exec, scan."""

import base64
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import harness

STRIPE = "sk_live_51Hq" + "aB3dE6gH9" * 4
SHOW = "import os, sys, json; json.dump(dict(os.environ), sys.stdout)"


class Exec(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("apikey", "store", "stripe", "--app", "shop", stdin=STRIPE + "\n")
        cls.issued = cls.ok_json("apikey", "create", "--app", "shop", "--ip", "10.0.0.1", "--keep")

    def child(self, *words, **more):
        return json.loads(self.ok("apikey", "exec", "--app", "shop", *words, "--", sys.executable, "-c", SHOW, **more).out)

    def test_child_has_it_and_nobody_else(self):
        """The child looks at itself, at its argv and at its parent; the journal knows names only."""
        look = ("import os, json; p = os.getppid(); r = lambda f: open(f, 'rb').read().decode('latin-1');"
                "print(json.dumps({'own': os.environ['STRIPE_KEY'], 'argv': r('/proc/self/cmdline'), 'parent': r(f'/proc/{p}/environ'), 'parent_argv': r(f'/proc/{p}/cmdline')}))")
        command = [harness.BINARY, "apikey", "exec", "--app", "shop", "--set", "STRIPE_KEY=stripe", "--", sys.executable, "-c", look]
        parent = [sys.executable, "-c", f"import subprocess, sys; sys.exit(subprocess.call({command!r}))"]
        done = subprocess.run(parent, env=self.env, check=True, stdout=subprocess.PIPE)
        seen = json.loads(done.stdout)
        self.assertEqual(seen["own"], STRIPE)
        for place in ("argv", "parent", "parent_argv"):
            self.assertNotIn(STRIPE, seen[place], place)
        self.assertNotIn(STRIPE, json.dumps(self.entries(self.home)))
        entry = [e for e in self.entries(self.home) if e["command"] == "apikey exec"][-1]
        self.assertEqual(entry["details"]["set"], [{"variable": "STRIPE_KEY", "name": "stripe"}])

    def test_environment(self):
        child = self.child("--set", "A=stripe", "--set", "B=@", env={"MINE": "1", "A": "old", "KMTOOL_PIN_SOURCE": ""})
        self.assertEqual((child["A"], child["B"], child["MINE"]), (STRIPE, self.issued["key"], "1"))
        self.assertFalse([name for name in child if name.startswith("KMTOOL_")], child)
        only = self.child("--set", "A=stripe", "--only", env={"MINE": "1"})
        self.assertNotIn("MINE", only)
        self.assertIn("PATH", only)

    def test_the_embedded_token_is_not_the_childs(self):
        self.assertNotIn("SOFTHSM2_CONF", self.child("--set", "A=stripe"))
        self.assertEqual(self.child("--set", "A=stripe", env={"SOFTHSM2_CONF": "/etc/own.conf"})["SOFTHSM2_CONF"], "/etc/own.conf")
        self.refused(64, "apikey", "exec", "--app", "shop", "--set", "LD_PRELOAD=stripe", "--", "true", says="linker")

    def test_rotated_keys_follow(self):
        issued = self.ok_json("apikey", "create", "--app", "shop", "--environment", "turn", "--ip", "10.0.0.1", "--keep")
        turned = self.ok_json("apikey", "rotate", issued["id"])
        self.assertEqual(self.child("--set", "K=@turn")["K"], turned["key"])
        self.ok("apikey", "revoke", turned["id"], "--reason", "a test")
        self.refused(66, "apikey", "exec", "--app", "shop", "--set", "K=@turn", "--", "true")

    def test_the_command_line_is_the_commands(self):
        script = self.dir / "args"
        script.write_text(f"#!{sys.executable}\nimport sys, json\nprint(json.dumps(sys.argv[1:]))\n")
        script.chmod(0o755)
        words = ["--json", "--home", "x", "--", "-h", "a b", "$HOME", "`id`"]
        result = self.ok("apikey", "exec", "--app", "shop", "--set", "K=stripe", "--", script, *words)
        self.assertEqual(json.loads(result.out), words)
        self.assertEqual(self.kmtool("apikey", "exec", "--app", "shop", "--set", "K=stripe", "--", "sh", "-c", "exit 7").code, 7)
        plain = self.dir / "plain"
        plain.write_text("exit 0\n")
        plain.chmod(0o755)
        self.refused(64, "apikey", "exec", "--app", "shop", "--set", "K=stripe", "--", plain, says="neither a program")
        self.refused(66, "apikey", "exec", "--app", "shop", "--set", "K=stripe", "--", "no-such-program", says="no program")
        self.refused(64, "apikey", "exec", "--app", "shop", "--set", "K=stripe", says="no command")
        self.refused(64, "apikey", "exec", "--app", "shop", "--set", "1K=stripe", "--", "true", says="VARIABLE=NAME")
        self.refused(66, "apikey", "exec", "--app", "other", "--set", "K=stripe", "--", "true", says="no key is kept")
        mask = self.ok("apikey", "exec", "--app", "shop", "--set", "K=stripe", "--", "sh", "-c", "umask", preexec=lambda: os.umask(0o027))
        self.assertEqual(mask.out.strip(), "0027")

    def test_store(self):
        self.refused(73, "apikey", "store", "stripe", "--app", "shop", stdin="other", says="already")
        self.refused(64, "apikey", "store", "empty", "--app", "shop", stdin="\n", says="empty")
        self.refused(64, "apikey", "store", "nul", "--app", "shop", stdin=b"a\0b", says="NUL")
        self.ok("apikey", "store", "two", "--app", "shop", stdin="first value")
        self.ok("apikey", "store", "two", "--app", "shop", "--force", stdin="second value\nwith a line")
        self.assertEqual(self.child("--set", "K=two")["K"], "second value\nwith a line")
        names = {s["name"] for s in self.ok_json("apikey", "store", "--list")["stored"]}
        self.assertLessEqual({"stripe", "two"}, names)
        self.ok("apikey", "store", "two", "--app", "shop", "--remove")
        self.refused(66, "apikey", "exec", "--app", "shop", "--set", "K=two", "--", "true")
        self.assertIn("apikey-store", {k["name"] for k in self.ok_json("list")["keys"]})


    def test_rotated_store_key(self):
        self.ok("apikey", "store", "old", "--app", "rotating", stdin="an old value")
        self.ok("rotate", "apikey-store")
        self.ok("apikey", "store", "new", "--app", "rotating", stdin="a new value")
        seals = {s["name"]: s["key"] for s in self.ok_json("apikey", "store", "--list", "--app", "rotating")["stored"]}
        self.assertEqual(seals, {"old": "apikey-store@1", "new": "apikey-store@2"})
        self.assertGreaterEqual(len(self.ok_json("apikey", "store", "--reseal")["resealed"]), 1)
        seals = {s["key"] for s in self.ok_json("apikey", "store", "--list")["stored"]}
        self.assertEqual(seals, {"apikey-store@2"})
        self.ok("state", "apikey-store@1", "destroy", "--reason", "a test", "--yes")
        result = self.ok("apikey", "exec", "--app", "rotating", "--set", "A=old", "--", sys.executable, "-c", SHOW)
        self.assertEqual(json.loads(result.out)["A"], "an old value")


class Scan(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("apikey", "store", "stripe", "--app", "shop", stdin=STRIPE)
        cls.issued = cls.ok_json("apikey", "create", "--app", "shop", "--ip", "10.0.0.1")
        cls.key = cls.issued["key"]
        cls.tree = cls.dir / "tree"
        cls.plant()

    @classmethod
    def git(cls, *words):
        env = dict(cls.env, GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@example.com", GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@example.com")
        done = subprocess.run(["git", "-C", cls.tree, *words], env=env, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout.decode().strip()

    @classmethod
    def plant(cls):
        """10,000 files of noise and of what looks like keys; five plantings in the tree, two that only git remembers."""
        chance = random.Random(1)
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=+/\n \""
        for i in range(100):
            folder = cls.tree / f"d{i}"
            folder.mkdir(parents=True)
            for j in range(100):
                text = "".join(chance.choices(letters, k=300))
                text += f"\nkey = \"kmt_{chance.choice('0123456789abc') * 10}_{''.join(chance.choices(letters[:62], k=49))}\"\n"
                (folder / f"f{j}.txt").write_text(text + cls.key[:-1] + "\n" + STRIPE[:-2])
        planted = {
            "app.py": f"import x\nKEY = '{cls.key}'\n",
            "config.json": json.dumps({"a": {"stripe": STRIPE}}),
            "secret.yaml": "data:\n  key: " + base64.b64encode(f"user:{cls.key}".encode()).decode() + "\n",
            "mail.txt": base64.encodebytes(f"Here it is: {STRIPE}, keep it well. And some more text".encode()).decode(),
        }
        for name, text in planted.items():
            (cls.tree / name).write_text(text)
        (cls.tree / "core.bin").write_bytes(bytes(chance.randrange(256) for _ in range(5000)) + b"\0" + cls.key.encode() + b"\0\xff" * 100)
        cls.planted = {*planted, "core.bin"}
        cls.git("init", "-q")
        (cls.tree / "old.env").write_text(f"KEY={cls.key}\n")
        cls.git("add", "old.env")
        cls.git("commit", "-q", "-m", "first")
        cls.first = cls.git("rev-parse", "HEAD")
        cls.git("rm", "-q", "old.env")
        cls.git("commit", "-q", "-m", f"oops, {STRIPE}")
        cls.second = cls.git("rev-parse", "HEAD")

    def test_a_file_whose_name_is_not_utf8(self):
        tree = self.dir / "bytes"
        tree.mkdir()
        shutil.copy(self.tree / "app.py", tree / os.fsdecode(b"app-\xff.py"))
        result = self.kmtool("apikey", "scan", tree, "--json")
        self.assertEqual(result.code, 1, result)
        self.assertIn("app-\\xff.py", result.json()["findings"][0]["path"])

    def scan(self, *words, code=1):
        result = self.kmtool("apikey", "scan", self.tree, *words, "--json")
        self.assertEqual(result.code, code, result)
        for value in (self.key, STRIPE, self.key[15:], STRIPE[8:]):
            self.assertNotIn(value, result.out + result.err)
        return result.json()

    def test_all_found_and_nothing_else(self):
        report = self.scan()
        self.assertGreaterEqual(report["files"], 10000)
        self.assertEqual({pathlib.Path(f["path"]).name for f in report["findings"]}, self.planted)
        self.assertEqual(len(report["findings"]), 5)
        where = {pathlib.Path(f["path"]).name: f for f in report["findings"]}
        self.assertEqual((where["app.py"]["line"], where["app.py"]["column"], where["app.py"]["id"]), (2, 8, self.issued["id"]))
        self.assertEqual((where["config.json"]["kind"], where["config.json"]["id"]), ("stored", "shop/stripe"))
        self.assertEqual((where["secret.yaml"]["encoding"], where["mail.txt"]["encoding"]), ("base64", "base64"))

    def test_git_history(self):
        report = self.scan("--git")
        history = [f for f in report["findings"] if "object" in f]
        self.assertEqual(len(history), 2, history)
        found = {f["kind"]: f for f in history}
        self.assertEqual((found["issued"]["path"], found["issued"]["commit"]), ("old.env", self.first))
        self.assertEqual((found["stored"]["commit"], found["stored"]["object"]), (self.second, self.second))

    def test_reports(self):
        sarif = self.kmtool("apikey", "scan", self.tree / "app.py", "--format", "sarif")
        self.assertEqual(sarif.code, 1, sarif)
        result = json.loads(sarif.out)["runs"][0]["results"][0]
        self.assertEqual(result["locations"][0]["physicalLocation"]["region"]["startLine"], 2)
        self.assertEqual(result["locations"][0]["physicalLocation"]["artifactLocation"], {"uri": "app.py", "uriBaseId": "SRCROOT"})
        table = self.kmtool("apikey", "scan", self.tree / "app.py")
        self.assertIn(self.issued["id"], table.out)
        for output in (sarif.out, table.out + table.err):
            self.assertNotIn(self.key[15:], output)
        self.assertEqual(self.kmtool("apikey", "scan", self.tree / "d0").code, 0)
        self.refused(66, "apikey", "scan", self.dir / "none")
        self.refused(64, "apikey", "scan", "/proc/version", "--git", says="no git repository")

    def test_without_the_token(self):
        no_pin = {"KMTOOL_PIN_SOURCE": "file:/nonexistent"}
        self.assertEqual(self.kmtool("apikey", "scan", self.tree / "app.py", env=no_pin).code, 66)
        result = self.kmtool("apikey", "scan", self.tree / "app.py", "--issued-only", env=no_pin)
        self.assertEqual(result.code, 1, result)
        self.assertIn("not looked for", result.err)

    def test_dead_keys_are_told_but_do_not_fail(self):
        dead = self.ok_json("apikey", "create", "--app", "dead", "--ip", "10.0.0.1")
        self.ok("apikey", "revoke", dead["id"], "--reason", "a test")
        file = self.dir / "dead.txt"
        file.write_text(dead["key"])
        result = self.kmtool("apikey", "scan", file, "--json")
        self.assertEqual((result.code, result.json()["findings"][0]["state"]), (0, "revoked"), result)

    def test_hostile_trees(self):
        tree = self.dir / "hostile"
        tree.mkdir()
        os.mkfifo(tree / "pipe")
        (tree / "loop").symlink_to(tree)
        (tree / "\x1b[2Jname").write_text(self.key)
        result = self.kmtool("apikey", "scan", tree, timeout=60)
        self.assertEqual(result.code, 1, result)
        self.assertNotIn("\x1b", result.out)

    def test_sarif_paths(self):
        """Relative to what was named, percent-encoded; a reader that puts them together again finds the file."""
        import urllib.parse
        root = self.dir / "a tree"
        odd = root / "sub" / "50% ä#?.txt"
        odd.parent.mkdir(parents=True)
        odd.write_text(self.key)
        alone = self.dir / "alone.txt"
        alone.write_text(self.key)
        result = self.kmtool("apikey", "scan", "a tree", str(alone), "--format", "sarif", cwd=self.dir)
        self.assertEqual(result.code, 1, result)
        run = json.loads(result.out)["runs"][0]
        found = set()
        for each in run["results"]:
            location = each["locations"][0]["physicalLocation"]["artifactLocation"]
            self.assertRegex(location["uri"], r"^[A-Za-z0-9._~/%-]+$")
            base = run["originalUriBaseIds"][location["uriBaseId"]]["uri"]
            self.assertTrue(base.startswith("file:///") and base.endswith("/"), base)
            found.add(urllib.parse.unquote(urllib.parse.urlparse(urllib.parse.urljoin(base, location["uri"])).path))
        self.assertEqual(found, {str(odd), str(alone)})
        git = self.kmtool("apikey", "scan", self.tree / "d0", "--git", "--format", "sarif")
        run = json.loads(git.out)["runs"][0]
        uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]]
        self.assertIn("old.env", uris)

    def test_what_is_no_file(self):
        pipe = self.dir / "pipe"
        os.mkfifo(pipe)
        for named in (pipe, "/dev/null", "/dev/stdin"):
            self.refused(66, "apikey", "scan", named, says="nothing of what was named")
        self.assertIn("not a regular file", self.kmtool("apikey", "scan", pipe).err)
        beside = self.kmtool("apikey", "scan", pipe, self.tree / "app.py", "--json", timeout=60)
        self.assertEqual((beside.code, len(beside.json()["findings"]), len(beside.json()["skipped"])), (1, 1, 1), beside)
        self.assertEqual(self.kmtool("apikey", "scan", pipe, self.tree / "d0").code, 0)
        link = self.dir / "link"
        link.symlink_to(self.tree / "app.py")
        self.assertEqual(len(self.kmtool("apikey", "scan", link, "--json").json()["findings"]), 1)

    def test_a_log_full_of_one_key(self):
        """Neither slow nor endless: a thousand are told, the rest is counted."""
        log = self.dir / "access.log"
        log.write_text(f"GET /orders?api_key={self.key} 200\n" * 30000)
        begun = os.times().children_user
        result = self.kmtool("apikey", "scan", log, "--json")
        self.assertLess(os.times().children_user - begun, 20)
        findings = result.json()["findings"]
        self.assertEqual((len(findings), findings[0]["more"], findings[999]["line"]), (1000, 29000, 1000))

    def test_a_damaged_git_object_costs_no_other(self):
        tree = self.dir / "damaged"
        tree.mkdir()
        git = lambda *words: subprocess.run(["git", "-C", tree, *words], env=dict(self.env, GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b"), check=True, stdout=subprocess.PIPE).stdout.decode().strip()  # noqa: E731
        git("init", "-q")
        for n in range(30):
            (tree / f"f{n}").write_text(f"{n} {self.key if n % 10 == 3 else 'nothing'}\n" * (20000 if n == 5 else 1))
        git("add", ".")
        git("commit", "-q", "-m", "all")
        victims = [git("rev-parse", f"HEAD:f{n}") for n in (5, 7)]
        for n in range(30):
            (tree / f"f{n}").unlink()
        for number, victim in enumerate(victims):
            file = tree / ".git" / "objects" / victim[:2] / victim[2:]
            file.chmod(0o600)
            data = bytearray(file.read_bytes())
            if number == 0:
                data[len(data) // 2:] = b"x" * (len(data) - len(data) // 2)  # breaks off inside
            else:
                data = bytearray(b"garbage")
            file.write_bytes(data)
        result = self.kmtool("apikey", "scan", tree, "--git", "--json")
        report = result.json()
        self.assertEqual(result.code, 1, result)
        self.assertEqual(sorted(f["path"] for f in report["findings"]), ["f13", "f23", "f3"])
        self.assertEqual(len(report["unread"]), 2, report["unread"])
        for victim in victims:
            self.assertIn(victim, " ".join(report["unread"]))
            self.assertIn(victim, result.err)

    def test_rule_for_others(self):
        rule = self.ok("apikey", "scan", "--rules", "gitleaks").out
        import re
        import tomllib
        parsed = tomllib.loads(rule)["rules"][0]
        self.assertTrue(re.search(parsed["regex"], f"x = '{self.key}'"))
        self.assertFalse(re.search(parsed["regex"], self.key[:-1]))


if __name__ == "__main__":
    harness.main()
