// Verifies an exported record and proof files with golang.org/x/mod/sumdb alone: another implementation of signed notes, tiles and proofs.
//
//	sumdb_check DIR [INCLUSION-PROOF]... [CONSISTENCY-PROOF OLD-CHECKPOINT]
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "sumdb_check:", err)
		os.Exit(1)
	}
}

func read(name string) []byte {
	data, err := os.ReadFile(name)
	must(err)
	return data
}

// open checks the signature and gives size and root.
func open(text []byte, verifier note.Verifier) tlog.Tree {
	opened, err := note.Open(text, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		must(fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), opened.Text))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree
}

func hashes(lines []string) []tlog.Hash {
	var out []tlog.Hash
	for _, line := range lines {
		data, err := base64.StdEncoding.DecodeString(line)
		must(err)
		var hash tlog.Hash
		copy(hash[:], data)
		out = append(out, hash)
	}
	return out
}

type folder struct{ dir string }

func (f folder) Height() int { return 8 }
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(f.dir, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}
func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

// entries reads the bundles; their names are those of the lowest tiles.
func (f folder) entries(n int64) [][]byte {
	var out [][]byte
	for first := int64(0); first < n; first += 256 {
		width := int(n - first)
		if width > 256 {
			width = 256
		}
		path := strings.Replace(tlog.Tile{H: 8, L: 0, N: first / 256, W: width}.Path(), "tile/8/0/", "tile/entries/", 1)
		data := read(filepath.Join(f.dir, path))
		for len(data) >= 2 {
			size := int(data[0])<<8 | int(data[1])
			out = append(out, data[2:2+size])
			data = data[2+size:]
		}
	}
	return out
}

func main() {
	dir := os.Args[1]
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(filepath.Join(dir, "signer.vkey")))))
	must(err)
	tree := open(read(filepath.Join(dir, "checkpoint")), verifier)
	reader := tlog.TileHashReader(tree, folder{dir})
	entries := folder{dir}.entries(tree.N)
	if int64(len(entries)) != tree.N {
		must(fmt.Errorf("%d entries instead of %d", len(entries), tree.N))
	}
	for i, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(i), reader)
		must(err)
		must(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(i), tlog.RecordHash(entry)))
	}
	for n := int64(1); n <= tree.N; n++ {
		old, err := tlog.TreeHash(n, reader)
		must(err)
		proof, err := tlog.ProveTree(tree.N, n, reader)
		must(err)
		must(tlog.CheckTree(proof, tree.N, tree.Hash, n, old))
	}
	fmt.Printf("%d entries, inclusion and consistency\n", tree.N)
	for _, name := range os.Args[2:] {
		data := read(name)
		parts := bytes.SplitN(data, []byte("\n\n"), 2)
		lines := strings.Split(string(parts[0]), "\n")
		switch {
		case lines[0] == "c2sp.org/tlog-proof@v1":
			entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
			must(err)
			index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
			must(err)
			under := open(parts[1], verifier)
			must(tlog.CheckRecord(tlog.RecordProof(hashes(lines[3:])), under.N, under.Hash, index, tlog.RecordHash(entry)))
			fmt.Printf("inclusion of %d\n", index)
		case strings.HasPrefix(lines[0], "old "):
			old := open(read(os.Args[len(os.Args)-1]), verifier)
			under := open(parts[1], verifier)
			must(tlog.CheckTree(tlog.TreeProof(hashes(lines[1:])), under.N, under.Hash, old.N, old.Hash))
			fmt.Printf("consistency from %d to %d\n", old.N, under.N)
		default: // the old checkpoint itself
			open(data, verifier)
		}
	}
}
