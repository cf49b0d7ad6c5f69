package daemon

import (
	"runtime"
	"runtime/debug"
)

// BuildInfo says which build this is.
type BuildInfo struct {
	Schema   string `json:"schema"`
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"` // built from a changed checkout
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Build reads which build this process is.
func Build() BuildInfo {
	b := BuildInfo{Schema: "cordon.version/v1", Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
