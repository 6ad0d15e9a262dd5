"""A stranger's raw PKCS#11 calls, to make on a token what no good tool would. Standard library only (ctypes on a 64-bit host)."""

import ctypes
import pathlib

ULONG = ctypes.c_ulong
CLASS = {"data": 0, "cert": 1, "public": 2, "private": 3, "secret": 4}
TYPE = {"rsa": 0x0, "dsa": 0x1, "ec": 0x3, "generic": 0x10, "rc4": 0x12, "des": 0x13, "des2": 0x14, "des3": 0x15, "aes": 0x1F}
MECHANISM = {"rsa": 0x0, "aes": 0x1080, "des": 0x120, "des2": 0x130, "des3": 0x131, "generic": 0x350, "ec": 0x1040}
NAMES = {
    "class": 0x0, "token": 0x1, "private": 0x2, "label": 0x3, "application": 0x10, "value": 0x11, "certificate_type": 0x80, "issuer": 0x81,
    "serial_number": 0x82, "trusted": 0x86, "key_type": 0x100, "subject": 0x101, "id": 0x102, "sensitive": 0x103, "encrypt": 0x104,
    "decrypt": 0x105, "wrap": 0x106, "unwrap": 0x107, "sign": 0x108, "sign_recover": 0x109, "verify": 0x10A, "verify_recover": 0x10B,
    "derive": 0x10C, "start_date": 0x110, "end_date": 0x111, "modulus": 0x120, "modulus_bits": 0x121, "public_exponent": 0x122,
    "value_len": 0x161, "extractable": 0x162, "modifiable": 0x170, "copyable": 0x171, "ec_params": 0x180, "ec_point": 0x181,
    "wrap_with_trusted": 0x210,
}  # fmt: skip
P256 = bytes.fromhex("06082a8648ce3d030107")
P192 = bytes.fromhex("06082a8648ce3d030101")
SECP256K1 = bytes.fromhex("06052b8104000a")


class Attribute(ctypes.Structure):
    _fields_ = [("type", ULONG), ("value", ctypes.c_void_p), ("length", ULONG)]


class Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", ULONG), ("parameter", ctypes.c_void_p), ("length", ULONG)]


def template(attributes):
    """A CK_ATTRIBUTE array; the buffers live as long as the array does."""
    array = (Attribute * len(attributes))()
    array.buffers = []
    for slot, (name, value) in zip(array, attributes.items()):
        if isinstance(value, bool):
            value = bytes([value])
        elif isinstance(value, int):
            value = value.to_bytes(ctypes.sizeof(ULONG), "little")
        elif isinstance(value, str):
            value = value.encode()
        buffer = ctypes.create_string_buffer(value, len(value)) if value else None
        array.buffers.append(buffer)
        slot.type, slot.value, slot.length = NAMES[name], ctypes.cast(buffer, ctypes.c_void_p), len(value)
    return array


class Session:
    """A logged-in read-write session on the token with this label. SOFTHSM2_CONF must be set before the module is loaded."""

    def __init__(self, module, label, pin, user=1):
        self.library = ctypes.CDLL(module)
        self.call("C_Initialize", None)
        count = ULONG(64)
        slots = (ULONG * 64)()
        self.call("C_GetSlotList", ctypes.c_ubyte(1), slots, ctypes.byref(count))
        self.slot = next(s for s in slots[: count.value] if self.label_of(s) == label)
        self.handle = ULONG()
        self.call("C_OpenSession", ULONG(self.slot), ULONG(6), None, None, ctypes.byref(self.handle))
        self.login(pin, user)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call("C_Finalize", None)

    def call(self, name, *arguments):
        function = getattr(self.library, name)
        function.restype = ULONG
        code = function(*arguments)
        if code != 0:
            raise RuntimeError(f"{name}: {code:#x}")

    def label_of(self, slot):
        info = ctypes.create_string_buffer(512)
        self.call("C_GetTokenInfo", ULONG(slot), info)
        return info.raw[:32].decode("utf-8", "replace").rstrip()

    def login(self, pin, user=1):
        self.call("C_Login", self.handle, ULONG(user), pin.encode(), ULONG(len(pin)))

    def logout(self):
        self.call("C_Logout", self.handle)

    def create(self, kind, **attributes):
        made = template({"class": CLASS[kind], "token": True, **attributes})
        handle = ULONG()
        self.call("C_CreateObject", self.handle, made, ULONG(len(made)), ctypes.byref(handle))
        return handle

    def generate(self, kind="aes", length=32, **attributes):
        known = {} if kind.startswith("des") else {"value_len": length}
        made = template({"token": True, **known, **attributes})
        handle = ULONG()
        mechanism = Mechanism(MECHANISM[kind], None, 0)
        self.call("C_GenerateKey", self.handle, ctypes.byref(mechanism), made, ULONG(len(made)), ctypes.byref(handle))
        return handle

    def pair(self, kind, public, private):
        numbers = {"modulus_bits": public.pop("bits"), "public_exponent": public.pop("exponent", b"\1\0\1")} if kind == "rsa" else {}
        one, two = template({"token": True, **numbers, **public}), template({"token": True, **private})
        handles = ULONG(), ULONG()
        mechanism = Mechanism(MECHANISM[kind], None, 0)
        self.call("C_GenerateKeyPair", self.handle, ctypes.byref(mechanism), one, ULONG(len(one)), two, ULONG(len(two)),
                  ctypes.byref(handles[0]), ctypes.byref(handles[1]))  # fmt: skip
        return handles

    def set(self, handle, **attributes):
        made = template(attributes)
        self.call("C_SetAttributeValue", self.handle, handle, made, ULONG(len(made)))

    def copy(self, handle, **attributes):
        made = template(attributes)
        out = ULONG()
        self.call("C_CopyObject", self.handle, handle, made, ULONG(len(made)), ctypes.byref(out))
        return out

    def destroy(self, handle):
        self.call("C_DestroyObject", self.handle, handle)

    def count(self):
        """Objects that this session sees."""
        self.call("C_FindObjectsInit", self.handle, None, ULONG(0))
        total, got = 0, ULONG(1)
        room = (ULONG * 1024)()
        while got.value:
            self.call("C_FindObjects", self.handle, room, ULONG(1024), ctypes.byref(got))
            total += got.value
        self.call("C_FindObjectsFinal", self.handle)
        return total


def read(path):
    return pathlib.Path(path).read_bytes()
