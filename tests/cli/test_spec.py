"""gen --spec: a list of keys that shall exist; a second run changes nothing, differences are said."""

import json

import harness

LIST = """// keys of a shop
{
  "kmspec": 1,
  "keys": [
    {"name": "root", "role": "kek", "owner": "Board"},  /* first: it backs the others up */
    {"name": "payments", "role": "data", "cryptoperiod": "90d", "backup": "payments.kmb", "kek": ["root"]},
    {"name": "cookies", "role": "mac", "type": "hmac-sha512", "count": 3, "application": "shop"},
    {"name": "later", "role": "data", "exportable": true, "activate_at": "2099-01-01T00:00:00Z"}
  ]
}
"""


class Spec(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.file = cls.dir / "lists" / "shop.json"
        cls.file.parent.mkdir()

    def apply(self, text, code=0, *more):
        self.file.write_text(text)
        result = self.kmtool("gen", "--spec", self.file, "--json", *more)
        self.assertEqual(result.code, code, result)
        return result.json() if code < 64 else result.error()

    def test_a_list_and_what_becomes_of_it(self):
        before = self.snapshot(self.home)
        plan = self.apply(LIST, 0, "--dry-run")
        self.assertEqual([k["label"] for k in plan["keys"]], ["root@1", "payments@1", "cookies-0001@1", "cookies-0002@1", "cookies-0003@1", "later@1"])
        self.assertEqual(self.snapshot(self.home), before)

        made = self.apply(LIST)
        self.assertEqual([k["label"] for k in made["keys"]], [k["label"] for k in plan["keys"]])
        self.assertEqual(made["backups"][0]["out"], str(self.file.parent / "payments.kmb"))
        self.ok("unwrap", self.file.parent / "payments.kmb", "--check")

        state, entries = self.snapshot(self.home), len(self.entries(self.home))
        again = self.apply(LIST)
        self.assertEqual((again["keys"], again["differences"], len(again["unchanged"])), ([], [], 6))
        self.assertEqual(self.snapshot(self.home), state)
        self.assertEqual(len(self.entries(self.home)), entries)

        more = self.apply(LIST.replace('"count": 3', '"count": 5').replace('"Board"', '"Council"').replace('"90d"', '"60d"').replace("hmac-sha512", "hmac-sha256"), 1)
        self.assertEqual([k["label"] for k in more["keys"]], ["cookies-0004@1", "cookies-0005@1"])
        found = {(d["name"], d["field"]): (d["wanted"], d["found"]) for d in more["differences"]}
        self.assertEqual(found[("root", "owner")], ("Council", "Board"))
        self.assertEqual(found[("payments", "cryptoperiod")], ("60d", "90d"))
        self.assertEqual(found[("cookies-0001", "type")], ("hmac-sha256", "hmac-sha512"))

        fewer = self.apply(LIST.replace('"count": 3', '"count": 2'), 1)
        self.assertEqual([d for d in fewer["differences"] if d["field"] == "count"], [{"name": "cookies", "field": "count", "wanted": "2", "found": "5"}])
        one = self.apply(LIST.replace('"count": 3, ', ""), 1)
        self.assertEqual((one["keys"], one["differences"][-1]), ([], {"name": "cookies", "field": "count", "wanted": "1", "found": "5"}))

        self.ok("state", "payments", "deactivate", "--reason", "a test", "--yes")
        gone = self.apply(LIST.replace('"count": 3', '"count": 5'), 1)
        self.assertIn({"name": "payments", "field": "state", "wanted": "active", "found": "deactivated"}, gone["differences"])
        said = self.kmtool("gen", "--spec", self.file)
        self.assertIn("differs  payments: state is deactivated, the list has active", said.out)

    def test_strict(self):
        entry = {"name": "x1", "role": "data"}

        def one(**fields):
            return json.dumps({"kmspec": 1, "keys": [dict(entry, **fields)]})

        for text, says in (
            (one(colour="red"), "colour"), (one(role="king"), "role"), (one(type="rsa-4096"), "type"), (one(name="a b"), "name"), (one(backup="f"), "go together"), (one(kek=["root"]), "go together"),
            (one(backup="f", kek=["root"], exportable=True), "exclude"), (one(role="kek", backup="f", kek=["root"]), "pin the recipient"), (one(cryptoperiod="1 month"), "duration"), (one(activate_at="soon"), "time"),
            (one(count=0), "count"), (one(owner=7), "owner"), ('{"kmspec":2,"keys":[]}', "kmspec"), ('{"keys":[]}', "kmspec"), ('{"kmspec":1}', "keys"), ('{"kmspec":1,"keys":[],"keys":[]}', "duplicate"), ("[]", "object"),
            (json.dumps({"kmspec": 1, "keys": [entry, entry]}), "listed twice"), ('{"kmspec":1,"keys":[]} x', ""),
        ):
            error = self.apply(text, 78)
            self.assertIn(says, error["message"], text)
            self.assertIn("shop.json", error["message"])
        self.refused(66, "gen", "--spec", "nowhere.json")
        self.refused(64, "gen", "x", "--spec", self.file)
        self.refused(64, "gen", "--spec", self.file, "--role", "data")
        self.refused(64, "gen", "--spec", self.file, "--exportable")
        self.refused(64, "gen")
        self.refused(64, "gen", "x")
        self.assertNotIn("x1@1", [k["label"] for k in self.ok_json("list")["keys"]])


if __name__ == "__main__":
    harness.main()
