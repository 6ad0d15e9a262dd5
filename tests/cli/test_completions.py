"""Completions as bash, zsh and fish have them once kmtool is installed: what the build installs is loaded by the shell itself, a line
is typed, and what the shell then offers is read. bash and zsh run on a terminal of their own, fish answers `complete -C`."""

import os
import pathlib
import pty
import select
import shutil
import subprocess
import time
import unittest

import harness

BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
# Control-T puts every candidate into the line.
BASH = f"""PS1=; PS2=
. {BASH_COMPLETION}
bind 'set enable-bracketed-paste off'
bind '"\\C-t": insert-completions'
"""
ZSH = """PS1= PS2= RPS1= PROMPT_EOL_MARK=
fpath=($KM_PREFIX/share/zsh/vendor-completions $fpath)
autoload -Uz compinit && compinit -u -d $HOME/.zcompdump
bindkey -e
zle -C every complete-word _generic
bindkey '^T' every
zstyle ':completion:every::::' completer _all_matches _complete
zstyle ':completion:every:*' insert yes
"""


class Terminal:
    """A shell on a pseudo-terminal, spoken to as by a keyboard."""

    def __init__(self, args, env, cwd):
        self.master, slave = pty.openpty()
        self.shell = subprocess.Popen(args, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd, start_new_session=True)
        os.close(slave)
        self.seen = b""

    def type(self, text, until, limit=60):
        os.write(self.master, text.encode())
        begun, end = len(self.seen), time.monotonic() + limit
        while until not in self.seen[begun:]:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(self.seen.decode("utf-8", "replace"))
            self.seen += os.read(self.master, 65536)

    def close(self):
        self.shell.kill()
        self.shell.wait()
        os.close(self.master)


class Completions(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prefix = cls.dir / "usr"
        build = pathlib.Path(harness.BINARY).resolve().parent
        done = harness.run_program(["cmake", "--install", build, "--prefix", cls.prefix], cls.env)
        assert done.code == 0, done
        cls.user = cls.dir / "user"
        cls.files = cls.dir / "files"
        cls.user.mkdir()
        (cls.files / "a folder").mkdir(parents=True)
        for name in ("one.kmb", "two words.kmb"):
            (cls.files / name).touch()
        cls.shell_env = dict(cls.env, PATH=f"{cls.prefix}/bin:/usr/bin:/bin", HOME=str(cls.user), TERM="dumb", KM_PREFIX=str(cls.prefix),
                             XDG_DATA_DIRS=f"{cls.prefix}/share:/usr/share")
        home = cls.embedded_home("home")
        for name, role in (("root", "kek"), ("ledger", "data")):
            cls.ok("gen", name, "--role", role, home=home)
        cls.other = cls.embedded_home("other")
        cls.ok("gen", "elsewhere", "--role", "data", home=cls.other)
        cls.shell_env["KMTOOL_HOME"] = str(home)
        cls.terminals = {}

    @classmethod
    def tearDownClass(cls):
        for terminal in cls.terminals.values():
            terminal.close()
        super().tearDownClass()

    def typed(self, shell, line):
        """The whole line after every candidate was put into it, word by word as the shell reads it."""
        if shell not in self.terminals:
            args, begin = {"bash": (["bash", "--norc", "--noprofile", "-i"], BASH), "zsh": (["zsh", "-f", "-i"], ZSH)}[shell]
            self.terminals[shell] = Terminal(args, self.shell_env, self.files)
            self.terminals[shell].type(begin + "echo rea''dy\n", b"ready\r\n")
        out = self.user / "out"
        self.terminals[shell].type(f"{line}\x14\x01printf '%s\\n' \x05 >{out}; echo rea''dy\n", b"ready\r\n")
        return out.read_text().splitlines()

    def offered(self, shell, line):
        if shell == "fish":
            done = harness.run_program(["fish", "-c", "complete -C $argv[1]", line], self.shell_env, cwd=self.files)
            self.assertEqual(done.err, "", done)
            names = [row.split("\t")[0].rstrip("/") for row in done.out.splitlines()]
            return {name.split("=", 1)[1] if "=" in line.split(" ")[-1] else name for name in names}
        before, last = line.rsplit(" ", 1)
        words = self.typed(shell, line)
        self.assertEqual(words[:before.count(" ") + 1], before.split(" "), line)
        words = words[before.count(" ") + 1:]
        option = last.split("=")[0] + "=" if "=" in last else ""
        words = [word.removeprefix(option).rstrip("/") for word in words]
        return set() if words in ([last], [""], []) else set(words)

    def check(self, shell):
        def offers(line, *wanted):
            with self.subTest(line=line):
                self.assertEqual(self.offered(shell, line), set(wanted))

        def offers_of_many(line, wanted, never=()):
            with self.subTest(line=line):
                found = self.offered(shell, line)
                self.assertLessEqual(set(wanted), found)
                self.assertFalse(set(never) & found, found)

        offers_of_many("kmtool ", {"gen", "wrap", "unwrap", "verify", "list", "apikey", "completion"}, {"root"})
        offers("kmtool unw", "unwrap")
        offers("kmtool signer tr", "trust")
        offers_of_many("kmtool apikey ", {"create", "check", "serve", "scan"}, {"gen"})
        offers_of_many("kmtool gen x --", {"--role", "--exportable", "--dry-run"}, {"--depends-on"})
        offers("kmtool gen x --role ", "kek", "data", "mac", "sign", "transport")
        offers("kmtool gen x --role=d", "data")
        offers("kmtool gen x --type rsa-", "rsa-3072", "rsa-4096")
        offers("kmtool list --state de", "deactivated", "destroyed")
        offers("kmtool list --format ", "table", "json", "names")
        offers("kmtool apikey scan --format s", "sarif")
        offers("kmtool apikey list --state no", "not yet valid")
        offers("kmtool completion ", "bash", "zsh", "fish")
        offers("kmtool gen ")  # a new name: nothing is known of it
        offers("kmtool show ", "root", "ledger")
        offers("kmtool wrap ledger --kek ", "root")
        offers("kmtool wrap --kek root ", "root", "ledger")
        offers("kmtool gen x --waive G-KEK=because --role=m", "mac")
        offers(f"kmtool --home {self.other} show ", "elsewhere")
        offers(f"kmtool show --home={self.other} ", "elsewhere")
        offers("kmtool verify o", "one.kmb")
        offers("kmtool verify t", "two words.kmb")
        offers("kmtool wrap ledger --kek root --out o", "one.kmb")
        offers_of_many("kmtool audit export ", {"a folder"}, {"one.kmb"} if shell != "fish" else ())

    @unittest.skipUnless(shutil.which("bash") and os.path.exists(BASH_COMPLETION), "no bash-completion")
    def test_bash(self):
        self.check("bash")

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh(self):
        self.check("zsh")

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish(self):
        self.check("fish")

    def test_scripts(self):
        for shell in ("bash", "zsh", "fish"):
            with self.subTest(shell=shell):
                script = self.dir / f"completion.{shell}"
                script.write_text(self.ok("completion", shell).out)
                if shutil.which(shell):
                    done = subprocess.run([shell, "-n", script], stderr=subprocess.PIPE, check=False)
                    self.assertEqual((done.returncode, done.stderr), (0, b""))


if __name__ == "__main__":
    harness.main()
