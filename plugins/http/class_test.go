package http

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// Every class, allowed and refused.
func TestClasses(t *testing.T) {
	const paths = `{"paths":[
		{"exact":"/reboot","method":"GET","class":"control"},
		{"prefix":"/firmware","class":"admin"},
		{"prefix":"/alarms/","class":"notify"},
		{"prefix":"/login","method":"POST","class":"session"},
		{"prefix":"/trace","method":"TRACE","class":"read"},
		{"prefix":"/dav","method":"other","class":"write"},
		{"exact":"/live","method":"upgrade-websocket","class":"read"}]}`
	websocket := []string{"Connection: Upgrade", "Upgrade: websocket"}
	for _, test := range []struct {
		sent  string
		name  string
		class policy.Class
	}{
		{get("/"), "http:GET", policy.ClassRead},
		{ask("HEAD", "/"), "http:HEAD", policy.ClassRead},
		{ask("OPTIONS", "*"), "http:OPTIONS", policy.ClassRead},
		{post("/", "x"), "http:POST", policy.ClassWrite},
		{ask("PUT", "/"), "http:PUT", policy.ClassWrite},
		{ask("PATCH", "/"), "http:PATCH", policy.ClassWrite},
		{ask("DELETE", "/"), "http:DELETE", policy.ClassAdmin},
		{ask("PROPFIND", "/"), "http:PROPFIND", policy.ClassQuery},
		{ask("TRACE", "/"), "http:TRACE", policy.ClassUnknown},
		{lines("CONNECT a:1 HTTP/1.1", "Host: a:1"), "http:CONNECT", policy.ClassUnknown},
		{ask("get", "/"), "http:other", policy.ClassUnknown},
		{ask("BREW", "/"), "http:other", policy.ClassUnknown},
		{get("/", websocket...), "http:upgrade-websocket", policy.ClassUnknown},
		{get("/", "Connection: Upgrade", "Upgrade: h2c"), "http:upgrade", policy.ClassUnknown},
		{get("/", "Connection: Upgrade", "Upgrade: websocket, h2c"), "http:upgrade", policy.ClassUnknown},
		{ask("POST", "/", websocket...), "http:upgrade", policy.ClassUnknown},
		{ask("POST", "/", "X-HTTP-Method-Override: DELETE"), "http:POST", policy.ClassUnknown},
		{ask("POST", "/?_method=DELETE"), "http:POST", policy.ClassUnknown},

		{get("/reboot"), "http:GET", policy.ClassControl},
		{get("/%72eboot"), "http:GET", policy.ClassControl},
		{get("/reboot?now"), "http:GET", policy.ClassControl},
		{get("/reboot/"), "http:GET", policy.ClassRead},
		{ask("POST", "/reboot"), "http:POST", policy.ClassWrite},
		{get("/firmware"), "http:GET", policy.ClassAdmin},
		{get("/firmware/a"), "http:GET", policy.ClassAdmin},
		{get("/firmware-notes"), "http:GET", policy.ClassRead},
		{ask("POST", "/firmware", "X-HTTP-Method: GET"), "http:POST", policy.ClassUnknown},
		{ask("TRACE", "/firmware"), "http:TRACE", policy.ClassUnknown},
		{ask("TRACE", "/trace"), "http:TRACE", policy.ClassRead},
		{ask("BREW", "/firmware"), "http:other", policy.ClassUnknown},
		{ask("BREW", "/dav/x"), "http:other", policy.ClassWrite},
		{get("/firmware", websocket...), "http:upgrade-websocket", policy.ClassUnknown},
		{get("/live", websocket...), "http:upgrade-websocket", policy.ClassRead},
		{get("/alarms/1"), "http:GET", policy.ClassNotify},
		{get("/alarms"), "http:GET", policy.ClassRead},
		{post("/login", "x"), "http:POST", policy.ClassSession},
	} {
		line, _, _ := strings.Cut(test.sent, "\r\n")
		t.Run(line, func(t *testing.T) {
			refusal := forbidden
			switch {
			case strings.HasPrefix(test.name, "http:upgrade") || test.name == "http:CONNECT":
				refusal = farewell
			case test.name == "http:HEAD":
				refusal = forbidden[:strings.Index(forbidden, "\r\n\r\n")+4]
			}
			conformance.Run(t, Protocol(), paths,
				conformance.Named("allowed").Forward(test.sent).WantOperation(test.name, test.class).WantForward(test.sent),
				conformance.Named("refused").Forward(test.sent).Refused(1).WantForward("").WantReverse(refusal))
		})
	}
}

func TestFHIR(t *testing.T) {
	for _, test := range []struct {
		request string // method and path below the base
		name    string
		class   policy.Class
		facts   string // resource, id, compartment, operation
	}{
		{"GET ", "search", policy.ClassQuery, "   "},
		{"GET /metadata", "capabilities", policy.ClassRead, "   "},
		{"OPTIONS /metadata", "capabilities", policy.ClassRead, "   "},
		{"GET /Patient?name=Doe&_count=3", "search", policy.ClassQuery, "Patient   "},
		{"GET /Patient/", "search", policy.ClassQuery, "Patient   "},
		{"POST /Patient/_search", "search", policy.ClassQuery, "Patient   "},
		{"POST /_search", "search", policy.ClassQuery, "   "},
		{"GET /Patient/4711", "read", policy.ClassRead, "Patient 4711  "},
		{"HEAD /Patient/4711", "read", policy.ClassRead, "Patient 4711  "},
		{"GET /Patient/4711/_history/2", "vread", policy.ClassRead, "Patient 4711  "},
		{"GET /Patient/4711/_history", "history", policy.ClassRead, "Patient 4711  "},
		{"GET /Patient/_history", "history", policy.ClassRead, "Patient   "},
		{"GET /_history", "history", policy.ClassRead, "   "},
		{"GET /Patient/4711/Observation", "search", policy.ClassQuery, "Observation  Patient/4711 "},
		{"GET /Patient/4711/*", "search", policy.ClassQuery, "  Patient/4711 "},
		{"GET /Patient/4711/$everything", "operation", policy.ClassRead, "Patient 4711  $everything"},
		{"POST /Observation/$lastn", "operation", policy.ClassWrite, "Observation   $lastn"},
		{"POST /$process-message", "operation", policy.ClassWrite, "   $process-message"},
		{"POST /Patient", "create", policy.ClassWrite, "Patient   "},
		{"POST ", "batch", policy.ClassAdmin, "   "},
		{"PUT /Patient/4711", "update", policy.ClassWrite, "Patient 4711  "},
		{"PUT /Patient?identifier=1", "update", policy.ClassWrite, "Patient   "},
		{"PATCH /Patient/4711", "patch", policy.ClassWrite, "Patient 4711  "},
		{"DELETE /Patient/4711", "delete", policy.ClassAdmin, "Patient 4711  "},
		{"DELETE /Patient?identifier=1", "delete", policy.ClassAdmin, "Patient   "},

		{"DELETE ", "delete", policy.ClassAdmin, "   "},
		{"PUT ", "unknown", policy.ClassUnknown, "   "},
		{"POST /Patient/4711", "unknown", policy.ClassUnknown, "Patient 4711  "},
		{"GET /patient/4711", "unknown", policy.ClassUnknown, "   "},
		{"GET /Patient/a%20b", "unknown", policy.ClassUnknown, "Patient   "},
		{"GET /Patient/4711/Observation/1", "unknown", policy.ClassUnknown, "Patient 4711  "},
		{"GET /a/b/c/d/e/f", "unknown", policy.ClassUnknown, "   "},
		{"DELETE /Patient/4711/$purge", "unknown", policy.ClassUnknown, "Patient 4711  $purge"},
		{"GET /Patient/$", "unknown", policy.ClassUnknown, "Patient   $"},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		for _, base := range []string{"/", "/r4/fhir"} {
			set, err := parseSettings(fmt.Appendf(nil, `{"fhir":{"base":%q}}`, base))
			if err != nil {
				t.Fatal(err)
			}
			at := set.fhirBase + path
			if at == "" || at[0] == '?' {
				at = "/" + at
			}
			r := set.readRequest(ask(method, at))
			a := r.op.Attributes
			text := func(name string) string { s, _ := a.Get(name).(string); return s }
			facts := strings.Join([]string{text("fhir_resource"), text("fhir_id"), text("fhir_compartment"), text("fhir_operation")}, " ")
			if r.wrong != nil || text("fhir_interaction") != test.name || r.op.Class != test.class || facts != test.facts {
				t.Errorf("%s%s: %v %s, %s, %q, want %s, %s, %q", base, test.request, r.wrong, text("fhir_interaction"), r.op.Class, facts, test.name, test.class, test.facts)
			}
			if test.request == "GET /Patient?name=Doe&_count=3" && fmt.Sprint(a.Get("fhir_search_params")) != "[_count name]" {
				t.Errorf("search parameters are %v", a.Get("fhir_search_params"))
			}
		}
	}
	set, _ := parseSettings([]byte(`{"fhir":{"base":"/fhir"}}`))
	if r := set.readRequest(get("/fhirs/Patient/1")); r.op.Attributes.Get("fhir_interaction") != nil {
		t.Error("a path beside the base is read as FHIR")
	}
}

func TestSettings(t *testing.T) {
	for _, good := range []string{"", `{}`, `{"max_line":256,"max_head":"128KiB","max_fields":1,"max_body":"1TiB","trailers":true,"refuse_fields":["x-remote-user"],"bare_lf":true,"ignore_case":true,
		"content_encodings":["gzip","br"],"path_allow":["parameters","empty_segments"],"paths":[{"prefix":"/","class":"read"},{"exact":"/a b","method":"upgrade","class":"unknown"}]}`} {
		if _, err := parseSettings([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		`[]`:                                       "read settings",
		`{"max_lines":1}`:                          `setting "max_lines": there is no such setting`,
		`{"max_line":255}`:                         "255 is not between 256 and 8192",
		`{"max_line":8193}`:                        "between",
		`{"max_head":1000}`:                        "between",
		`{"max_body":-1}`:                          "between",
		`{"max_body":"2TiB"}`:                      "between",
		`{"max_body":"9999999TiB"}`:                "between",
		`{"max_body":"1MB"}`:                       "is not a size",
		`{"max_body":"B"}`:                         "is not a size",
		`{"max_body":true}`:                        "is not a size",
		`{"trailers":"yes"}`:                       `setting "trailers"`,
		`{"fhir":true}`:                            `setting "fhir"`,
		`{"fhir":{}}`:                              "names no base path",
		`{"fhir":{"base":"fhir"}}`:                 "names no base path",
		`{"fhir":{"base":"/","bases":1}}`:          "unknown field",
		`{"fhir":{"base":"/"},"ignore_case":true}`: "take out ignore_case",
		`{"refuse_fields":["X-User"]}`:             "in lower case",
		`{"path_allow":["dots"]}`:                  `"dots" is not one of`,
		`{"content_encodings":["x"]}`:              `"x" is no content coding`,
		`{"paths":{}}`:                             `setting "paths"`,
		`{"paths":[{"class":"read"}]}`:             "rule 1 has either prefix or exact",
		`{"paths":[{"prefix":"/a","exact":"/b","class":"read"}]}`:       "either prefix or exact",
		`{"paths":[{"prefix":"a","class":"read"}]}`:                     `"a" is no path`,
		`{"paths":[{"prefix":"/a/../b","class":"read"}]}`:               "is no path",
		`{"paths":[{"prefix":"/a%20b","class":"read"}]}`:                "is no path",
		`{"paths":[{"prefix":"/a","class":"reed"}]}`:                    `class "reed" is not one of`,
		`{"paths":[{"prefix":"/a","method":"get","class":"read"}]}`:     `method "get" is not known`,
		`{"paths":[{"prefix":"/a","verb":"GET","class":"read"}]}`:       "unknown field",
		`{"paths":[{"prefix":"/A","class":"read"}],"ignore_case":true}`: "in lower case",
	} {
		if _, err := parseSettings([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", bad, err, want)
		}
	}
}

func TestAccept(t *testing.T) {
	for accept, want := range map[string]format{
		"": problem, "*/*": problem, "application/json": problem, "text/html": page, "TEXT/HTML;charset=utf-8": page,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": page,
		"application/json, text/html;q=0.9":                                          problem,
		"application/json;q=0.8, text/html; q=0.9":                                   page,
		"application/fhir+json;q=1.0, application/json+fhir;q=0.9":                   outcome,
		"text/html;q=0": page, "image/png,text/html;q=0": problem,
	} {
		if got := problem.prefer(accept); got != want {
			t.Errorf("%q: %d, want %d", accept, got, want)
		}
	}
}
