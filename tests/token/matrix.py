#!/usr/bin/env python3
"""What works on which token: does kmtool's jobs on SoftHSM, NSS softoken and openCryptoki's soft token, and restores from each to each.

Prints the table; exit 1 where a cell is not what it must be. `tests/proof matrix --readme` puts it into the README.

openCryptoki needs root: its daemon runs in namespaces of its own (mounts, processes, shared memory), so that a machine's own
openCryptoki is neither seen nor touched. Where that cannot be had its column says so.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402

OPENCRYPTOKI = harness.first_file("/usr/lib/*/opencryptoki/libopencryptoki.so.0", "/usr/lib/*/opencryptoki/libopencryptoki.so")
OC_PIN, OC_SO = "9753124", "87654321"
NO = {"opencryptoki": "no home: no ECDSA"}
FAILED = []


class Token:
    """A fresh token and the folder of its home."""

    def __init__(self, name, folder, env, module, args, label, pin):
        self.name, self.dir, self.home = name, folder, folder / "home"
        self.pin = folder / "pin"
        self.pin.write_text(pin + "\n")
        self.pin.chmod(0o600)
        self.env = dict(harness.base_env(folder), **env, KMTOOL_HOME=str(self.home), KMTOOL_PIN_SOURCE=f"file:{self.pin}")
        self.where = ["--module", module, "--token-label", label] + (["--module-args", args] if args else [])

    def run(self, *words, stdin=b""):
        return harness.run_program([harness.BINARY, *words], self.env, stdin)

    def ok(self, *words, stdin=b""):
        result = self.run(*words, stdin=stdin)
        if result.code != 0:
            raise Refused(result)
        return result

    def json(self, *words):
        return self.ok(*words, "--json").json()


class Refused(Exception):
    def __init__(self, result):
        super().__init__(str(result))
        self.result = result


def softhsm(folder):
    token = harness.SoftToken(folder / "hsm")
    return Token("SoftHSM", folder, token.env(), harness.SOFTHSM, "", token.label, harness.PIN)


def nss(folder):
    base = folder / "nss"
    base.mkdir()
    args = f"configdir='sql:{base}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
    token = Token("NSS", folder, {}, harness.NSS, args, "NSS Certificate DB", harness.PIN)
    subprocess.run(["certutil", "-N", "-d", f"sql:{base}", "-f", token.pin], check=True)
    return token


def opencryptoki(folder):
    """In namespaces of our own (see main): an empty token directory, then the daemon, then PINs as pkcsconf asks for them."""
    group = subprocess.run(["getent", "group", "pkcs11"], capture_output=True, text=True, check=True).stdout.split(":")[2]
    for place in ("/dev/shm", "/var/lib/opencryptoki", "/var/lock/opencryptoki"):
        subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    for place in ("/var/lib/opencryptoki/swtok/TOK_OBJ", "/var/lock/opencryptoki/swtok"):
        path = pathlib.Path(place)
        path.mkdir(parents=True)
        for one in (path, *path.parents):
            if "opencryptoki" in str(one):
                os.chown(one, 0, int(group))
                one.chmod(0o770)
    subprocess.run(["pkcsslotd"], check=True)
    time.sleep(0.5)
    answers = (("-I", f"{OC_SO}\nkmtest\n"), ("-P", f"{OC_SO}\n13572468\n13572468\n"), ("-u", "13572468\n2468135\n2468135\n"),
               ("-p", f"2468135\n{OC_PIN}\n{OC_PIN}\n"))
    for flag, text in answers:
        subprocess.run(["pkcsconf", "-c", "3", flag], input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    return Token("openCryptoki", folder, {}, OPENCRYPTOKI, "", "kmtest", OC_PIN)


# -- the jobs: each says in a word what came of it, and throws where it must not fail -----------------------------------------------

ROLES = {"kek": ["aes-256", "aes-192", "aes-128"], "data": ["aes-256", "aes-192", "aes-128"], "mac": ["hmac-sha256", "hmac-sha384", "hmac-sha512"],
         "sign": ["ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-3072"], "transport": ["rsa-3072", "ec-p384", "ec-p521"]}


def short(result):
    """A refusal in a cell: its exit code, and that it speaks."""
    if not result.err.startswith("error: ") or result.code not in (64, 69, 77):
        raise AssertionError(f"not a clear refusal: {result}")
    return f"refused ({result.code})"


def generate(token, role):
    made, refused = [], []
    for kind in ROLES[role]:
        result = token.run("gen", f"g-{role}-{kind}", "--role", role, "--type", kind)
        (made if result.code == 0 else refused).append(kind)
        if result.code != 0:
            short(result)
    return "yes" if not refused else f"but {', '.join(refused)}" if made else "no"


def wrap_kinds(token):
    """Every kind that can leave, in one bundle each; then all of it is restored as a drill."""
    token.ok("gen", "root", "--role", "kek", "--exportable")
    no = []
    kinds = [("data", "aes-256", ()), ("mac", "hmac-sha512", ()), ("sign", "ec-p256", ("--waive", "G-SIGN-BACKUP=matrix")),
             ("sign", "rsa-3072", ("--waive", "G-SIGN-BACKUP=matrix")), ("sign", "ed25519", ("--waive", "G-SIGN-BACKUP=matrix"))]
    for role, kind, waive in kinds:
        name, out = f"w-{kind}", token.dir / f"{kind}.kmb"
        words = ["gen", name, "--role", role, "--type", kind, "--exportable"]
        result = token.run(*words)
        if result.code == 77:  # the rule that must be waived is named by the refusal
            rule = result.err.split("--waive ")[1].split("=")[0] if "--waive " in result.err else waive[1].split("=")[0]
            result = token.run(*words, "--waive", f"{rule}=matrix")
        if result.code == 0:
            result = token.run("wrap", name, "--kek", "root", "--out", out)
        if result.code != 0:
            short(result)
            no.append(kind)
            continue
        if not token.json("unwrap", out, "--check")["checked"]:
            raise AssertionError(f"{kind}: the drill checked nothing")
    return "yes" if not no else f"but {', '.join(no)}"


def main_job(token):
    token.ok("gen", "payments", "--role", "data", "--exportable")
    bundle = token.dir / "p.kmb"
    token.ok("wrap", "payments", "--kek", "root", "--out", bundle)
    verified = token.json("verify", bundle)
    if (verified["signature"], verified["seals"]) != ("ok", ["ok"]):
        raise AssertionError(str(verified))
    token.ok("unwrap", bundle, "--as", "payments-restored", "--activate")
    return token.json("verify", bundle)["structure"].replace("ok", "yes")


def birth(token):
    out = token.dir / "birth.kmb"
    token.ok("gen", "born", "--role", "data", "--backup", out, "--kek", "root")
    if token.run("wrap", "born", "--kek", "root", "--out", token.dir / "no.kmb").code != 77:
        raise AssertionError("a key backed up at birth was wrapped again")
    token.ok("unwrap", out, "--check")
    return "yes"


def rotation(token):
    done = token.json("rotate", "root", "--rewrap", token.dir / "p.kmb")
    if done["rewrapped"][0]["records"] != 1:
        raise AssertionError(str(done))
    token.ok("unwrap", token.dir / "p.kmb", "--check")
    return "yes"


def usage(token):
    text = b"the quick brown fox" * 10000
    (token.dir / "plain").write_bytes(text)
    token.ok("encrypt", "payments", "--in", token.dir / "plain", "--out", token.dir / "sealed")
    token.ok("decrypt", "--in", token.dir / "sealed", "--out", token.dir / "again")
    if (token.dir / "again").read_bytes() != text:
        raise AssertionError("decrypted to something else")
    return "yes"


def signing(token):
    no = []
    for kind in ROLES["sign"]:
        name, signature = f"g-sign-{kind}", token.dir / f"{kind}.sig"
        if token.run("show", name).code != 0:
            no.append(kind)
            continue
        token.ok("sign", name, "--in", token.pin, "--out", signature)
        token.ok("verify-signature", name, "--signature", signature, "--in", token.pin)
    return "yes" if not no else f"but {', '.join(no)}"


def examine(token):
    """Without a home."""
    result = token.run("audit", "keys", *token.where, "--json")
    if result.code != 0:
        raise Refused(result)
    return "yes" if "findings" in result.json() else "no"


def anchored(token):
    return "yes" if token.json("doctor")["healthy"] else "no"


JOBS = [("audit of any token, no home", examine), ("init: signers, anchor", None), ("doctor", anchored)]
JOBS += [(f"gen --role {role}", lambda t, r=role: generate(t, r)) for role in ROLES]
JOBS += [("wrap and restore, by kind", wrap_kinds), ("the main job", main_job), ("backup at birth", birth), ("rotate a KEK, re-wrap", rotation),
         ("encrypt, decrypt", usage), ("sign, verify", signing)]


def column(token):
    cells = {}
    for name, job in JOBS:
        try:
            if job is None:
                result = token.run("init", *token.where)
                if result.code == 69 and token.name == "openCryptoki" and "ECDSA P-256" in result.err:
                    cells[name] = NO["opencryptoki"]
                    break
                if result.code != 0:
                    raise Refused(result)
                cells[name] = "yes"
            else:
                cells[name] = job(token)
        except (Refused, AssertionError, KeyError, IndexError) as error:
            FAILED.append(f"{token.name}, {name}: {error}")
            cells[name] = "FAILED"
    return cells


def restores(source, target):
    """A KEK goes from one token to another under its transport key, and the bundles of the first restore at the second."""
    name = f"from-{source.name.lower()}"
    request, kek, signer = target.dir / "dock.request", target.dir / f"{name}.kek", source.home / "signers/document.pem"
    if not request.exists():
        target.ok("gen", "dock", "--role", "transport", "--type", "rsa-4096")
        request.write_text(target.ok("show", "dock", "--request").out)
    source.ok("signer", "trust", target.home / "signers/document.pem", "--name", target.name.lower())
    source.ok("gen", name, "--role", "kek", "--type", "aes-128", "--exportable")
    source.ok("gen", f"{name}-cargo", "--role", "data", "--type", "aes-128", "--exportable")
    source.ok("wrap", f"{name}-cargo", "--kek", name, "--out", target.dir / f"{name}.kmb")
    source.ok("export-kek", name, "--to-public-key", request, "--out", kek)
    target.ok("import-kek", kek, "--signer", signer, "--using", "dock", "--activate")
    target.ok("unwrap", target.dir / f"{name}.kmb", "--signer", signer)
    return "yes"


def table(tokens):
    columns = {t.name: column(t) for t in tokens}
    for source in tokens:
        for other in tokens:
            if source is other:
                continue
            label = f"restore at {other.name}"
            if NO["opencryptoki"] in (columns[source.name].get("init: signers, anchor"), columns[other.name].get("init: signers, anchor")):
                continue
            try:
                columns[source.name][label] = restores(source, other)
            except (Refused, AssertionError, subprocess.CalledProcessError) as error:
                FAILED.append(f"{source.name} to {other.name}: {error}")
                columns[source.name][label] = "FAILED"
    rows = [name for name, _ in JOBS] + [f"restore at {t.name}" for t in tokens]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [columns[name].get(row, "–") for name in columns]
        if any(cell != "–" for cell in cells):
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions():
    """What Debian's packages of these tokens are here."""
    asked = ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "softhsm2", "libnss3", "opencryptoki"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.rstrip(", ")


def main():
    isolated = os.environ.get("KM_MATRIX_ISOLATED") == "1"
    wanted = OPENCRYPTOKI and shutil.which("pkcsslotd") and os.geteuid() == 0 and os.environ.get("KM_MATRIX_ISOLATED") is None
    if wanted:
        how = ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if subprocess.run([*how, "true"], capture_output=True, check=False).returncode == 0:
            os.execvpe(how[0], [*how, sys.executable, "-B", *sys.argv], dict(os.environ, KM_MATRIX_ISOLATED="1"))
    with tempfile.TemporaryDirectory(prefix="kmtool-matrix-") as scratch:
        tokens = []
        for make in (softhsm, nss) + ((opencryptoki,) if isolated else ()):
            folder = pathlib.Path(scratch) / make.__name__
            folder.mkdir()
            tokens.append(make(folder))
        text = table(tokens)
    if not isolated:
        text += "\n\nopenCryptoki was not run: it needs root and the package opencryptoki."
    print(f"{versions()}\n\n{text}")
    for failure in FAILED:
        print(f"\nFAILED {failure}", file=sys.stderr)
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
