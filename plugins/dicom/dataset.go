package dicom

import (
	"bytes"
	"strings"
)

// Elements of a data set that a decision rests on.
const (
	tagCharacterSet    = 0x00080005
	tagSOPClass        = 0x00080016
	tagSOPInstance     = 0x00080018
	tagAccession       = 0x00080050
	tagLevel           = 0x00080052
	tagView            = 0x00080053
	tagModality        = 0x00080060
	tagTimezone        = 0x00080201
	tagStation         = 0x00081010
	tagReferenced      = 0x00081155
	tagTransaction     = 0x00081195
	tagReferencedItems = 0x00081199
	tagPatientID       = 0x00100020
	tagIssuer          = 0x00100021
	tagStudy           = 0x0020000d
	tagScheduledAE     = 0x00400001
	tagScheduledStep   = 0x00400100
)

// wanted are the text elements that become facts, and their value representations.
var wanted = map[uint32]struct{ name, vr string }{
	tagAccession: {"accession_number", "SH"},
	tagLevel:     {"query_level", "CS"},
	tagModality:  {"modality", "CS"},
	tagStation:   {"station_name", "SH"},
	tagPatientID: {"patient_id", "LO"},
	tagIssuer:    {"issuer_of_patient_id", "LO"},
}

const (
	maxReferences = 512
	maxKeys       = 512
)

// found is what a head told.
type found struct {
	quirks     anomaly
	set        encoding
	texts      []element // of wanted
	sopClass   []string
	instances  []string
	studies    []string
	series     []string
	scheduled  []string // AE titles
	commitment []string // transaction
	references []string // instances
	referenced int      // how many
	keys       []string // that constrain a query
	universal  int      // keys that do not
	matched    int      // keys that do
}

type element struct {
	tag   uint32
	value string
}

// element takes the value of one element.
func (h *head) element(l *level, tag uint32, vr string, value []byte) {
	if h.query && tag&0xffff != 0 {
		h.key(l, tag, value)
	}
	switch {
	case l.sequence == tagReferencedItems && tag == tagReferenced:
		h.referenced++
		if list := h.uids(value, vr); len(h.references) < maxReferences {
			h.references = append(h.references, list...)
		}
	case l.sequence == tagScheduledStep && tag == tagScheduledAE:
		h.aes(value)
	case len(h.stack) > 1:
	case tag == tagCharacterSet:
		h.set = encodingOf(value)
	case tag == tagSOPClass:
		h.sopClass = h.uids(value, vr)
	case tag == tagSOPInstance:
		h.instances = h.uids(value, vr)
	case tag == tagTransaction:
		h.commitment = h.uids(value, vr)
	case tag == tagStudy:
		h.studies = h.uids(value, vr)
	case tag == tagSeries:
		h.series = h.uids(value, vr)
	default:
		w, ok := wanted[tag]
		switch {
		case !ok, h.query && isUniversal(value):
		case vr != "" && vr != w.vr && vr != "UN":
			h.fail("data set with an element of another kind than its tag says")
		case len(value) > maxValue:
			h.fail("data set with an identifier that is too long")
		default:
			h.texts = append(h.texts, element{tag, string(value)})
		}
	}
}

// uids reads a list of UIDs. In a query a single asterisk means none.
func (h *head) uids(value []byte, vr string) (list []string) {
	if vr != "" && vr != "UI" && vr != "UN" {
		h.fail("data set with an element of another kind than its tag says")
		return nil
	}
	if h.query && isUniversal(value) || len(tail(value)) == 0 {
		return nil
	}
	for one := range bytes.SplitSeq(value, []byte{'\\'}) {
		text, quirks, ok := uid(one)
		h.quirks |= quirks
		if !ok {
			h.fail("data set with a UID that is none")
			return nil
		}
		list = append(list, text)
	}
	return list
}

func (h *head) aes(value []byte) {
	if isUniversal(value) {
		return
	}
	for one := range bytes.SplitSeq(value, []byte{'\\'}) {
		text, quirks, ok := aeTitle(one)
		h.quirks |= quirks
		if !ok {
			h.fail("data set with an AE title that is none")
			return
		}
		h.scheduled = append(h.scheduled, text)
	}
}

// isUniversal reports whether a key matches everything: it is empty, or nothing but
// asterisks (PS3.4 C.2.2.2).
func isUniversal(value []byte) bool { return len(bytes.Trim(value, "* \x00")) == 0 }

// key counts a query's key.
func (h *head) key(l *level, tag uint32, value []byte) {
	switch {
	case len(h.stack) == 1 && (tag == tagCharacterSet || tag == tagLevel || tag == tagView || tag == tagTimezone):
	case isUniversal(value):
		h.universal++
	default:
		h.matched++
		if len(h.keys) < maxKeys {
			name := tagName(tag)
			if len(h.stack) > 1 {
				name = tagName(l.sequence) + ">" + name
			}
			h.keys = addOnce(h.keys, name)
		}
	}
}

// describe adds what the head told to the facts, and says what is wrong with it.
func (h *head) describe(c *command, f *facts, instance *string) *fault {
	if h.state == unreadable { // and what was read of it may mean something else
		f.quirks |= headUnreadable
		return nil
	}
	f.quirks |= h.quirks
	for _, e := range h.texts {
		f.text(wanted[e.tag].name, []byte(e.value), h.set)
	}
	f.uids("study_instance_uid", h.studies)
	f.uids("series_instance_uid", h.series)
	switch {
	case h.state == wrong:
		return c.cannot(h.why)
	case h.state == cut && c.isQuery():
		return c.cannot("query longer than can be read for a decision")
	case h.state == cut:
		f.quirks |= headCut
	}
	switch {
	case c.field == cStore:
		if h.sopClass != nil && !is(h.sopClass, c.sopClass) || h.instances != nil && !is(h.instances, c.sopInstance) {
			return &fault{statusMismatch, "data set of another SOP class or instance than the command's"}
		}
	case c.isQuery():
		if len(h.instances) > 0 {
			f.uids("sop_instance_uid", h.instances)
			*instance = ""
		}
		f.uids("scheduled_ae", h.scheduled)
		f.strings("query_keys", h.keys)
		f.set("query_breadth", int64(h.matched))
		f.set("return_keys", int64(h.universal))
		if len(h.keys) == maxKeys {
			return c.cannot("query with too many keys")
		}
	case h.referenced > 0 && h.state == known:
		f.set("referenced_count", int64(h.referenced))
		if size := len(strings.Join(h.references, "   ")); len(h.references) != h.referenced || size > f.room-1024 {
			f.quirks |= referencesCut
		} else {
			f.strings("referenced_sop_instances", h.references)
		}
	}
	return nil
}

// uids adds one UID, or title, as text and several as a list.
func (f *facts) uids(name string, list []string) {
	if len(list) == 1 {
		f.set(name, list[0])
		return
	}
	f.strings(name, list)
}

func is(list []string, s string) bool { return len(list) == 1 && list[0] == s }

// isQuery reports whether a command's data set is an identifier.
func (c *command) isQuery() bool { return c.field == cFind || c.field == cGet || c.field == cMove }

// readsAll reports whether a command's data set is read to its end, and not only up to the
// series: N-CREATE and N-SET may carry an image to be printed.
func (c *command) readsAll() bool {
	return c.isQuery() || c.field == nAction || c.field == nEventReport
}
