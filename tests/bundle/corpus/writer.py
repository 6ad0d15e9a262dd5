"""A second writer of the bundle format (kmtool-bundle(5)), with known keys: what it writes shows that the manual page is enough.

Debian's python3-cryptography wraps, python3-ecdsa signs without randomness (RFC 6979), so that every file comes out the same."""

import base64
import hashlib
import hmac
import json

import ecdsa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding


def pattern(size, seed):
    return bytes((seed + i) & 0xFF for i in range(size))


def b64(data):
    return base64.b64encode(data).decode()


def compact(document):
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


class Signer:
    """A P-256 pair from a fixed number: it protects nothing."""

    def __init__(self, number):
        self.key = ecdsa.SigningKey.from_secret_exponent(number, curve=ecdsa.NIST256p, hashfunc=hashlib.sha256)
        private = ec.derive_private_key(number, ec.SECP256R1())
        public = private.public_key()
        self.pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        self.spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.pkcs8 = private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.fingerprint = hashlib.sha256(self.spki).hexdigest()

    def sign(self, data):
        return self.key.sign_digest_deterministic(hashlib.sha256(data).digest(), sigencode=ecdsa.util.sigencode_der)


class Kek:
    """An AES key that wraps and an HMAC key that seals; both known to everybody."""

    def __init__(self, label, seed, algorithm="AES-KWP", mechanism="CKM_AES_KEY_WRAP_KWP", size=32):
        self.wrap_key, self.seal_key = pattern(size, seed), pattern(32, seed ^ 0x80)
        self.label, self.algorithm, self.mechanism, self.bits = label, algorithm, mechanism, 8 * size
        self.id = pattern(16, seed)

    def recipient(self):
        return {"kek": self.label, "id": self.id.hex(), "type": f"aes-{self.bits}", "strength": self.bits, "algorithm": self.algorithm,
                "mechanism": self.mechanism}

    def wrap(self, value):
        wrap = aes_key_wrap if self.algorithm == "AES-KW" else aes_key_wrap_with_padding
        return wrap(self.wrap_key, value)


USAGES = {"data": ["encrypt", "decrypt"], "mac": ["sign", "verify"], "sign": ["sign"], "transport": ["unwrap"]}
STRENGTHS = {"aes-256": 256, "aes-192": 192, "aes-128": 128, "hmac-sha256": 256, "hmac-sha384": 256, "hmac-sha512": 256, "ec-p256": 128}


def header(keks, records, waivers=()):
    return {"kmbundle": 1, "kind": "keys", "id": "0f0e0d0c-0b0a-4908-8706-050403020100", "created": "2026-11-23T20:00:00Z", "creator": "corpus 1",
            "token": {"label": "vault", "serial": "1234", "manufacturer": "Émile & Söhne", "model": "M1", "hardware": True},
            "recipients": [kek.recipient() for kek in keks], "records": records, "waivers": list(waivers)}


def record(keks, name, seed, *, role="data", kind="aes-256", value=None, spki=None, state="active", expires="2027-11-23T20:00:00Z", version=3):
    secret = spki is None
    size = {"aes-256": 32, "aes-192": 24, "aes-128": 16, "hmac-sha256": 32, "hmac-sha384": 48, "hmac-sha512": 64}.get(kind)
    value = pattern(size, seed) if value is None else value
    key = {"name": name, "version": version, "id": pattern(16, seed).hex(), "class": "secret" if secret else "pair", "type": kind, "role": role,
           "strength": STRENGTHS[kind], "state": state, "created": "2026-11-23T20:00:00Z", "expires": expires,
           "attributes": {"extractable": True, "local": True, "always_sensitive": True, "never_extractable": False, "usage": USAGES[role]},
           "public": None if secret else b64(spki), "plaintext_length": size if secret else None}
    return {"key": key, "wrapped": [b64(kek.wrap(value)) for kek in keks]}


def seals(keks, above):
    message = b"kmbundle-seal-v1\n" + hashlib.sha512(above).digest()
    return {"seals": [{"recipient": i, "algorithm": "HMAC-SHA-256", "value": b64(hmac.digest(kek.seal_key, message, "sha256"))}
                      for i, kek in enumerate(keks)]}


def signature(signer, above):
    return {"signature": {"algorithm": "ecdsa-p256-sha256", "key": signer.fingerprint, "value": b64(signer.sign(above))}}


def finish(lines, keks, signer):
    """Seals and signs the lines (texts without LF) as they stand, right or wrong: the file has just the failure that is in them."""
    above = "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
    above += (compact(seals(keks, above)) + "\n").encode()
    return above + (compact(signature(signer, above)) + "\n").encode()
