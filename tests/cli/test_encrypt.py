"""encrypt and decrypt: what goes in comes out, whatever was altered does not, and the key's state is asked."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import harness
from gcm import open_file, seal_file

CHUNK = 65536
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 16 * CHUNK, 16 * CHUNK + 1, 40 * CHUNK + 7)


class Files(harness.Case):
    """Commands that read and write bytes."""

    def data(self, size, name="plain"):
        path = self.dir / name
        path.write_bytes(os.urandom(size))
        return path

    def piped(self, words, data, env=None):
        """Exit code, standard output and standard error, all bytes."""
        done = subprocess.run([harness.BINARY, *map(str, words)], input=data, capture_output=True, env=dict(self.env, **(env or {})), check=False, timeout=300)
        return done.returncode, done.stdout, done.stderr.decode()

    def round_trips(self, sizes):
        for size in sizes:
            with self.subTest(size=size):
                plain = self.data(size)
                sealed, opened = self.dir / "sealed", self.dir / "opened"
                self.ok("encrypt", "backup", "--in", plain, "--out", sealed, "--force")
                chunks = max(1, -(-size // CHUNK))
                self.assertEqual(sealed.stat().st_size, len(sealed.read_bytes().split(b"\n")[0]) + 1 + size + 28 * chunks)
                self.ok("decrypt", "--in", sealed, "--out", opened, "--force")
                self.assertTrue(opened.read_bytes() == plain.read_bytes())
                self.assertEqual(opened.stat().st_mode & 0o777, 0o600)
                code, piped, err = self.piped(["encrypt", "backup"], plain.read_bytes())
                self.assertEqual((code, len(piped)), (0, sealed.stat().st_size), err)
                for more in ([], ["--stream"]):
                    code, out, err = self.piped(["decrypt", *more], piped)
                    self.assertEqual(code, 0, err)
                    self.assertTrue(out == plain.read_bytes())


class Encrypt(Files):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token)
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "backup", "--role", "data")
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "release", "--role", "sign")

    def test_round_trips(self):
        self.round_trips(SIZES)

    def test_regular_files_as_standard_input_and_output(self):
        plain = self.data(3 * CHUNK)
        with open(plain, "rb") as source, open(self.dir / "sealed", "wb") as target:
            source.seek(100)  # from where it stands, as every other program
            subprocess.run([harness.BINARY, "encrypt", "backup"], stdin=source, stdout=target, env=self.env, check=True)
        with open(self.dir / "sealed", "rb") as source:
            out = subprocess.run([harness.BINARY, "decrypt"], stdin=source, stdout=subprocess.PIPE, env=self.env, check=True).stdout
        self.assertTrue(out == plain.read_bytes()[100:])

    def test_two_commands_in_one_pipe(self):
        """Each needs the home; neither waits for the other for ever."""
        plain = self.data(50 * CHUNK)
        with open(plain, "rb") as source:
            one = subprocess.Popen([harness.BINARY, "encrypt", "backup"], stdin=source, stdout=subprocess.PIPE, env=self.env)
            two = subprocess.Popen([harness.BINARY, "decrypt", "--stream"], stdin=one.stdout, stdout=subprocess.PIPE, env=self.env)
            one.stdout.close()
            three = subprocess.run([harness.BINARY, "encrypt", "backup", "--json", "--out", self.dir / "again", "--force"], stdin=two.stdout, env=self.env, check=True,
                                   capture_output=True, timeout=120)
            two.stdout.close()
        self.assertEqual((one.wait(), two.wait()), (0, 0))
        self.assertEqual(json.loads(three.stdout)["bytes"], 50 * CHUNK)

    def test_json(self):
        plain, out = self.data(CHUNK + 1), self.dir / "j.kme"
        made = self.ok_json("encrypt", "backup", "--in", plain, "--out", out, "--force")
        self.assertEqual((made["key"], made["chunks"], made["bytes"], made["out"]), ("backup", 2, CHUNK + 1, str(out)))
        self.assertEqual(self.kmtool("encrypt", "backup", "--json", stdin=b"x").code, 64)
        self.assertEqual(self.ok_json("decrypt", "--in", out, "--out", self.dir / "j", "--force")["file"], made["file"])

    def test_dry_run_and_existing_files(self):
        plain, out = self.data(10), self.dir / "dry.kme"
        before = len(self.entries(self.home))
        self.ok("encrypt", "backup", "--in", plain, "--out", out, "--dry-run")
        self.assertFalse(out.exists())
        self.assertEqual(len(self.entries(self.home)), before)
        out.write_bytes(b"mine")
        self.refused(73, "encrypt", "backup", "--in", plain, "--out", out)
        self.assertEqual(out.read_bytes(), b"mine")
        self.refused(66, "encrypt", "backup", "--in", self.dir / "nothing", "--out", self.dir / "n")
        self.assertEqual([p for p in self.dir.iterdir() if p.name.endswith(".kmtmp")], [])

    # -- rules ---------------------------------------------------------------------------------------------------------

    def test_wrong_role_state_and_version(self):
        plain = self.data(10)
        for key in ("root", "release"):
            result = self.kmtool("encrypt", key, "--in", plain, "--out", self.dir / "w", "--json")
            self.assertEqual((result.code, result.error()["code"]), (77, "G-SEALED"), result)
        self.refused(66, "encrypt", "nobody", "--in", plain)
        self.refused(66, "encrypt", "backup@7", "--in", plain)
        self.ok("gen", "life", "--role", "data")
        sealed = self.dir / "life.kme"
        self.ok("encrypt", "life", "--in", plain, "--out", sealed)
        for verb, decrypts in (("suspend", 77), ("resume", 0), ("deactivate", 0), ("compromise", 0), ("destroy", 77)):
            self.ok("state", "life@1", verb, "--reason", "test", "--yes")
            result = self.kmtool("encrypt", "life@1", "--in", plain, "--out", self.dir / "w", "--json", "--force")
            self.assertEqual(result.code, 0 if verb == "resume" else 77, result)
            if verb != "resume":
                self.assertEqual(result.error()["code"], "G-WORK", result)
                self.assertEqual(self.kmtool("encrypt", "life", "--in", plain, "--out", self.dir / "w", "--force").code, 77)
            result = self.kmtool("decrypt", "--in", sealed, "--out", self.dir / "o", "--force")
            self.assertEqual(result.code, decrypts, f"{verb}: {result}")
            self.assertEqual("compromised" in result.err, verb == "compromise", result)

    def test_a_rotated_key_still_decrypts(self):
        self.ok("gen", "turning", "--role", "data")
        plain = self.data(100)
        self.ok("encrypt", "turning", "--in", plain, "--out", self.dir / "v1.kme")
        self.ok("rotate", "turning")
        self.ok("encrypt", "turning", "--in", plain, "--out", self.dir / "v2.kme")
        for version in (1, 2):
            opened = self.ok_json("decrypt", "--in", self.dir / f"v{version}.kme", "--out", self.dir / "o", "--force")
            self.assertEqual(opened["version"], version)
            self.assertEqual((self.dir / "o").read_bytes(), plain.read_bytes())
        self.refused(77, "encrypt", "turning@1", "--in", plain, "--out", self.dir / "w", says="only decrypts")

    def test_a_restored_copy_decrypts_and_has_a_number_of_its_own(self):
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        plain = self.data(100)
        self.ok("encrypt", "cargo", "--in", plain, "--out", self.dir / "cargo.kme")
        self.ok("wrap", "cargo", "--kek", "root", "--out", self.dir / "cargo.kmb")
        self.ok("unwrap", self.dir / "cargo.kmb", "--as", "copy", "--activate")
        self.ok("state", "cargo@1", "destroy", "--reason", "test", "--yes")
        opened = self.ok_json("decrypt", "--in", self.dir / "cargo.kme", "--out", self.dir / "o", "--force")
        self.assertEqual((opened["key"], (self.dir / "o").read_bytes()), ("copy", plain.read_bytes()))
        self.ok("encrypt", "copy", "--in", plain, "--out", self.dir / "copy.kme")
        self.ok("decrypt", "--in", self.dir / "copy.kme", "--key", "copy@1", "--out", self.dir / "o", "--force")
        self.refused(65, "decrypt", "--in", self.dir / "copy.kme", "--key", "backup", "--out", self.dir / "no")
        # 2^24 chunks are a copy's share; a sparse file of a terabyte asks for one more than that.
        huge = self.dir / "huge"
        with open(huge, "wb") as file:
            file.truncate((1 << 40) + 1)
        self.refused(77, "encrypt", "copy", "--in", huge, "--out", self.dir / "h", "--dry-run", says=["16777216", "rotate"])

    def test_each_use_is_one_entry_and_its_invocations_are_set_aside_before(self):
        self.ok("gen", "counted", "--role", "data")
        before = len(self.entries(self.home))
        plain = self.data(3 * CHUNK)
        self.ok("encrypt", "counted", "--in", plain, "--out", self.dir / "c.kme")
        self.ok("decrypt", "--in", self.dir / "c.kme", "--out", self.dir / "o", "--force")
        code, _, err = self.piped(["encrypt", "counted"], plain.read_bytes())
        self.assertEqual(code, 0, err)
        code, _, err = self.piped(["encrypt", "counted"], os.urandom(20 * CHUNK))
        self.assertEqual(code, 0, err)
        entries = self.entries(self.home)[before:]
        self.assertEqual([e["command"] for e in entries], ["encrypt", "decrypt", "encrypt", "encrypt"])
        self.assertEqual([e["details"].get("invocations") for e in entries], [3, None, 3, 1024])
        self.assertEqual(entries[-1]["changes"][0]["value"]["used"], 1030)
        self.assertEqual({e["target"] for e in entries}, {"counted@1"})

    def test_calls(self):
        """One init and one encrypt a chunk, and random IVs in batches."""
        plain, log = self.data(64 * CHUNK), self.dir / "spy.log"
        env = harness.spy_env(log)
        self.ok("encrypt", "backup", "--in", plain, "--out", self.dir / "s.kme", "--force", env=env)
        log.unlink()
        self.ok("encrypt", "backup", "--in", plain, "--out", self.dir / "s.kme", "--force", env=env)
        calls = harness.spy_calls(log)
        self.assertEqual((calls["C_EncryptInit"], calls["C_Encrypt"]), (64, 64), calls)
        self.assertLessEqual(calls["C_GenerateRandom"], 3)
        log.unlink()
        self.ok("decrypt", "--in", self.dir / "s.kme", "--out", self.dir / "o", "--force", env=env)
        calls = harness.spy_calls(log)
        self.assertEqual((calls["C_DecryptInit"], calls["C_Decrypt"]), (64, 64), calls)


class Tamper(Files):
    CHUNKS = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "backup", "--role", "data")
        cls.ok("gen", "other", "--role", "data")
        cls.files = []
        for name in ("one", "two"):
            plain = cls.dir / name
            plain.write_bytes(os.urandom(3 * CHUNK + 500))
            cls.ok("encrypt", "backup", "--in", plain, "--out", cls.dir / f"{name}.kme")
            cls.files.append((cls.dir / f"{name}.kme").read_bytes())
        cls.whole = cls.files[0]
        end = cls.whole.index(b"\n") + 1
        cls.header = cls.whole[:end]
        size = CHUNK + 28
        cls.chunks = [[data[end + i * size:end + (i + 1) * size] for i in range(cls.CHUNKS)] for data in cls.files]

    def rejected(self, data, what):
        path, out = self.dir / "t.kme", self.dir / "t.out"
        path.write_bytes(data)
        result = self.kmtool("decrypt", "--in", path, "--out", out)
        self.assertEqual(result.code, 65, f"{what}: {result}")
        self.assertFalse(out.exists(), what)
        self.assertEqual([p for p in self.dir.iterdir() if p.name.endswith(".kmtmp")], [], what)

    def test_the_pieces_are_what_the_test_thinks(self):
        self.assertTrue(self.header + b"".join(self.chunks[0]) == self.whole)
        self.assertEqual([len(c) for c in self.chunks[0]], [CHUNK + 28] * 3 + [528])

    def test_chunks_dropped_doubled_swapped_moved(self):
        mine, other = self.chunks
        for i in range(self.CHUNKS):
            self.rejected(self.header + b"".join(mine[:i] + mine[i + 1:]), f"dropped {i}")
            self.rejected(self.header + b"".join(mine[:i + 1] + mine[i:]), f"doubled {i}")
            self.rejected(self.header + b"".join(mine[:i] + [other[i]] + mine[i + 1:]), f"moved {i} from another file")
            for k in range(i):
                swapped = list(mine)
                swapped[i], swapped[k] = swapped[k], swapped[i]
                self.rejected(self.header + b"".join(swapped), f"swapped {i} and {k}")
        self.rejected(self.whole + b"x", "one octet more")
        self.rejected(self.whole + self.files[1], "another file behind it")
        self.rejected(self.files[1][:len(self.header)] + b"".join(mine), "the header of another file")

    def test_cut_everywhere(self):
        for length in range(0, len(self.whole), int(os.environ.get("KM_CUT_STEP", "5000"))):
            self.rejected(self.whole[:length], f"cut at {length}")
        for length in (len(self.header) - 1, len(self.header), len(self.header) + 27, len(self.header) + CHUNK + 28, len(self.whole) - 1):
            self.rejected(self.whole[:length], f"cut at {length}")

    def test_standard_output_stays_empty(self):
        big = os.urandom(20 * CHUNK)
        code, sealed, _ = self.piped(["encrypt", "backup"], big)
        self.assertEqual(code, 0)
        for data in (sealed[:-1], sealed[:-CHUNK], sealed + b"x", self.whole[:-1], self.whole[:CHUNK]):
            code, out, err = self.piped(["decrypt"], data)
            self.assertEqual((code, out), (65, b""), err)
        path = self.dir / "big.kme"
        path.write_bytes(sealed[:-1])
        code, out, err = self.piped(["decrypt", "--in", path], b"")
        self.assertEqual((code, out), (65, b""), err)
        # As it comes, where that was asked for: a beginning, and the exit code says so.
        code, out, err = self.piped(["decrypt", "--stream"], sealed[:-1])
        self.assertEqual((code, out), (65, big[:19 * CHUNK]), err)

    def test_every_header_field(self):
        header = json.loads(self.header)
        other = [k for k in self.ok_json("list")["keys"] if k["name"] == "other"][0]["id"]
        changes = {"kmencrypted": [2, "1"], "key": ["other", "a b", ""], "version": [2, 0], "cipher": ["AES-CBC"], "chunk": [65535, 32768, 131072, 0, 1 << 30],
                   "id": [other], "file": ["00" * 16, header["file"][:-2], header["file"].upper()]}
        self.assertEqual(set(changes), set(header))
        rest = self.whole[len(self.header):]

        def line(value):
            return json.dumps(value, separators=(",", ":")).encode() + b"\n"
        self.assertEqual(line(header), self.header)
        for field, values in changes.items():
            for value in values:
                self.rejected(line(dict(header, **{field: value})) + rest, f"{field} = {value}")
            self.rejected(line({k: v for k, v in header.items() if k != field}) + rest, f"without {field}")
        self.rejected(line(dict(header, more=1)) + rest, "a field more")
        self.rejected(self.header.replace(b",", b", ", 1) + rest, "a space")
        self.rejected(self.header[:-1] + b"\r\n" + rest, "CRLF")
        self.rejected(line(dict(reversed(header.items()))) + rest, "another order")
        path = self.dir / "t.kme"
        path.write_bytes(line(dict(header, id="00" * 16)) + rest)
        self.refused(66, "decrypt", "--in", path, "--out", self.dir / "t.out", says="--key")

    def test_every_octet_of_a_small_file(self):
        plain = self.dir / "tiny"
        plain.write_bytes(b"abc")
        self.ok("encrypt", "backup", "--in", plain, "--out", self.dir / "tiny.kme", "--force")
        data = (self.dir / "tiny.kme").read_bytes()
        for at in range(len(data.split(b"\n")[0]) + 1, len(data)):
            changed = bytearray(data)
            changed[at] ^= 1
            self.rejected(bytes(changed), f"octet {at}")


class Independent(Files):
    """Another program with the key's value (known, because the test brought it) and OpenSSL reads and writes the same files."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token, module=harness.SOFTHSM)
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.value = os.urandom(32)
        key = cls.dir / "key.bin"
        key.write_bytes(cls.value)
        made = cls.pkcs11_tool(cls.home, "--write-object", key, "--type", "secrkey", "--key-type", "AES:32", "--label", "known", "--id", "c0ffee", "--usage-decrypt", "--sensitive")
        if made.code != 0:
            raise AssertionError(str(made))
        cls.ok("adopt", "known", "--label", "known")

    def test_it_reads_what_kmtool_wrote(self):
        for size in (0, 1, CHUNK, 3 * CHUNK + 5):
            plain = self.data(size)
            self.ok("encrypt", "known", "--in", plain, "--out", self.dir / "k.kme", "--force")
            self.assertTrue(open_file((self.dir / "k.kme").read_bytes(), self.value) == plain.read_bytes())

    def test_kmtool_reads_what_it_wrote(self):
        key = [k for k in self.ok_json("list")["keys"] if k["name"] == "known"][0]
        for size, chunk in ((0, CHUNK), (1, CHUNK), (CHUNK, CHUNK), (3 * CHUNK + 5, CHUNK), (100000, 4096), (1 << 20, 1 << 19)):
            plain = os.urandom(size)
            sealed = self.dir / "i.kme"
            sealed.write_bytes(seal_file(plain, self.value, {"key": "known", "version": 1, "id": key["id"], "chunk": chunk}))
            self.ok("decrypt", "--in", sealed, "--out", self.dir / "i", "--force")
            self.assertTrue((self.dir / "i").read_bytes() == plain)
            code, out, err = self.piped(["decrypt"], sealed.read_bytes())
            self.assertEqual((code, out == plain), (0, True), err)

    def test_an_empty_chunk_at_the_end_is_not_a_second_spelling(self):
        key = [k for k in self.ok_json("list")["keys"] if k["name"] == "known"][0]
        sealed = self.dir / "e.kme"
        sealed.write_bytes(seal_file(os.urandom(CHUNK), self.value, {"key": "known", "version": 1, "id": key["id"], "chunk": CHUNK}, empty_end=True))
        self.refused(65, "decrypt", "--in", sealed, "--out", self.dir / "e", says="empty")


@unittest.skipUnless(harness.NSS and shutil.which("certutil"), "needs libnss3 and libnss3-tools")
class Nss(Files):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.dir / "nss"
        folder.mkdir()
        pin = cls.dir / "pin"
        pin.write_text(harness.PIN + "\n")
        pin.chmod(0o600)
        subprocess.run(["certutil", "-N", "-d", f"sql:{folder}", "-f", pin], check=True)
        args = f"configdir='sql:{folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        cls.env.update(KMTOOL_HOME=str(cls.dir / "home"), KMTOOL_PIN_SOURCE=f"file:{pin}")
        cls.ok("init", "--module", harness.NSS, "--module-args", args, "--token-label", "NSS Certificate DB")
        cls.ok("gen", "backup", "--role", "data")

    def test_round_trips(self):
        self.round_trips(SIZES)

    def test_damage(self):
        code, sealed, err = self.piped(["encrypt", "backup"], os.urandom(2 * CHUNK))
        self.assertEqual(code, 0, err)
        for data in (sealed[:-1], sealed + b"x", sealed[:-CHUNK - 28]):
            code, out, err = self.piped(["decrypt"], data)
            self.assertEqual((code, out), (65, b""), err)


class Memory(Files):
    """The same peak for a little and for much, both ways."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.embedded_home()))

    def test_flat(self):
        self.ok("gen", "backup", "--role", "data")
        much = int(os.environ.get("KM_LARGE_MIB", "64"))
        peaks = {}
        for mib in (1, much):
            plain = self.dir / "big"
            with open(plain, "wb") as file:
                file.truncate(mib << 20)
            for words in (["encrypt", "backup", "--in", plain, "--out", self.dir / "big.kme", "--force"], ["decrypt", "--in", self.dir / "big.kme", "--out", plain, "--force"]):
                peaks[words[0], mib] = self.peak(words)
            with open(self.dir / "big.kme", "rb") as source:
                peaks["pipe", mib] = self.peak(["decrypt"], stdin=source)
        for what in ("encrypt", "decrypt", "pipe"):
            self.assertLess(peaks[what, much] - peaks[what, 1], 4096, peaks)

    def peak(self, words, stdin=None):
        child = subprocess.Popen([harness.BINARY, *map(str, words)], env=self.env, stdin=stdin, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0)
        return usage.ru_maxrss


if __name__ == "__main__":
    harness.main()
