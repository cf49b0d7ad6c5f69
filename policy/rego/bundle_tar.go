package rego

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
)

// Limits of a bundle, beside those of a policy folder.
const (
	MaxBundle    = 16 << 20         // bytes of the file as delivered
	maxUnpacked  = maxTotal + 4<<20 // bytes of the tar archive in it, headers included
	maxMembers   = maxFiles + 2     // files in it: the policy's, the manifest and the signatures
	maxNameBytes = 255              // of a file's name
	endOfArchive = 2 * 512          // zero bytes (POSIX.1-2017, pax)
)

const (
	gzipMagic = "\x1f\x8b"   // RFC 1952 section 2.3.1
	zipMagic  = "PK\x03\x04" // APPNOTE.TXT section 4.3.7
)

// unpackBundle reads the files of a bundle, sorted by name. What decides elsewhere how an archive
// is understood differently by two readers is refused: links, repeated names, names that
// differ in case, more than one gzip member, bytes behind the end.
func unpackBundle(tarball []byte) ([]Source, *Problem) {
	plain, p := inflate(tarball)
	if p != nil {
		return nil, p
	}
	var files []Source
	seen := map[string]string{} // by the name in lower case
	at := bytes.NewReader(plain)
	for r := tar.NewReader(at); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, &Problem{Code: "bundle.tar", Message: "not a complete tar archive: " + err.Error(), Hint: "transfer the bundle again"}
		}
		name, p := entryName(h)
		if p != nil {
			return nil, p
		}
		if old, taken := seen[strings.ToLower(name)]; taken {
			return nil, &Problem{Code: "bundle.name.twice", Message: fmt.Sprintf("the files %q and %q have one name", old, name)}
		}
		seen[strings.ToLower(name)] = name
		if len(seen) > maxMembers {
			return nil, &Problem{Code: "bundle.files", Message: fmt.Sprintf("more than %d files", maxMembers)}
		}
		if h.Size > maxData {
			return nil, &Problem{Code: "bundle.file.size", Message: fmt.Sprintf("the file %q has more than %d MiB", name, maxData>>20), Hint: "split the file"}
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, &Problem{Code: "bundle.tar", Message: fmt.Sprintf("the file %q is cut off: %v", name, err), Hint: "transfer the bundle again"}
		}
		files = append(files, Source{name, text})
	}
	read := plain[:len(plain)-at.Len()]
	switch {
	case len(read) < endOfArchive || !zero(read[len(read)-endOfArchive:]):
		return nil, &Problem{Code: "bundle.tar", Message: "the archive has no end", Hint: "transfer the bundle again"}
	case !zero(plain[len(read):]):
		return nil, &Problem{Code: "bundle.trailing", Message: "there are bytes behind the end of the archive"}
	case len(files) == 0:
		return nil, &Problem{Code: "bundle.empty", Message: "there is no file in the bundle"}
	}
	slices.SortFunc(files, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

func checkSize(tarball []byte) *Problem {
	switch {
	case len(tarball) == 0:
		return &Problem{Code: "bundle.empty", Message: "the file is empty", Hint: "transfer the bundle again"}
	case len(tarball) > MaxBundle:
		return &Problem{Code: "bundle.size", Message: fmt.Sprintf("more than %d MiB", MaxBundle>>20)}
	}
	return nil
}

// inflate unpacks the one gzip member that a bundle is.
func inflate(tarball []byte) ([]byte, *Problem) {
	if p := checkSize(tarball); p != nil {
		return nil, p
	}
	switch {
	case bytes.HasPrefix(tarball, []byte(zipMagic)):
		return nil, &Problem{Code: "bundle.zip", Message: "a ZIP file, not a bundle", Hint: "bundles are made by cordon policy bundle build, or opa build -b"}
	case !bytes.HasPrefix(tarball, []byte(gzipMagic)):
		return nil, &Problem{Code: "bundle.gzip", Message: "not compressed with gzip", Hint: "bundles are made by cordon policy bundle build, or opa build -b"}
	}
	rest := bytes.NewReader(tarball) // an io.ByteReader: gzip takes no byte beyond its member's end
	z, err := gzip.NewReader(rest)
	if err == nil {
		z.Multistream(false)
		var plain []byte
		if plain, err = io.ReadAll(io.LimitReader(z, maxUnpacked+1)); err == nil && len(plain) > maxUnpacked {
			return nil, &Problem{Code: "bundle.unpacked", Message: fmt.Sprintf("unpacks to more than %d MiB", maxUnpacked>>20)}
		} else if err == nil && rest.Len() == 0 {
			return plain, nil
		}
	}
	switch left := tarball[len(tarball)-rest.Len():]; {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return nil, &Problem{Code: "bundle.gzip", Message: "the file is cut off", Hint: "transfer the bundle again"}
	case err != nil:
		return nil, &Problem{Code: "bundle.gzip", Message: "the file is damaged: " + err.Error(), Hint: "transfer the bundle again"}
	case bytes.HasPrefix(left, []byte(gzipMagic)):
		return nil, &Problem{Code: "bundle.gzip.members", Message: "more than one gzip member"}
	}
	return nil, &Problem{Code: "bundle.trailing", Message: "there are bytes behind the end of the compressed data"}
}

// entryName returns the name of a file that may be in a bundle. OPA writes names with a slash
// before them, which means nothing.
func entryName(h *tar.Header) (string, *Problem) {
	name := strings.TrimPrefix(h.Name, "/")
	switch {
	case len(name) > maxNameBytes:
		return "", &Problem{Code: "bundle.name", Message: fmt.Sprintf("a file's name has more than %d bytes: %.40q…", maxNameBytes, h.Name)}
	case h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink:
		return "", &Problem{Code: "bundle.link", Message: fmt.Sprintf("%q is a link", h.Name), Hint: "put the file itself in"}
	case h.Typeflag == tar.TypeDir:
		return "", &Problem{Code: "bundle.file.kind", Message: fmt.Sprintf("%q is a folder of its own", h.Name), Hint: "archive the files only, as cordon policy bundle build and opa build do"}
	case h.Typeflag != tar.TypeReg:
		return "", &Problem{Code: "bundle.file.kind", Message: fmt.Sprintf("%q is no regular file", h.Name)}
	case !fs.ValidPath(name) || name == "." || strings.ContainsFunc(name, func(c rune) bool { return c == '\\' || !unicode.IsPrint(c) }):
		return "", &Problem{Code: "bundle.name", Message: fmt.Sprintf("a bundle holds no file named %q", h.Name)}
	}
	for key := range h.PAXRecords {
		if key != "path" { // sparse files, other sizes and names, links
			return "", &Problem{Code: "bundle.tar", Message: fmt.Sprintf("%q has the archive attribute %q", h.Name, key)}
		}
	}
	return name, expected(name)
}

// expected refuses what is no part of a policy that this package evaluates.
func expected(name string) *Problem {
	if name == manifestName || name == signaturesName {
		return nil
	}
	switch path.Base(name) {
	case "policy.wasm":
		return &Problem{Code: "bundle.wasm", Message: fmt.Sprintf("%q is compiled policy, which nobody can read", name), Hint: "build the bundle without a target"}
	case "plan.json", "plan.pb":
		return &Problem{Code: "bundle.plan", Message: fmt.Sprintf("%q is compiled policy, which nobody can read", name), Hint: "build the bundle without a target"}
	case "patch.json":
		return &Problem{Code: "bundle.delta", Message: "a delta bundle, which cannot be signed", Hint: "build a whole one"}
	}
	hidden := slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return part[0] == '.' })
	if hidden || kind(name) == 0 {
		return &Problem{Code: "bundle.unexpected", Message: fmt.Sprintf("the file %q is no part of a policy", name), Hint: "leave it out"}
	}
	return nil
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
