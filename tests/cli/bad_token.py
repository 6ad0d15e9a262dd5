"""A SoftHSM token with one instance of each bad pattern, made by pkcs11-tool, openssl and raw calls. `seed()` returns what must be
found: check → the object's label or id."""

import os
import subprocess

import cryptoki
import harness

# SoftHSM gives a key every usage that the template does not deny.
USELESS = dict.fromkeys(("encrypt", "decrypt", "sign", "verify", "wrap", "unwrap", "derive"), False)
LOCKED = {"private": True, "sensitive": True, "extractable": False, "modifiable": False}


def number(n):
    return bytes([0xBA, 0xD0, n >> 8, n & 255])


class Seeder:
    def __init__(self, token, folder):
        self.token, self.folder, self.expected, self.n = token, folder, [], 0
        self.env = dict(os.environ, **token.env())
        os.environ.update(token.env())  # SoftHSM reads it in this process too

    def expect(self, check, name):
        self.expected.append((check, name))

    def key(self, s, label, *checks, kind="aes", length=32, **attributes):
        """A generated secret key, locked but for what is said."""
        self.n += 1
        wanted = {"label": label, "id": number(self.n), **USELESS, **LOCKED, **attributes}
        wanted["modifiable"] = wanted.pop("modifiable")  # last: SoftHSM takes it nowhere else
        handle = s.generate(kind, length, **wanted)
        for check in checks:
            self.expect(check, label or wanted["id"].hex())
        return handle

    def run(self, *words, faketime=None):
        before = ["faketime", faketime] if faketime else []
        subprocess.run([*before, *map(str, words)], env=self.env, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tool(self, *words):
        self.run("pkcs11-tool", "--module", harness.SOFTHSM, "--token-label", self.token.label, "--login", "--pin", harness.PIN, *words)

    # -- secret keys ---------------------------------------------------------------------------------------------------

    def attacks(self, s):
        self.key(s, "wraps-and-decrypts", "wrap-decrypt", "kek-mixed", wrap=True, decrypt=True)
        self.key(s, "encrypts-and-unwraps", "encrypt-unwrap", encrypt=True, unwrap=True)
        self.key(s, "twins", "wrap-decrypt-copies", "duplicate-id", id=b"\x77\x77", wrap=True)
        self.key(s, "twins", id=b"\x77\x77", decrypt=True)
        self.key(s, "drifting", "drift", "modifiable", wrap=True, modifiable=True)
        self.key(s, "base", "derive", derive=True)
        self.key(s, "weak-kek", "weaker-kek", length=16, wrap=True, unwrap=True)
        self.key(s, "des-kek", "kek-algorithm", kind="des3", wrap=True, unwrap=True)

    def flags(self, s):
        self.key(s, "leaves", "extractable", "no-wrap-with-trusted", extractable=True, encrypt=True)
        self.key(s, "readable", "not-sensitive", sensitive=False, extractable=True, encrypt=True)
        self.key(s, "readable-but-stays", "not-sensitive", sensitive=False, encrypt=True)
        was = self.key(s, "was-readable", "was-not-sensitive", sensitive=False, encrypt=True, modifiable=True)
        s.set(was, sensitive=True)
        was = self.key(s, "left-once", "was-extractable", extractable=True, encrypt=True, modifiable=True)
        s.set(was, extractable=False)
        self.key(s, "no-login", "not-private", private=False, encrypt=True)
        self.key(s, "can-be-copied", "copyable", encrypt=True)
        self.key(s, "mixed", "mixed-usage", encrypt=True, sign=True)
        self.key(s, "idle", "no-usage")
        self.key(s, "", "no-label", encrypt=True)
        self.key(s, "no-number", "no-id", id=b"", encrypt=True)
        self.key(s, "same-name", "duplicate-label", encrypt=True)
        self.key(s, "same-name", encrypt=True)
        s.create("secret", label="brought-in", id=number(900), key_type=cryptoki.TYPE["aes"], value=os.urandom(32), **{**USELESS, **LOCKED, "encrypt": True})
        self.expect("imported", "brought-in")

    def weak(self, s):
        self.key(s, "des", "algorithm", kind="des", encrypt=True)
        self.key(s, "short-mac", "strength", kind="generic", length=8, sign=True)
        for bits, label, *checks in ((1024, "rsa-1024", "strength"), (2048, "rsa-2048", "strength")):
            self.rsa(s, label, number(910 + bits // 1024), bits=bits, private={"sign": True}, public={"verify": True})
            self.expect(checks[0], label)
        self.rsa(s, "small-exponent", number(914), exponent=b"\3", private={"sign": True}, public={"verify": True})
        self.expect("exponent", "small-exponent")
        s.pair("ec", {"label": "odd-curve", "id": number(915), "ec_params": cryptoki.SECP256K1, "verify": True},
               {"label": "odd-curve", "id": number(915), **LOCKED, "sign": True, "decrypt": False, "unwrap": False, "derive": False, "sign_recover": False})  # fmt: skip
        self.expect("curve", "odd-curve")

    # -- pairs ---------------------------------------------------------------------------------------------------------

    def rsa(self, s, label, number_, bits=2048, exponent=b"\1\0\1", private=(), public=()):
        return s.pair("rsa", {"label": label, "id": number_, "bits": bits, "exponent": exponent, "encrypt": False, "wrap": False, "verify": False, "verify_recover": False, **dict(public)},
                      {"label": label, "id": number_, **{**LOCKED, "decrypt": False, "unwrap": False, "sign": False, "sign_recover": False, "derive": False, **dict(private)}})  # fmt: skip

    def pairs(self, s):
        self.rsa(s, "pair-wraps-and-decrypts", number(920), public={"wrap": True}, private={"decrypt": True})
        self.expect("public-wrap-decrypt", "pair-wraps-and-decrypts")
        self.rsa(s, "recovers", number(921), public={"verify": True}, private={"sign": True, "sign_recover": True})
        self.expect("raw-recover", "recovers")
        public, _ = self.rsa(s, "widow", number(922), public={"verify": True}, private={"sign": True})
        s.destroy(public)
        self.expect("public-half-missing", "widow")
        _, private = self.rsa(s, "orphan", number(923), public={"verify": True}, private={"sign": True})
        s.destroy(private)
        self.expect("private-half-missing", "orphan")
        _, private = self.rsa(s, "foreign-kek", number(924), public={"wrap": True}, private={"sign": True})
        s.destroy(private)
        self.expect("foreign-wrapping-key", "foreign-kek")
        public, _ = self.rsa(s, "mixed-up", number(925), public={"verify": True}, private={"sign": True})
        s.destroy(public)
        _, private = self.rsa(s, "mixed-up", number(925), public={"verify": True}, private={"sign": True})
        s.destroy(private)
        self.expect("halves-differ", "mixed-up")
        _, private = self.rsa(s, "twice", number(926), public={"verify": True}, private={"sign": True, "modifiable": True})
        s.copy(private, label="twice-too", id=number(927))
        self.expect("same-key-twice", "twice")

    def trusted(self):
        """Only the security officer may call a key trusted; the user then copies it to where a login is needed."""
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.SO_PIN, user=0) as s:
            s.generate("aes", 32, label="trusted", id=number(940), private=False, sensitive=True, extractable=True, wrap=True, encrypt=True, trusted=True)
        self.expect("trusted-misused", "trusted")
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as s:
            self.key(s, "guarded", "trusted-chain", extractable=True, wrap_with_trusted=True, encrypt=True)

    # -- what is no key --------------------------------------------------------------------------------------------------

    def others(self, s):
        s.create("data", label="notes", value=b"for everybody", private=False)
        self.expect("data-public", "notes")
        s.create("data", label="master-password", value=b"hidden", private=True)
        self.expect("data-object", "master-password")

    def certificate(self, label, check, *, key=None, id_="", days=900, faketime=None, digest="sha256"):
        key = key or f"{label}.key"
        if not (self.folder / key).exists():
            self.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        self.run("openssl", "req", "-new", "-key", key, "-subj", f"/CN={label}", "-out", "r.csr")
        self.run("openssl", "x509", "-req", "-in", "r.csr", "-CA", "ca.pem", "-CAkey", "ca.key", f"-{digest}", "-set_serial", "7", "-days", days, "-outform", "DER", "-out", f"{label}.der", faketime=faketime)
        self.tool("--write-object", f"{label}.der", "--type", "cert", "--label", label, "--id", id_ or number(950 + len(self.expected)).hex())
        self.expect(check, label)

    def certificates(self, s_number):
        self.run("openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=CA", "-days", "3650", "-keyout", "ca.key", "-out", "ca.pem", faketime="-900 days")
        self.certificate("expired", "certificate-expired", days=30, faketime="-100 days")
        self.certificate("expiring", "certificate-expiring", days=10)
        self.certificate("future", "certificate-future", faketime="+40 days")
        self.certificate("keyless", "certificate-no-key")
        self.certificate("of-another", "certificate-mismatch", id_=s_number.hex())
        self.certificate("sha1", "certificate-signature", digest="sha1")

    def by_pkcs11_tool(self):
        """What people do who know no better: its defaults."""
        self.tool("--keygen", "--key-type", "aes:16", "--label", "tool-aes", "--id", "e001", "--usage-wrap", "--usage-decrypt")
        self.expect("wrap-decrypt", "tool-aes")
        self.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "tool-rsa", "--id", "e002")
        self.expect("mixed-usage", "tool-rsa")


def seed(token, folder):
    seeder = Seeder(token, folder)
    with cryptoki.Session(harness.SOFTHSM, token.label, harness.PIN) as s:
        for step in (seeder.attacks, seeder.flags, seeder.weak, seeder.pairs, seeder.others):
            step(s)
        s.create("cert", label="broken", id=number(980), certificate_type=0, value=b"\x30\x03no!", subject=b"\x30\x00", modifiable=False)
        seeder.expect("certificate-unreadable", "broken")
    seeder.trusted()
    seeder.certificates(number(921))
    seeder.by_pkcs11_tool()
    return seeder.expected
