"""An independent reader and writer of kmtool-encrypted(5), from its manual page: OpenSSL's AES-GCM by ctypes, nothing of kmtool's."""

import ctypes
import ctypes.util
import hashlib
import json
import os

crypto = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
crypto.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
crypto.EVP_aes_256_gcm.restype = ctypes.c_void_p
SET_TAG, GET_TAG = 0x11, 0x10


def gcm(encrypt, key, iv, about, data, tag=b""):
    """The other text; when encrypting with its tag behind it. None where the tag is wrong."""
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    out, final, n = ctypes.create_string_buffer(len(data) + 16), ctypes.create_string_buffer(16), ctypes.c_int()
    try:
        assert crypto.EVP_CipherInit_ex(context, ctypes.c_void_p(crypto.EVP_aes_256_gcm()), None, key, iv, int(encrypt)) == 1
        assert crypto.EVP_CipherUpdate(context, None, ctypes.byref(n), about, len(about)) == 1
        assert crypto.EVP_CipherUpdate(context, out, ctypes.byref(n), data, len(data)) == 1
        text = out.raw[:n.value]
        if not encrypt:
            assert crypto.EVP_CIPHER_CTX_ctrl(context, SET_TAG, 16, tag) == 1
        if crypto.EVP_CipherFinal_ex(context, final, ctypes.byref(n)) != 1:
            return None
        if encrypt:
            assert crypto.EVP_CIPHER_CTX_ctrl(context, GET_TAG, 16, final) == 1
            text += final.raw
        return text
    finally:
        crypto.EVP_CIPHER_CTX_free(context)


def about(header, index, last):
    return hashlib.sha256(header).digest() + index.to_bytes(8, "big") + bytes([last])


def open_file(data, key):
    end = data.index(b"\n") + 1
    header, rest = data[:end], data[end:]
    size = json.loads(header)["chunk"] + 28
    pieces = [rest[at:at + size] for at in range(0, len(rest), size)]
    plain = b""
    for index, piece in enumerate(pieces):
        text = gcm(False, key, piece[:12], about(header, index, index == len(pieces) - 1), piece[12:-16], piece[-16:])
        if text is None:
            raise ValueError(f"chunk {index} does not open")
        plain += text
    return plain


def seal_file(plain, key, fields, empty_end=False):
    header = {"kmencrypted": 1, "key": fields["key"], "version": fields["version"], "id": fields["id"], "cipher": "AES-GCM", "chunk": fields["chunk"],
              "file": os.urandom(16).hex()}
    line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
    size = fields["chunk"]
    pieces = [plain[at:at + size] for at in range(0, len(plain), size)] or [b""]
    if empty_end:
        pieces.append(b"")
    out = line
    for index, piece in enumerate(pieces):
        iv = os.urandom(12)
        out += iv + gcm(True, key, iv, about(line, index, index == len(pieces) - 1), piece)
    return out
