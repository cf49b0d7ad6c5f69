package http

// fault is why a request is malformed: the status it is answered with, and the reason for
// the log and the asker, which names no content. The connection ends with it.
type fault struct {
	status int
	reason string
}

// Of heads (RFC 9112 sections 2 to 5, RFC 9110 section 5).
var (
	notHTTP       = &fault{400, "not a request of HTTP/1.1 or HTTP/1.0"}
	bareLF        = &fault{400, "line that ends without CR LF"}
	emptyStart    = &fault{400, "empty line where a request begins"}
	lineLong      = &fault{414, "request line longer than the service's limit"}
	headLong      = &fault{431, "request head longer than the service's limit"}
	manyFields    = &fault{431, "more header fields than the service's limit"}
	cutOff        = &fault{400, "request head cut off"}
	badMethod     = &fault{400, "method is no token"}
	folded        = &fault{400, "header field continued on another line"}
	badName       = &fault{400, "header field name is no token followed by a colon"}
	badValue      = &fault{400, "control character in a header field"}
	severalHosts  = &fault{400, "more than one Host"}
	noHost        = &fault{400, "HTTP/1.1 without Host"}
	badHost       = &fault{400, "Host is not a host and port"}
	repeatedField = &fault{400, "header field that may stand once is repeated"}
	disguised     = &fault{400, "header field that some take for Content-Length or Transfer-Encoding"}
	nominated     = &fault{400, "Connection names a field that frames or routes the request"}
	refusedField  = &fault{400, "header field that this service does not accept from clients"}
	longValue     = &fault{431, "header field too long"}
	badCookie     = &fault{400, "cookies that cannot be told apart, or too many"}
	badExpect     = &fault{417, "Expect is not 100-continue"}
	badUpgrade    = &fault{400, "Upgrade without Connection: upgrade, or with a body"}
)

// Of targets (RFC 3986, RFC 9112 section 3.2).
var (
	badTarget    = &fault{400, "request target is of no known form"}
	otherHost    = &fault{400, "request target names another host than Host"}
	badPath      = &fault{400, "path holds what servers read differently"}
	dotSegment   = &fault{400, "path holds a dot segment"}
	emptySegment = &fault{400, "path holds an empty segment"}
	parameters   = &fault{400, "path holds a parameter"}
	badQuery     = &fault{400, "query keys cannot be told, or are too many"}
)

// Of bodies (RFC 9112 sections 6 and 7).
var (
	badLength      = &fault{400, "Content-Length is not one plain number"}
	lengthTwice    = &fault{400, "Content-Length together with Transfer-Encoding"}
	badTransfer    = &fault{501, "Transfer-Encoding is not exactly chunked, in HTTP/1.1"}
	bodyForbidden  = &fault{400, "body where the method has none"}
	bodyLong       = &fault{413, "body longer than the service's limit"}
	encoded        = &fault{415, "Content-Encoding is not allowed by this service"}
	badChunk       = &fault{400, "chunk size is no hexadecimal number"}
	chunkExtension = &fault{400, "chunk extension"}
	badChunkEnd    = &fault{400, "chunk longer than its size"}
	hasTrailer     = &fault{400, "trailer fields are not allowed by this service"}
	badTrailer     = &fault{400, "trailer field that belongs into the head"}
)
