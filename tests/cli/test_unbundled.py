"""A key that was wrapped once and rotated since: the version in use is in no bundle, and both rotate and monitor say so."""

import harness


class Unbundled(harness.Rotation):
    def wrapped(self, name):
        path = self.dir / f"{name}.kmb"
        self.ok("gen", name, "--role", "data", "--exportable")
        self.ok("wrap", name, "--kek", "root", "--out", path)
        return path

    def warned(self):
        return [line for line in self.kmtool("monitor", "-v").out.splitlines() if "is in no bundle" in line]

    def test_it_is_said_until_it_is_wrapped(self):
        self.wrapped("ex")
        self.ok("gen", "never", "--role", "data", "--exportable")
        self.ok("gen", "born", "--role", "data", "--backup", self.dir / "born.kmb", "--kek", "root")
        self.assertEqual(self.warned(), [])
        says = "ex@2 is in no bundle; ex@1 is: kmtool wrap ex --kek KEK --out FILE"
        for dry in (["--dry-run"], []):
            self.assertIn(f"warning: {says}\n", self.ok("rotate", "ex", *dry).err)
        self.assertNotIn("in no bundle", self.ok("rotate", "never").err)
        self.assertNotIn("in no bundle", self.ok("rotate", "born", "--backup", self.dir / "born2.kmb").err)
        look = self.kmtool("monitor", "-v")
        self.assertEqual(look.code, 1, look)
        self.assertIn("1 active key is in no bundle, an older version is |", look.out)
        self.assertEqual(self.warned()[-1], says)
        self.ok("rotate", "root", "--rewrap-all")  # goes on with what bundles hold
        self.assertEqual(self.warned()[-1], says)
        self.ok("wrap", "ex", "--kek", "root", "--out", self.dir / "ex2.kmb")
        self.assertEqual(self.warned(), [])

    def test_several(self):
        for name in ("one", "two"):
            self.wrapped(name)
        self.ok("rotate", "one", "--overlap", "1d")
        self.assertIn("one@3, two@2 are in no bundle; one@1, two@1 are: kmtool wrap one two --kek KEK --out FILE", self.ok("rotate", "one", "two", "--overlap", "1d").err)
        said = self.warned()
        self.assertIn("one@2 is in no bundle; one@1 is: kmtool wrap one@2 --kek KEK --out FILE", said)
        self.ok("wrap", "one@2", "one", "two", "--kek", "root", "--out", self.dir / "both.kmb")

    def test_a_copy_under_another_name(self):
        """It is in the bundle under the name that it had."""
        path = self.wrapped("first")
        self.ok("unwrap", path, "--as", "second", "--activate")
        self.assertEqual([line for line in self.warned() if "second" in line], [])


if __name__ == "__main__":
    harness.main()
