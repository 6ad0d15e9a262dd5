"""A caller of a PKCS#11 module by ctypes: makes one of each call that kmforward can lie about, and prints what was answered.

    client.py MODULE TOKEN-LABEL PIN      one JSON object: for each call its CKR, and what it answered
"""

import ctypes
import json
import sys

ULONG = ctypes.c_ulong
NAMES = """C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo C_GetMechanismList
C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState
C_SetOperationState C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue
C_FindObjectsInit C_FindObjects C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit C_Decrypt
C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal
C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover
C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey
C_DeriveKey C_SeedRandom C_GenerateRandom""".split()
CKA_CLASS, CKA_TOKEN, CKA_LABEL, CKA_ENCRYPT, CKA_VALUE_LEN, CKO_SECRET_KEY = 0, 1, 3, 0x104, 0x161, 4
CKM_AES_KEY_GEN, CKM_AES_ECB = 0x1080, 0x1081
GUARD = b"\xee" * 64


class Attribute(ctypes.Structure):
    _fields_ = [("type", ULONG), ("value", ctypes.c_void_p), ("length", ULONG)]


class Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", ULONG), ("parameter", ctypes.c_void_p), ("length", ULONG)]


class Module:
    def __init__(self, path):
        library = ctypes.CDLL(path)
        table = ctypes.c_void_p()
        if library.C_GetFunctionList(ctypes.byref(table)) != 0:
            raise SystemExit("no function list")
        entries = ctypes.cast(table.value + 8, ctypes.POINTER(ctypes.c_void_p))  # behind the version
        self.entries = {name: entries[i] for i, name in enumerate(NAMES)}
        self.answers = {}

    def call(self, name, *args, key=None):
        function = ctypes.CFUNCTYPE(ULONG, *[type(a) if not isinstance(a, ctypes.Array) else ctypes.c_void_p for a in args])(self.entries[name])
        given = [ctypes.cast(a, ctypes.c_void_p) if isinstance(a, ctypes.Array) else a for a in args]
        rv = function(*given)
        self.answers.setdefault(key or name, {})["rv"] = rv
        return rv


def pointer(thing):
    return ctypes.cast(ctypes.byref(thing), ctypes.c_void_p)


class Buffer:
    """The module is told of `size` octets; behind them lies a guard."""

    def __init__(self, size):
        self.memory = ctypes.create_string_buffer(b"\0" * size + GUARD, size + len(GUARD))
        self.size = size
        self.length = ULONG(size)

    def result(self):
        if self.memory.raw[self.size:] != GUARD:
            raise SystemExit("the module wrote beyond the buffer")
        return {"length": self.length.value, "octets": self.memory.raw[: min(self.length.value, self.size)].hex()}


def attributes(*pairs):
    array = (Attribute * len(pairs))()
    for one, (kind, value) in zip(array, pairs):
        one.type, one.value, one.length = kind, ctypes.cast(value, ctypes.c_void_p), ctypes.sizeof(value)
    return array


def slot_of(module, label):
    slots, info = Buffer(64 * 8), Buffer(256)
    slots.length = ULONG(64)
    module.call("C_GetSlotList", ctypes.c_ubyte(1), pointer(slots.memory), pointer(slots.length))
    module.answers["C_GetSlotList"]["length"] = slots.length.value
    for i in range(min(slots.length.value, 64)):
        slot = int.from_bytes(slots.memory.raw[8 * i: 8 * i + 8], "little")
        if module.call("C_GetTokenInfo", ULONG(slot), pointer(info.memory)) == 0:
            module.answers["C_GetTokenInfo"].setdefault("octets", []).append(info.memory.raw[:32].hex())
            if info.memory.raw[:32].rstrip() == label.encode():
                return slot
    return int.from_bytes(slots.memory.raw[:8], "little")


def make_and_use_key(module, session):
    yes, size = (ctypes.c_ubyte * 1)(1), (ULONG * 1)(32)
    template = attributes((CKA_ENCRYPT, yes), (CKA_VALUE_LEN, size))
    keys, making, using = [], Mechanism(CKM_AES_KEY_GEN, None, 0), Mechanism(CKM_AES_ECB, None, 0)
    for key in ("first key", "C_GenerateKey"):
        handle = ULONG(0)
        module.call("C_GenerateKey", session, pointer(making), template, ULONG(2), pointer(handle), key=key)
        keys.append(handle)
        module.answers[key]["handle"] = handle.value
    module.answers["C_GenerateKey"]["step"] = keys[1].value - keys[0].value
    sealed = Buffer(64)
    module.call("C_EncryptInit", session, pointer(using), keys[0])
    module.call("C_Encrypt", session, (ctypes.c_ubyte * 32)(), ULONG(32), pointer(sealed.memory), pointer(sealed.length))
    module.answers["C_Encrypt"].update(sealed.result())


def main():
    module = Module(sys.argv[1])
    module.call("C_Initialize", ctypes.c_void_p(None))
    slot = slot_of(module, sys.argv[2])
    session = ULONG(0)
    module.call("C_OpenSession", ULONG(slot), ULONG(6), ctypes.c_void_p(None), ctypes.c_void_p(None), pointer(session))
    pin = sys.argv[3].encode()
    module.call("C_Login", session, ULONG(1), ctypes.create_string_buffer(pin, len(pin)), ULONG(len(pin)))

    secret = (ULONG * 1)(CKO_SECRET_KEY)
    module.call("C_FindObjectsInit", session, attributes((CKA_CLASS, secret)), ULONG(1))
    found, count = Buffer(8 * 8), ULONG(0)
    module.call("C_FindObjects", session, pointer(found.memory), ULONG(8), pointer(count))
    found.length = ULONG(min(count.value, 8) * 8)
    module.answers["C_FindObjects"].update(count=count.value, octets=found.result()["octets"])
    module.call("C_FindObjectsFinal", session)
    key = int.from_bytes(found.memory.raw[:8], "little")

    label, flag = Buffer(16), Buffer(1)
    wanted = (Attribute * 2)(Attribute(CKA_LABEL, pointer(label.memory), 16), Attribute(CKA_TOKEN, pointer(flag.memory), 1))
    module.call("C_GetAttributeValue", session, ULONG(key), wanted, ULONG(2))
    label.length, flag.length = ULONG(wanted[0].length), ULONG(wanted[1].length)
    module.answers["C_GetAttributeValue"].update(items=[label.result(), flag.result()])

    random = Buffer(16)
    module.call("C_GenerateRandom", session, pointer(random.memory), ULONG(16))
    module.answers["C_GenerateRandom"].update(random.result())
    make_and_use_key(module, session)
    module.call("C_CloseSession", session)
    module.call("C_Finalize", ctypes.c_void_p(None))
    print(json.dumps(module.answers))


if __name__ == "__main__":
    main()
